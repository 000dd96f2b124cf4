"""Taking customers' present state and saving it, and what a tenant's rules make of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from commerce.customer_sync.model import CustomerRules, StoredCustomer, contains, earned, missing_tags
from commerce.customer_sync.payloads import CustomerBatch
from commerce.customer_sync.repository import Customers
from tradewind.catalogue import Catalogue, CustomerPage
from tradewind.clock import Clock
from tradewind.contracts.catalogue import CustomerChanged, SegmentsChanged
from tradewind.errors import MisconfiguredError
from tradewind.tasks.events import Told, publish
from tradewind.tasks.run import Continuation, Run
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant


@dataclass(frozen=True, slots=True)
class SyncedCustomer:
    """``state`` is what became of it: unchanged, written, outdated (ours is newer), or deleted."""

    customer_id: int
    state: str


@dataclass(frozen=True, slots=True)
class SyncedCustomers:
    """A sync's end: how many customers it saw, and how many of them were newer and written."""

    customers: int
    written: int


@dataclass(frozen=True, slots=True)
class Settled:
    """What a tenant's rules made of a customer."""

    customer_id: int
    tags_added: tuple[str, ...]
    segments: tuple[str, ...]
    segments_changed: bool


def sync_one(
    run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock, customer_id: int, changed_at: datetime | None
) -> tuple[SyncedCustomer, StoredCustomer | None]:
    """Bring one customer up to date; what became of it, and the customer where there is one.

    A customer whose data was to be forgotten is never stored again: the database sees to it.
    """
    with db.begin() as tx:
        stored = Customers(tx).find(customer_id)
    if contains(stored, changed_at):
        return SyncedCustomer(customer_id, "unchanged"), stored
    asked_at = clock.now()
    with run.step("fetch"):
        customer = catalogue.find_customer(customer_id)
    with run.step("save"), db.begin() as tx:
        customers = Customers(tx)
        if customer is None:
            customers.mark_deleted([customer_id], asked_at)
            return SyncedCustomer(customer_id, "deleted"), None
        written = customers.save([customer], asked_at)
        present = customers.find(customer_id)
    return SyncedCustomer(customer_id, "written" if written else "outdated"), present


def sync_page(
    payload: CustomerBatch, run: Run, db: TenantDb, catalogue: Catalogue, clock: Clock
) -> SyncedCustomers | Continuation:
    """A page of customers; a crash resumes at the last page's cursor."""
    before = run.checkpoint or {"cursor": None, "customers": 0, "written": 0}
    asked_at = clock.now()
    page = _fetch_page(payload, catalogue, before["cursor"])
    with db.begin() as tx:
        written = Customers(tx).save(page.customers, asked_at)
    after = {
        "cursor": page.next_cursor,
        "customers": before["customers"] + len(page.customers),
        "written": before["written"] + len(written),
    }
    if page.next_cursor is not None:
        return run.continue_with(after)
    return SyncedCustomers(after["customers"], after["written"])


def _fetch_page(payload: CustomerBatch, catalogue: Catalogue, cursor: str | None) -> CustomerPage:
    """The next page; by ids the cursor is the place in the list."""
    if payload.customer_ids:
        start = int(cursor or 0)
        end = start + payload.page_size
        customers = catalogue.list_customers_by_id(payload.customer_ids[start:end])
        return CustomerPage(customers, str(end) if end < len(payload.customer_ids) else None)
    return catalogue.list_customers(
        created_from=payload.created_since,
        updated_from=None if payload.created_since else payload.updated_since,
        cursor=cursor,
        limit=payload.page_size,
    )


def settle(
    run: Run, db: TenantDb, catalogue: Catalogue, tenant: Tenant, customer: StoredCustomer, *, welcome: bool
) -> Settled:
    """Add the tags that the tenant's rules give, put the customer into segments, and tell what follows from it.

    Tags are added at Shopify first: a tag that is there already stays, so that a repetition changes nothing.
    """
    rules = rules_of(tenant)
    tags = missing_tags(customer, rules.tags)
    if tags:
        with run.step("tag"):
            catalogue.add_customer_tags(customer.customer_id, tags)
    segments = earned(customer, rules.segments)
    with db.begin() as tx:
        customers = Customers(tx)
        if tags:
            customers.add_tags(customer.customer_id, tags)
        changed = customers.save_segments(customer.customer_id, segments)
        publish(tx, run.correlation_id, _events(run, customer, segments, changed=changed, welcome=welcome))
    return Settled(customer.customer_id, tags, segments, changed)


def rules_of(tenant: Tenant) -> CustomerRules:
    """The tenant's rules. Raises MisconfiguredError."""
    try:
        return CustomerRules.of(tenant.settings)
    except ValueError as error:
        raise MisconfiguredError(str(error)) from None


def _events(
    run: Run, customer: StoredCustomer, segments: tuple[str, ...], *, changed: bool, welcome: bool
) -> list[Told]:
    number = customer.customer_id
    told = []
    if welcome:
        told.append(Told("customer.welcome", str(number), CustomerChanged(customer_id=number)))
    if changed:
        payload = SegmentsChanged(customer_id=number, before=list(customer.segments), after=list(segments))
        told.append(Told("customer.segments-changed", f"{number}@{run.id}", payload))
    return told
