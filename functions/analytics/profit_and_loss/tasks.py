"""Profit and loss: statements of any days, the configurations behind them, unit costs, and what is booked."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from analytics.metrics.model import closed_days
from analytics.profit_and_loss.model import (
    Category,
    CategoryType,
    Change,
    Line,
    Span,
    Statement,
    Versions,
    changes,
    day_profit_of,
    field_changes,
    snapshot_of,
)
from analytics.profit_and_loss.payloads import (
    Booking,
    ConfigSave,
    CostImport,
    ExpenseTold,
    RowFault,
    StatementRequest,
    read_costs,
)
from analytics.profit_and_loss.periods import before, month_of, span_of
from analytics.profit_and_loss.repository import Books
from analytics.profit_and_loss.statement import state
from tradewind.clock import Clock
from tradewind.errors import InvalidPayloadError, RateLimitedError
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Run
from tradewind.tasks.task import task
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

METRICS = Retry(attempts=3, backoff=exponential(10, 120))
SAVES_A_MINUTE = 10
MINUTE = timedelta(minutes=1)
FAULTS_TOLD = 20


@dataclass(frozen=True, slots=True)
class StatementMade:
    """A statement line by line, in cents of ``currency``, beside the totals of the days that it is compared with."""

    start: date
    end: date
    currency: str
    orders: int
    lines: list[Line]
    notes: list[str]
    compared_with: date
    changes: list[Change]
    versions: Versions


@task("analytics-generate-pl-statement", retry=METRICS, cap=1)
def generate_pl_statement(
    payload: StatementRequest, run: Run, tenant: Tenant, db: TenantDb, clock: Clock
) -> StatementMade:
    """Make the profit and loss of any days: each line to the cent, where it comes from, and how it has changed.

    By the tenant's configurations as they stand. Kept as the days' snapshot; made again it overwrites that.
    """
    [yesterday] = closed_days(run.moment(clock), tenant.zone, 1)
    span = asked_span(payload, tenant.zone) or month_of(yesterday.starts_on, tenant.zone)
    with db.begin() as tx:
        made = make_statement(Books(tx), span, before(span, tenant.zone, payload.compare), tenant.currency)
    return StatementMade(
        start=span.start,
        end=span.end,
        currency=tenant.currency,
        orders=made.orders,
        lines=list(made.statement.lines),
        notes=list(made.statement.notes),
        compared_with=made.compared_with,
        changes=list(made.changes),
        versions=made.versions,
    )


def asked_span(asked: StatementRequest, zone: str) -> Span | None:
    """The days that are asked for, if any."""
    if asked.start is None or asked.end is None:
        return None
    return span_of(asked.start, asked.end, zone)


@dataclass(frozen=True, slots=True)
class Made:
    """A statement that was made and kept, and how its totals have changed."""

    statement: Statement
    orders: int
    changes: tuple[Change, ...]
    compared_with: date
    versions: Versions


def make_statement(books: Books, span: Span, former: Span, currency: str) -> Made:
    """Make a span's statement beside that of another one, by the configurations as they stand, and keep it."""
    configs = books.configs()
    counted, compared = books.count([span, former], currency, configs.rules)
    statement = state(counted, configs.rules)
    books.save_snapshot(snapshot_of(statement, counted.orders, configs.versions))
    return Made(
        statement,
        counted.orders,
        changes(state(compared, configs.rules), statement),
        former.start,
        configs.versions,
    )


def close_days(books: Books, spans: Iterable[Span], currency: str) -> list[Statement]:
    """What days brought, written beside their other figures."""
    configs = books.configs()
    statements = [state(each, configs.rules) for each in books.count(list(spans), currency, configs.rules)]
    books.save_daily_profit(day_profit_of(each) for each in statements)
    return statements


@dataclass(frozen=True, slots=True)
class ConfigSaved:
    """The version that stands now, and the fields that it changed; none where the document says nothing new."""

    kind: str
    version: int
    changed: list[str]


@task("analytics-save-pl-config", cap=1)
def save_pl_config(payload: ConfigSave, db: TenantDb, clock: Clock) -> ConfigSaved:
    """Save a cost, COGS or formula configuration as a new version, with what it changed and who wanted it.

    It applies to what is calculated from now on. Ten a minute; the eleventh waits.
    """
    document = payload.parsed()
    with db.begin() as tx:
        books = Books(tx)
        books.lock_configs()
        if books.saves_after(clock.now() - MINUTE) >= SAVES_A_MINUTE:
            raise RateLimitedError(f"{SAVES_A_MINUTE} configurations a minute", MINUTE)
        standing = books.documents().get(payload.kind)
        version = standing.version if standing else 0
        differences = field_changes(standing.document if standing else {}, document)
        if differences:
            version += 1
            books.add_config(payload.kind, version, document, differences, payload.changed_by)
    return ConfigSaved(payload.kind, version, list(differences))


@dataclass(frozen=True, slots=True)
class CostsImported:
    """``written`` costs said something new (``dry_run``: nothing is written); ``unknown_products`` are not yet in the
    catalogue, and are kept all the same.
    """

    rows: int
    written: int
    unknown_products: list[int]
    faults: list[RowFault]
    dry_run: bool


@task("analytics-import-product-costs", cap=1)
def import_product_costs(payload: CostImport, tenant: Tenant, db: TenantDb, clock: Clock) -> CostsImported:
    """Take unit costs from a CSV, all or none; a dry run tells what is wrong with which line and writes nothing."""
    read = read_costs(payload.rows, tenant.currency)
    if read.faults and not payload.dry_run:
        first = read.faults[0]
        raise InvalidPayloadError(
            f"rows, line {first.line}, {first.column}",
            f"{first.problem} ({len(read.faults)} faults in all; nothing is imported)",
            "ask with dry_run to be told of each",
        )
    valid_from = payload.valid_from or clock.now()
    with db.begin() as tx:
        books = Books(tx)
        unknown = books.unknown_products(cost.product_id for cost in read.costs)
        written = (
            0
            if payload.dry_run
            else books.save_costs(read.costs, "internal", payload.source, tenant.currency, valid_from)
        )
    return CostsImported(
        rows=len(read.costs),
        written=written,
        unknown_products=unknown,
        faults=read.faults[:FAULTS_TOLD],
        dry_run=payload.dry_run,
    )


@dataclass(frozen=True, slots=True)
class Booked:
    expenses: int
    categories: int


@task("analytics-book-expenses", cap=1)
def book_expenses(payload: Booking, tenant: Tenant, db: TenantDb) -> Booked:
    """Keep expenses and the categories they belong to; told again under its id, an expense is as it was told last."""
    with db.begin() as tx:
        books = Books(tx)
        standing = books.categories()
        for at, told in enumerate(payload.categories):
            own = standing.get(told.category)
            if own is not None and own.type is not told.type:
                raise InvalidPayloadError(
                    f"categories.{at}.type",
                    f"{told.category} is of type {own.type}",
                    "choose another category",
                )
        books.save_categories(each.to_model() for each in payload.categories)
        known = books.categories()
        for at, expense in enumerate(payload.expenses):
            check_expense(at, expense, known)
        kept = books.save_expenses((each.to_model() for each in payload.expenses), tenant.currency)
        return Booked(kept, len(payload.categories))


def check_expense(at: int, told: ExpenseTold, known: dict[str, Category]) -> None:
    """Raises InvalidPayloadError for an unknown or a hidden category, and for income that is none."""
    category = known.get(told.category)
    if category is None or category.hidden:
        problem = "is hidden" if category else "does not exist"
        raise InvalidPayloadError(
            f"expenses.{at}.category",
            f"{told.category} {problem}",
            "tell it under categories, or choose another",
        )
    if told.income and category.type is not CategoryType.OTHER:
        raise InvalidPayloadError(
            f"expenses.{at}.income", f"{told.category} is of type {category.type}", "income is of type other"
        )
