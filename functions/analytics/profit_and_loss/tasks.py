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
    changes,
    field_changes,
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
class Versions:
    """By which versions of the configurations it was made; 0 is the default."""

    costs: int
    cogs: int
    formula: int


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
    if payload.start is not None and payload.end is not None:
        span = span_of(payload.start, payload.end, tenant.zone)
    else:
        [yesterday] = closed_days(run.moment(clock), tenant.zone, 1)
        span = month_of(yesterday.starts_on, tenant.zone)
    former = before(span, tenant.zone, payload.compare)
    with db.begin() as tx:
        books = Books(tx)
        configs = books.configs()
        counted, compared = books.count([span, former], tenant.currency, configs.rules)
        statement = state(counted, configs.rules)
        books.save_snapshot(statement, counted.orders, configs.versions)
    return StatementMade(
        start=span.start,
        end=span.end,
        currency=tenant.currency,
        orders=counted.orders,
        lines=list(statement.lines),
        notes=list(statement.notes),
        compared_with=former.start,
        changes=list(changes(state(compared, configs.rules), statement)),
        versions=Versions(configs.versions.costs, configs.versions.cogs, configs.versions.formula),
    )


def close_days(books: Books, spans: Iterable[Span], currency: str) -> list[Statement]:
    """What days brought, written beside their other figures."""
    configs = books.configs()
    statements = [state(each, configs.rules) for each in books.count(list(spans), currency, configs.rules)]
    books.save_daily_profit(statements)
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
        if books.saves_since(clock.now() - MINUTE) >= SAVES_A_MINUTE:
            raise RateLimitedError(f"{SAVES_A_MINUTE} configurations a minute", MINUTE)
        version, standing = books.newest(payload.kind)
        differences = field_changes(standing, document)
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
        books.save_categories(payload.categories)
        known = books.categories()
        for at, expense in enumerate(payload.expenses):
            check_expense(at, expense, known)
        return Booked(books.save_expenses(payload.expenses, tenant.currency), len(payload.categories))


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
