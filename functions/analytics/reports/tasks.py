"""Reports that a merchant reads: the week on Monday, the month's profit and loss once its days are closed."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from analytics.metrics.model import DAY, WEEK, closed_days, day_of, week_of
from analytics.metrics.repository import Metrics
from analytics.profit_and_loss.payloads import StatementRequest
from analytics.profit_and_loss.periods import before, month_before
from analytics.profit_and_loss.repository import Books
from analytics.profit_and_loss.tasks import asked_span, make_statement
from analytics.reports.charts import draw_waterfall, draw_week
from analytics.reports.content import Report, statement_report, week_report
from analytics.reports.model import ReportSettings, as_report, waterfall
from analytics.reports.payloads import WeekToTell
from analytics.reports.repository import Reports
from tradewind.clock import Clock
from tradewind.contracts.attribution import AttributionSettings
from tradewind.errors import NotFoundError, RepeatRefusedError, TerminalError
from tradewind.ports import EmailOutcome, EmailSender, Messenger
from tradewind.tasks.retry import Retry, exponential
from tradewind.tasks.run import Run
from tradewind.tasks.task import task
from tradewind.tasks.telling import tell
from tradewind.tasks.triggers import Cron
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

METRICS = Retry(attempts=3, backoff=exponential(10, 120))
AGAIN = "again"


@dataclass(frozen=True, slots=True)
class Told:
    """What became of a report: in the messenger, and for each of its recipients in their order."""

    subject: str
    posted: str
    emails: list[str]


@task(
    "analytics-send-weekly-report",
    retry=METRICS,
    cap=1,
    concurrency=10,
    memory=1024,
    layers=("charts", "templates"),
)
def send_weekly_report(
    payload: WeekToTell, run: Run, tenant: Tenant, db: TenantDb, messenger: Messenger, email: EmailSender
) -> Told:
    """Tell the tenant's people how their week went, by e-mail and in Slack, with its sales by day as a chart.

    The week, its days and those of the week before are counted anew.
    """
    monday = payload.week_on
    periods = [week_of(monday - WEEK, tenant.zone), week_of(monday, tenant.zone)]
    periods += [day_of(monday + DAY * at, tenant.zone) for at in range(-7, 7)]
    with db.begin() as tx:
        Metrics(tx).save(periods, tenant.currency, AttributionSettings.of(tenant.settings))
        report = Reports(tx).week(monday)
    if report is None:
        raise NotFoundError("week", monday)
    chart = draw_week(payload.week_on, report.days, report.days_before, tenant.currency)
    settings = ReportSettings.of(tenant.settings)
    told = week_report(report, settings.sender_name or tenant.name, tenant.currency, chart)
    return tell_all(f"week-report:{payload.week_on}", told, run, tenant, messenger, email)


@task(
    "analytics-send-pl-report",
    schedule=Cron("0 8 3 * *"),
    each_tenant=True,
    retry=METRICS,
    cap=1,
    concurrency=10,
    memory=1024,
    layers=("charts", "templates"),
)
def send_pl_report(
    payload: StatementRequest,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    messenger: Messenger,
    email: EmailSender,
    clock: Clock,
) -> Told:
    """Send a profit and loss by e-mail and in Slack, with the way from revenue to profit as a chart.

    Of the days that are asked for; each month on the 3rd, of the month before.
    """
    [yesterday] = closed_days(run.moment(clock), tenant.zone, 1)
    span = asked_span(payload, tenant.zone) or month_before(yesterday.starts_on, tenant.zone)
    with db.begin() as tx:
        made = make_statement(Books(tx), span, before(span, tenant.zone, payload.compare), tenant.currency)
    report = as_report(made.statement, made.orders, made.changes)
    chart = draw_waterfall(waterfall(report.totals), report.currency)
    settings = ReportSettings.of(tenant.settings)
    told = statement_report(report, settings.sender_name or tenant.name, chart)
    return tell_all(f"pl-report:{span.start}:{span.end}", told, run, tenant, messenger, email)


def tell_all(
    key: str, report: Report, run: Run, tenant: Tenant, messenger: Messenger, email: EmailSender
) -> Told:
    """Post once for each ``key``; to each recipient once for each run, whoever dies when.

    A tenant that nobody can be told of, or a refused address, does not keep the others from being told.
    """
    posted = tell(messenger, key, report.note)
    settings = ReportSettings.of(tenant.settings)
    return Told(report.subject, posted, send(f"{key}:{run.id}", report, settings, tenant, email))


def send(key: str, report: Report, settings: ReportSettings, tenant: Tenant, email: EmailSender) -> list[str]:
    """What became of each recipient's e-mail: its id, ``again`` where an earlier attempt has sent it, or why not."""
    if not settings.recipients:
        return []
    try:
        sender = email.sender_of(settings.sender_name or tenant.name)
    except NotFoundError:
        return ["not_connected"] * len(settings.recipients)
    return [_send_one(key, report, sender, recipient, tenant, email) for recipient in settings.recipients]


def _send_one(
    key: str, report: Report, sender: str, recipient: str, tenant: Tenant, email: EmailSender
) -> str:
    own = hashlib.sha256(f"{key}:{recipient}".encode()).hexdigest()
    made = report.email(sender, recipient, {"tenant": str(tenant.id), "kind": "report"})
    try:
        outcomes = email.send(f"{tenant.id}:{own}", [made])
    except RepeatRefusedError:
        return AGAIN
    except TerminalError as error:
        return f"refused: {error}"
    return _told(outcomes)


def _told(outcomes: Sequence[EmailOutcome]) -> str:
    [outcome] = outcomes
    return outcome.message_id or f"refused: {outcome.refusal}"
