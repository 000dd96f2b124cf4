"""What the law asks for: a customer's data exported or redacted, a shop's deleted, an uninstalled app's work ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from operations.privacy.model import Subject, Topic, earliest_act
from operations.privacy.payloads import AppUninstalled, ComplianceRequest
from operations.privacy.repository import Privacy
from operations.privacy.work import Done, Work, delete_shop, export_customer, redact_customer
from tradewind.clock import Clock
from tradewind.errors import InvalidPayloadError
from tradewind.ports import PayloadStore
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Continuation, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import PLATFORM_TENANT, Tenant


@dataclass(frozen=True, slots=True)
class Cleaned:
    """``uninstalled`` is false where the app has been installed again since; ``left`` where no shop is left."""

    uninstalled: bool
    left: bool
    cancelled: int


@task(
    "gdpr-request-process",
    webhook=tuple(Webhook("shopify", topic) for topic in Topic),
    timeout=timedelta(minutes=5),
    retry=Retry(attempts=10, backoff=exponential(30, 3600)),
    cap=1,
    concurrency=2,
    memory=512,
)
def gdpr_request_process(
    payload: ComplianceRequest, run: Run, tenant: Tenant, db: TenantDb, payloads: PayloadStore, clock: Clock
) -> Done | Continuation:
    """Export or redact a customer's data, or delete a shop's, as Shopify asks within 30 days."""
    subject = subject_of(payload)
    with db.begin() as tx:
        privacy = Privacy(tx)
        kept = privacy.find_webhook(run.message.inbox_id)
        topic = topic_of(kept.topic if kept else payload.topic)
        requested_at = kept.sent_at if kept else run.accepted_at
        number = payload.data_request.id if payload.data_request else None
        due_at = earliest_act(requested_at)
        request_id = privacy.open_request(run.id, run.cause, topic, number, subject, requested_at, due_at)
        shops = privacy.installations()
    work = Work(run, tenant, db, payloads, clock, topic, request_id)
    if tenant.id == PLATFORM_TENANT:
        return work.close("done", {}, reason="no tenant has this shop; nothing of it is held")
    if topic is Topic.DATA_REQUEST:
        return export_customer(work, subject)
    if topic in (Topic.CUSTOMER_REDACT, Topic.CUSTOMER_DELETE):
        return redact_customer(work, subject)
    if payload.shop_domain is None:
        raise InvalidPayloadError("shop_domain", "is missing", "the shop whose data is to be deleted")
    shop_domain = payload.shop_domain.lower()
    if any(shop.status != "uninstalled" and shop.installed_at > requested_at for shop in shops):
        return work.close("ignored", {}, reason="installed again since")
    if any(shop.status != "uninstalled" and shop.shop != shop_domain for shop in shops):
        return work.close("ignored", {}, reason="the tenant has another shop")
    return delete_shop(work)


def topic_of(text: str | None) -> Topic:
    """Raises InvalidPayloadError: what is asked for is never guessed."""
    try:
        return Topic(text or "")
    except ValueError as error:
        raise InvalidPayloadError("topic", f"is {text!r}", f"one of {', '.join(Topic)}") from error


def subject_of(payload: ComplianceRequest) -> Subject:
    customer = payload.customer
    orders = frozenset(payload.orders_to_redact) | frozenset(payload.orders_requested)
    if customer is None:
        return Subject(orders=orders)
    return Subject(
        customers=frozenset({customer.id} if customer.id else ()),
        orders=orders,
        emails=frozenset({customer.email.strip().lower()} if customer.email else ()),
        phones=frozenset({customer.phone} if customer.phone else ()),
    )


@task(
    "tenant-uninstall-cleanup",
    webhook=Webhook("shopify", "app/uninstalled"),
    retry=Retry(attempts=10, backoff=exponential(5, 600)),
    cap=1,
    concurrency=2,
)
def tenant_uninstall_cleanup(payload: AppUninstalled, run: Run, tenant: Tenant, db: TenantDb) -> Cleaned:
    """End what an uninstalled app did for a shop: tokens, schedules, subscriptions and waiting messages."""
    with db.begin() as tx:
        privacy = Privacy(tx)
        kept = privacy.find_webhook(run.message.inbox_id)
        shop = payload.myshopify_domain or payload.domain or tenant.shop_domain or ""
        app = kept.app if kept else tenant.app
        uninstalled = privacy.uninstall(app, shop.lower(), kept.sent_at if kept else run.accepted_at)
        left = uninstalled and privacy.leave()
        return Cleaned(uninstalled, left, privacy.cancel_messages() if left else 0)
