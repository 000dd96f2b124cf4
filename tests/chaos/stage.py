"""A cast on the cloud: tenants with shops, history and tokens, and how Shopify delivers to them."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

import httpx

from infra.local.demo.cast import lay_history
from tests.chaos.pages import Batch, Storefront, batches_of, shuffled
from tests.chaos.platforms import connect
from tests.chaos.scenario import MENDABLE, Scenario, Sent, shop_of
from tests.e2e.cloud import Cloud, Tenant

CONNECTIONS = 12
TIRED_AFTER_S = 240.0
REQUESTS_PER_SECOND = 60
RENEWING = 0
"""The tenant whose access token ends soon, so that a worker has to renew it."""


class UndeliveredError(Exception):
    """A webhook was refused, or not kept for longer than any outage of the suite lasts."""


@dataclass
class Cast:
    """The tenants of one run, in the scenario's order."""

    cloud: Cloud
    scenario: Scenario
    tenants: list[Tenant]
    storefronts: list[Storefront]
    withheld: bool
    """Whether what makes the mendable ones succeed is held back until it is mended."""

    _told: dict[tuple[int, int], int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def register(cls, cloud: Cloud, scenario: Scenario, name: str, *, withheld: bool) -> Cast:
        """A new tenant for each of the scenario's, with its creators and the touches before its orders; but for the one
        that is locked out, with accounts at the ad platforms and an A/B test.
        """
        tenants = []
        for number in range(scenario.size.tenants + 1):
            tenant = cloud.register(name, settings={"requests_per_second": REQUESTS_PER_SECOND})
            cloud.sandbox.put(f"/shopify/{tenant.shop}/plan", json={"plan": "plus"}).raise_for_status()
            cloud.sandbox.put(f"/shopify/{tenant.shop}/bulk", json={"looks": 1}).raise_for_status()
            lay_history(cloud.state, {shop_of(number): tenant.id}, scenario.stories[number])
            tenants.append(tenant)
        side_by_side(connect, tenants[: scenario.locked_out])
        storefronts = [Storefront(tenant) for tenant in tenants[: scenario.locked_out]]
        side_by_side(lambda each: each.begin(scenario.now), storefronts)
        made = cls(cloud, scenario, tenants, storefronts, withheld)
        made.set_tokens()
        return made

    def set_tokens(self) -> None:
        """One tenant's token is at its end, though it can be renewed; another's is refused for good."""
        renewing = self.tenants[RENEWING]
        self._tokens(renewing, {"access_token": "shpat_another", "refresh_token": f"shprt_{renewing.slug}"})
        if self.withheld:
            locked = self.tenants[self.scenario.locked_out]
            self._tokens(locked, {"access_token": "shpat_another", "refresh_token": "shprt_another"})

    def mend(self) -> None:
        """Renew the refused token and let the missing orders appear."""
        locked = self.tenants[self.scenario.locked_out]
        self._tokens(locked, {"access_token": f"shpat_{locked.slug}"})
        for sent in self.scenario.sent:
            if sent.poison in MENDABLE and sent.order_state is not None:
                self.tenants[sent.tenant].put(dict(sent.order_state))

    def _tokens(self, tenant: Tenant, document: Mapping[str, str]) -> None:
        self.cloud.sandbox.post(f"/shopify/{tenant.shop}/tokens", json=document).raise_for_status()

    def tell(self, sent: Sent) -> None:
        """Let Shopify know the order as it is when a webhook leaves; an older state than it knows is left out."""
        if sent.order_state is None or (self.withheld and sent.poison in MENDABLE):
            return
        key = sent.tenant, sent.order_id
        with self._lock:
            if self._told.get(key, -1) < sent.step:
                self._told[key] = sent.step
                self.tenants[sent.tenant].put(dict(sent.order_state))

    def deliver(self, sent: Sent) -> int:
        """Post until it is kept, as Shopify does; the number of tries. Raises UndeliveredError."""
        tenant, deadline, tries = self.tenants[sent.tenant], time.monotonic() + TIRED_AFTER_S, 0
        while True:
            tries += 1
            try:
                answer = tenant.deliver(sent.topic, sent.body, event=sent.event_id)
                status, text = answer.status_code, answer.text
            except httpx.TransportError as error:
                status, text = 0, repr(error)
            if status == HTTPStatus.OK:
                return tries
            if (
                time.monotonic() > deadline
                or HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
            ):
                raise UndeliveredError(f"{sent.topic} {sent.event_id}: {status} {text} after {tries} tries")
            time.sleep(min(2.0, 0.2 * tries))

    def end_tests(self) -> None:
        """Every A/B test is over, and counted a last time."""
        side_by_side(lambda each: each.end(self.scenario.now), self.storefronts)

    def show_pages(self) -> None:
        """What visitors do, once, in order."""
        side_by_side(self._show, batches_of(self.scenario.visits))

    def _show(self, batch: Batch) -> None:
        self.storefronts[batch.tenant].send(batch)

    def deliver_in_order(self) -> None:
        """Each webhook once, those of an order one after the other."""
        lanes: dict[tuple[int, int], list[Sent]] = {}
        for sent in self.scenario.sent:
            lanes.setdefault((sent.tenant, sent.order_id), []).append(sent)

        def work(lane: Sequence[Sent]) -> None:
            for sent in lane:
                self.tell(sent)
                self.deliver(sent)

        side_by_side(work, lanes.values())

    def deliver_once(self, seconds: float) -> list[int]:
        """Each webhook once, spread over so many seconds, whatever the answer; the answers' statuses, 0 for none."""
        begun = time.monotonic()
        gap = seconds / len(self.scenario.sent)

        def work(numbered: tuple[int, Sent]) -> int:
            place, sent = numbered
            time.sleep(max(0.0, begun + place * gap - time.monotonic()))
            self.tell(sent)
            try:
                answer = self.tenants[sent.tenant].deliver(sent.topic, sent.body, event=sent.event_id)
            except httpx.TransportError:
                return 0
            return answer.status_code

        with ThreadPoolExecutor(CONNECTIONS) as pool:
            return list(pool.map(work, enumerate(self.scenario.sent)))

    def deliver_disturbed(self, chance: random.Random, progress: Callable[[float], None]) -> int:
        """Each webhook and each event of a page one to five times, all shuffled; how many deliveries that were."""
        copies: list[Sent | Batch] = [
            sent for sent in self.scenario.sent for _ in range(chance.randint(1, 5))
        ]
        copies += shuffled(self.scenario.visits, chance)
        chance.shuffle(copies)
        done = 0

        def work(sent: Sent | Batch) -> None:
            nonlocal done
            if isinstance(sent, Batch):
                self._show(sent)
            else:
                self.tell(sent)
                self.deliver(sent)
            with self._lock:
                done += 1
                progress(done / len(copies))

        side_by_side(work, copies)
        return len(copies)


Item = TypeVar("Item")


def side_by_side(work: Callable[[Item], None], items: Iterable[Item]) -> None:
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        for _ in pool.map(work, items):
            pass
