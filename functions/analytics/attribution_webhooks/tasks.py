"""Attribution by webhook: a tenant names an address once, and what happens is told there, signed and in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from analytics.attribution_webhooks.model import MOST_SUBSCRIPTIONS, Outcome
from analytics.attribution_webhooks.payloads import WebhooksToSend, WebhookSubscription
from analytics.attribution_webhooks.repository import Webhooks
from analytics.attribution_webhooks.telling import Drain
from tradewind.clock import Clock
from tradewind.contracts.attribution import AttributionSettings
from tradewind.errors import InvalidPayloadError
from tradewind.exporting import WebhookSender
from tradewind.tasks.retry import Retry, fixed
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

QUEUE = Retry(attempts=2, backoff=fixed(5))
MINUTES = timedelta(minutes=4)


@dataclass(frozen=True, slots=True)
class Subscribed:
    name: str
    active: bool
    events: list[str]


@dataclass(frozen=True, slots=True)
class Told:
    """How many were delivered, are tried again, are dead, and are about what is not there any more; how many
    subscriptions were switched off.
    """

    delivered: int
    again: int
    dead: int
    gone: int
    disabled: int


@task("analytics-subscribe-webhook", retry=QUEUE)
def subscribe_webhook(payload: WebhookSubscription, db: TenantDb, clock: Clock) -> Subscribed:
    """Name an address that hears of conversions, credits or touches, change it, switch it off or on again."""
    subscription = payload.subscription()
    with db.begin() as tx:
        webhooks = Webhooks(tx)
        others = set(webhooks.lock_all()) - {subscription.name}
        if len(others) >= MOST_SUBSCRIPTIONS:
            raise InvalidPayloadError(
                "name",
                f"the tenant has {len(others)} subscriptions already",
                f"change one of {sorted(others)}",
            )
        webhooks.save(subscription)
        webhooks.mark_due(clock.now(), told=False)
    return Subscribed(subscription.name, subscription.active, [*subscription.events])


@task(
    "analytics-attribution-webhook-queue",
    schedule=Cron("*/5 * * * *", name="analytics-attribution-webhook-queue-scheduled", only_due=True),
    each_tenant=True,
    retry=QUEUE,
    timeout=MINUTES,
    cap=1,
)
def attribution_webhook_queue(
    payload: WebhooksToSend, run: Run, tenant: Tenant, db: TenantDb, sender: WebhookSender, clock: Clock
) -> Told | Continuation:
    """Tell subscribers of what waits for them, a hundred before the rest is handed on."""
    window = AttributionSettings.of(tenant.settings).default_window
    before = {Outcome(name): count for name, count in (run.checkpoint or {}).items()}
    drain = Drain(run, tenant, db, sender, clock, window, payload.limit, before)
    told_before = sum(before.values())
    drain.tell_all()
    if drain.over and sum(drain.counts.values()) > told_before:
        return run.continue_with({str(outcome): count for outcome, count in drain.counts.items()})
    count = drain.counts.get
    return Told(
        delivered=count(Outcome.DELIVERED, 0),
        again=count(Outcome.AGAIN, 0),
        dead=count(Outcome.DEAD, 0),
        gone=count(Outcome.GONE, 0),
        disabled=count(Outcome.DISABLED, 0),
    )
