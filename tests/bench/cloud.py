"""What is measured over the running local cloud: receiver, dispatch, order sync idle and sustained, cold starts."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from infra import bundles
from tests.bench.figures import Spread, digits
from tests.bench.imports import Function
from tests.e2e.cloud import Cloud, Tenant, sign
from tests.e2e.orders import at, make_order, new_id, recently
from tradewind.tasks.manifest import generated_files
from tradewind.tasks.registry import REGISTRY

IDLE_ORDERS = 30
SUSTAINED_ORDERS = 300
RECEIVED = 600
CLIENTS = 8
PATIENCE_S = 180.0
FAST = {"requests_per_second": 10_000}
"""The bench's shops are held back by no limit of their own: what is measured is Tradewind."""


@dataclass(frozen=True, slots=True)
class Post:
    """One signed delivery."""

    tenant: Tenant
    topic: str
    body: bytes
    event: str

    @property
    def headers(self) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "X-Shopify-Topic": self.topic,
            "X-Shopify-Shop-Domain": self.tenant.shop,
            "X-Shopify-API-Version": "2026-07",
            "X-Shopify-Webhook-Id": self.event,
            "X-Shopify-Event-Id": self.event,
            "X-Shopify-Hmac-Sha256": sign(self.body, self.tenant.secret),
        }


def post_all(cloud: Cloud, posts: Sequence[Post], clients: int) -> tuple[list[float], float]:
    """Post over ``clients`` kept-alive connections; returns seconds by answer, and in all. Raises on any but 200."""
    url = urlsplit(f"{cloud.state.webhook_url}/webhooks/shopify")
    took: list[float] = []
    failures: list[str] = []

    def work(own: Sequence[Post]) -> None:
        connection = http.client.HTTPConnection(url.netloc, timeout=30)
        for post in own:
            begun = time.perf_counter()
            connection.request("POST", url.path, post.body, post.headers)
            answer = connection.getresponse()
            text = answer.read()
            took.append(time.perf_counter() - begun)
            if answer.status != 200:
                failures.append(f"{answer.status} {text[:200]!r}")
        connection.close()

    threads = [threading.Thread(target=work, args=(posts[lane::clients],)) for lane in range(clients)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise RuntimeError(f"{len(failures)} deliveries were not accepted, the first: {failures[0]}")
    return took, time.perf_counter() - begun


def register(cloud: Cloud, count: int) -> list[Tenant]:
    """Tenants on Shopify's largest plan, without webhook subscriptions of their own."""
    cloud.sandbox.put("/shopify/*/plan", json={"plan": "enterprise"}).raise_for_status()
    made = []
    for _ in range(count):
        slug = f"bench-{uuid4().hex[:8]}"
        tenant = Tenant(cloud, slug, f"{slug}.myshopify.com", f"shpss_{uuid4().hex}")
        asked = {
            "action": "register-tenant",
            "slug": slug,
            "shop": tenant.shop,
            "credentials": tenant.secrets,
            "settings": FAST,
        }
        tenant.id = cloud.invoke("ingress-admin", asked)["tenant_id"]
        made.append(tenant)
    return made


def new_order(tenant: Tenant, topic: str = "orders/create") -> tuple[Post, int]:
    """A new order that Shopify knows, and its webhook."""
    order = make_order(new_id(), recently(minutes=random.randint(1, 600)))
    tenant.put(order)
    return Post(tenant, topic, json.dumps(order).encode(), uuid4().hex), int(order["id"])


def ended(cloud: Cloud, task: str, causes: Sequence[str]) -> list[dict[str, Any]]:
    """Wait until every cause's run has ended well; the runs. Raises where one failed or time runs out."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows = cloud.query(
            "SELECT cause, state, accepted_at, first_started_at, finished_at FROM task_run "
            "WHERE task = %s AND cause = ANY (%s) AND state IN ('succeeded', 'failed')",
            task,
            list(causes),
        )
        failed = [row for row in rows if row["state"] == "failed"]
        if failed:
            raise RuntimeError(f"{len(failed)} runs of {task} failed")
        if len(rows) == len(causes):
            return rows
        if time.monotonic() > deadline:
            raise RuntimeError(f"{len(rows)} of {len(causes)} runs of {task} ended within {PATIENCE_S:g} s")
        time.sleep(0.02)


def seconds(rows: Sequence[Mapping[str, Any]], begin: str, end: str) -> list[float]:
    return [(row[end] - row[begin]).total_seconds() for row in rows]


def idle(cloud: Cloud, tenant: Tenant, orders: int = IDLE_ORDERS) -> dict[str, Any]:
    """One order at a time: from webhook to the chain's last step, and from enqueue to start."""
    rows = []
    for number in range(orders + 5):
        post, _ = new_order(tenant)
        post_all(cloud, [post], 1)
        found = ended(cloud, "commerce-order-created", [post.event])
        rows += found if number >= 5 else []  # the first ones start functions
    return {
        "webhook_to_done_s": Spread.of(seconds(rows, "accepted_at", "finished_at")).document(),
        "enqueue_to_start_s": Spread.of(seconds(rows, "accepted_at", "first_started_at")).document(),
    }


def sustained(cloud: Cloud, tenants: Sequence[Tenant], orders: int = SUSTAINED_ORDERS) -> dict[str, Any]:
    """All orders at once: how many a second are brought in, whole chain, from the first post to the last end."""
    posts = [new_order(tenants[number % len(tenants)])[0] for number in range(orders)]
    begun = time.perf_counter()
    post_all(cloud, posts, CLIENTS)
    rows = ended(cloud, "commerce-order-created", [post.event for post in posts])
    took = time.perf_counter() - begun
    return {
        "tenants": len(tenants),
        "orders": orders,
        "orders_per_second": digits(orders / took),
        "webhook_to_done_s": Spread.of(seconds(rows, "accepted_at", "finished_at")).document(),
    }


def receiver(cloud: Cloud, tenants: Sequence[Tenant], received: int = RECEIVED) -> dict[str, Any]:
    """The webhook endpoint alone: the queue's mapping is off meanwhile, so that nothing else works."""
    with mapping_off(cloud, "commerce-sync-order"):
        alone = [new_order(tenants[0], "orders/updated")[0] for _ in range(60)]
        took, _ = post_all(cloud, alone, 1)
        many = [new_order(tenants[n % len(tenants)], "orders/updated")[0] for n in range(received)]
        loaded, whole = post_all(cloud, many, CLIENTS)
    ended(cloud, "commerce-sync-order", [post.event for post in (*alone, *many)])
    return {
        "one_client_s": Spread.of(took[10:]).document(),
        "clients": CLIENTS,
        "loaded_s": Spread.of(loaded).document(),
        "requests_per_second": digits(received / whole),
    }


@contextmanager
def mapping_off(cloud: Cloud, task: str) -> Iterator[None]:
    """A task's queue is not worked inside."""
    lambdas = cloud.client("lambda")
    [mapping] = lambdas.list_event_source_mappings(FunctionName=f"tradewind-local-{task}")[
        "EventSourceMappings"
    ]
    lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    time.sleep(1)
    try:
        yield
    finally:
        lambdas.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def empty_chain(cloud: Cloud, tenant: Tenant, chains: int = 60) -> dict[str, Any]:
    """The emulator's own part: the same state machine over steps whose runs have ended before."""
    post, order_id = new_order(tenant)
    post_all(cloud, [post], 1)
    ended(cloud, "commerce-order-created", [post.event])
    document = {
        "tenant": str(tenant.id),
        "cause": post.event,
        "correlation_id": post.event,
        "accepted_at": at(recently(minutes=1), 0),
        "payload": {"order_id": order_id},
    }
    states = cloud.client("stepfunctions")

    def run(count: int) -> None:
        for _ in range(count):
            answer = states.start_sync_execution(
                stateMachineArn=cloud.machine("order-sync"), input=json.dumps(document)
            )
            if answer["status"] != "SUCCEEDED":
                raise RuntimeError(f"the chain ended as {answer['status']}: {answer.get('cause')}")

    run(3)
    threads = [threading.Thread(target=run, args=(chains // CLIENTS,)) for _ in range(CLIENTS)]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"chains_per_second": digits(chains // CLIENTS * CLIENTS / (time.perf_counter() - begun))}


def functions(cloud: Cloud, tenant: Tenant, tasks: Mapping[str, Mapping[str, Any] | None]) -> list[Function]:
    """Receiver and tasks as deployed. ``tasks``: id -> payload of a first call, or None for none."""
    lambdas = cloud.client("lambda")
    listed: list[Function] = []
    generated = bundles.ingress_bundle(
        bundles.FUNCTIONS, generated_files(REGISTRY), bootstrap=True, runtime="provided.al2023"
    )
    for name, payload in [("ingress-receiver", None), *tasks.items()]:
        about = lambdas.get_function_configuration(FunctionName=f"tradewind-local-{name}")
        event = _webhook_event(tenant) if name == "ingress-receiver" else _direct_event(tenant, payload)
        listed.append(
            Function(
                name=name,
                handler=about["Handler"],
                environment={
                    **about["Environment"]["Variables"],
                    "AWS_ACCESS_KEY_ID": "test",
                    "AWS_SECRET_ACCESS_KEY": "test",
                    "AWS_REGION": cloud.state.region,
                },
                folder=str(generated.folder if name == "ingress-receiver" else bundles.FUNCTIONS),
                event=event,
            )
        )
    return listed


def _direct_event(
    tenant: Tenant, payload: Mapping[str, Any] | None
) -> Callable[[], Mapping[str, Any]] | None:
    if payload is None:
        return None
    return lambda: {"tenant": str(tenant.id), "payload": payload, "cause": f"bench:{uuid4()}"}


def _webhook_event(tenant: Tenant) -> Callable[[], Mapping[str, Any]]:
    def event() -> Mapping[str, Any]:
        post, _ = new_order(tenant, "orders/updated")
        headers = {name.lower(): text for name, text in post.headers.items()}
        return {"pathParameters": {"provider": "shopify"}, "headers": headers, "body": post.body.decode()}

    return event
