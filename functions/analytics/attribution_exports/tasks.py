"""Attribution as files: what a tenant wants is described once, made when it is due, and brought to its own place."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from analytics.attribution_exports.making import Tools, make_and_bring
from analytics.attribution_exports.model import (
    MOST_EXPORTS,
    Export,
    file_name,
    missed,
    next_due,
    span_of,
)
from analytics.attribution_exports.payloads import DueExports, ExportConfig, ExportToMake
from analytics.attribution_exports.repository import Exports, FileRun
from tradewind.clock import Clock
from tradewind.errors import InvalidPayloadError, NotFoundError
from tradewind.exporting import Couriers
from tradewind.ports import PayloadStore
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Outbox, Run
from tradewind.tasks.task import task
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

SCHEDULING = Retry(attempts=3, backoff=exponential(5, 120))
BRINGING = Retry(attempts=8, backoff=exponential(60, 3600))
"""A place that is away is tried again for some four hours."""
LONG = timedelta(minutes=14)


@dataclass(frozen=True, slots=True)
class Configured:
    """An export as it stands now; ``next_run_at`` is None where it is switched off."""

    name: str
    active: bool
    next_run_at: datetime | None


@dataclass(frozen=True, slots=True)
class Scheduled:
    """Files that were started."""

    files: list[str]


@dataclass(frozen=True, slots=True)
class Exported:
    """A file that was brought: what it covers, what it holds."""

    name: str
    file_name: str
    since_at: datetime
    until_at: datetime
    rows: int
    bytes: int
    sha256: str


@task("analytics-configure-export", retry=SCHEDULING)
def configure_export(payload: ExportConfig, tenant: Tenant, db: TenantDb, clock: Clock) -> Configured:
    """Describe an export that is made from now on, or change or switch off one; a tenant has ten at most."""
    export = payload.export()
    next_run_at = next_due(export.rhythm, clock.now(), tenant.zone) if export.active else None
    with db.begin() as tx:
        exports = Exports(tx)
        others = set(exports.lock_all()) - {export.name}
        if len(others) >= MOST_EXPORTS:
            raise InvalidPayloadError(
                "name", f"the tenant has {len(others)} exports already", f"change one of {sorted(others)}"
            )
        exports.save(export, next_run_at)
        exports.mark_due()
    return Configured(export.name, export.active, next_run_at)


@task(
    "analytics-attribution-export-scheduler",
    schedule=Cron("*/15 * * * *", name="analytics-attribution-export-scheduled", only_due=True),
    each_tenant=True,
    retry=SCHEDULING,
    cap=1,
    starts=("analytics-attribution-export",),
)
def attribution_export_scheduler(
    payload: DueExports, run: Run, tenant: Tenant, db: TenantDb, outbox: Outbox, clock: Clock
) -> Scheduled:
    """Start the exports that are due, each as a run of its own: one whose place is away holds up no other."""
    now = run.moment(clock)
    started: list[str] = []
    with db.begin() as tx:
        exports = Exports(tx)
        for due in exports.pick_due(now, payload.limit):
            slots, following = missed(due.export.rhythm, due.due_at, now, tenant.zone)
            exports.put_off(due.export.name, following)
            for slot in slots:
                asked = ExportToMake(name=due.export.name, due_at=slot)
                outbox.start(attribution_export, asked, key=f"{due.export.name}/{slot.isoformat()}")
                started.append(file_name(due.export, slot))
        exports.mark_due()
    return Scheduled(started)


@task(
    "analytics-attribution-export",
    retry=BRINGING,
    timeout=LONG,
    cap=2,
    concurrency=10,
    memory=1024,
    storage=4096,
    entity="name",
    layers=("columnar", "sftp"),
)
def attribution_export(
    payload: ExportToMake,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    payloads: PayloadStore,
    couriers: Couriers,
    clock: Clock,
) -> Exported:
    """Make an export's file and bring it to its place; a failed attempt goes on with the same file.

    Raises NotFoundError for an export that nobody has described.
    """
    due_at = payload.due_at or run.accepted_at.replace(microsecond=0)
    with db.begin() as tx:
        export = _find(tx_exports := Exports(tx), payload.name)
        span = span_of(export, due_at, tenant.zone)
        opened = tx_exports.open_run(FileRun(export.name, due_at, span, file_name(export, due_at)))
    made = make_and_bring(Tools(run, tenant, db, payloads, couriers, clock), export, opened)
    span = opened.span
    return Exported(
        export.name, opened.file_name, span.since_at, span.until_at, made.rows, made.size, made.sha256
    )


def _find(exports: Exports, name: str) -> Export:
    found = exports.find(name)
    if found is None:
        raise NotFoundError("export", name)
    return found
