"""Review e-mails: send what is due, once; try again what failed; follow up; tell what became of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from commerce.review_email.model import (
    CLAIM,
    IncentiveSettings,
    ReviewEmailSettings,
    Statistics,
    Template,
    rates_of,
    skip_reason,
)
from commerce.review_email.payloads import EmailNews, EmailRef, FailedRun, Period, QueueRun, Resend, Waiting
from commerce.review_email.repository import ReviewQueue, RowKey
from commerce.review_email.work import Tally, deliver, freeze, left_over, stationery_of, stop_account
from tradewind.clock import Clock
from tradewind.contracts.reviews import ReviewEmailQueued
from tradewind.errors import (
    CredentialsRejectedError,
    LeaseHeldError,
    MisconfiguredError,
    NotFoundError,
)
from tradewind.ports import DiscountCodes, EmailSender, UnsubscribeLinks
from tradewind.tasks.message import REPLAY_MARK
from tradewind.tasks.retry import Retry, exponential, fixed
from tradewind.tasks.run import Continuation, Outbox, Run
from tradewind.tasks.task import LEASE_MARGIN, task
from tradewind.tasks.triggers import Cron, Event, Webhook
from tradewind.tenancy.database import TenantDb
from tradewind.tenancy.tenant import Tenant

QUEUE = Retry(attempts=2, backoff=fixed(5))
SEND = Retry(attempts=3, backoff=exponential(1, 30))
EVENT = Retry(attempts=5, backoff=exponential(2, 30))
BATCH = Retry(attempts=3, backoff=exponential(5, 120))
MINUTES = timedelta(minutes=2)
MOST_PAGES = 900
SUPPRESSING = {"bounced": "hard_bounce", "complained": "complaint"}


@dataclass(frozen=True, slots=True)
class DryRun:
    """What the next run does: the e-mails that it sends and the rows that it skips, of at most 50."""

    would_send: int
    would_skip: int


@task(
    "commerce-process-review-email-queue",
    schedule=Cron("*/5 * * * *", name="commerce-process-review-email-queue-scheduled"),
    each_tenant=True,
    retry=QUEUE,
    timeout=MINUTES,
    cap=1,
    layers=("templates",),
)
def process_review_email_queue(  # noqa: PLR0913, PLR0917 - what a task needs stands in its signature
    payload: QueueRun,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    email: EmailSender,
    links: UnsubscribeLinks,
    discounts: DiscountCodes,
    clock: Clock,
) -> Tally | DryRun | Continuation:
    """Send the review e-mails that are due, fifty a message, as fast as the account allows.

    Calls that a dead worker left open come first, as it wrote them down. A tenant with more goes on in a new message.
    """
    now = clock.now()
    before = Tally(**run.checkpoint) if run.checkpoint else Tally()
    if payload.dry_run:
        return _dry_run(db, now)
    with db.begin() as tx:
        work = ReviewQueue(tx).look_for_work(run.id, now)
    if work.paused_until is not None or not (work.due or work.left_over):
        return before
    try:
        own = stationery_of(tenant, email, links)
    except (NotFoundError, CredentialsRejectedError, MisconfiguredError) as error:
        return before.plus(stop_account(db, error, now))
    lease = run.deadline + LEASE_MARGIN
    with db.begin() as tx:
        open_calls = left_over(tx, run.id, now, lease, CLAIM)
        rows = ReviewQueue(tx).claim_due(run.id, now, lease, CLAIM)
        page = freeze(tx, rows, own, IncentiveSettings.of(tenant.settings), now, email.most)
    done = before.plus(Tally(skipped=page.skipped))
    done = done.plus(deliver(db, email, discounts, tenant, (*open_calls, *page.batches), now))
    more = page.claimed == CLAIM and done.paused is None and run.hops < MOST_PAGES
    return run.continue_with(asdict(done)) if more else done


def _dry_run(db: TenantDb, now: datetime) -> DryRun:
    with db.begin() as tx:
        queue = ReviewQueue(tx)
        candidates = queue.list_candidates(queue.peek_due(now, CLAIM))
    skipped = sum(skip_reason(each) is not None for each in candidates)
    return DryRun(len(candidates) - skipped, skipped)


@dataclass(frozen=True, slots=True)
class Retried:
    """Rows that went back into the queue, and what became of calls that were made again."""

    requeued: int
    tally: Tally


@task(
    "commerce-retry-failed-review-emails",
    schedule=Cron("*/15 * * * *", name="commerce-retry-failed-review-emails-scheduled"),
    each_tenant=True,
    retry=QUEUE,
    timeout=MINUTES,
    cap=1,
)
def retry_failed_review_emails(
    payload: FailedRun,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    email: EmailSender,
    discounts: DiscountCodes,
    clock: Clock,
) -> Retried:
    """Try failed review e-mails again after 2, 4, 8 and 16 minutes, longest failed first; a fifth failure is the last.

    A call that may have reached the provider is repeated exactly as it was; what certainly never left is due in the
    queue again.
    """
    now = clock.now()
    lease = run.deadline + LEASE_MARGIN
    with db.begin() as tx:
        queue = ReviewQueue(tx)
        work = queue.look_for_work(run.id, now)
        if work.paused_until is not None or not (work.failed or work.left_over):
            return Retried(0, Tally())
        claimed, requeued = queue.claim_failed(run.id, now, lease, payload.limit)
        batches = queue.thaw(claimed | queue.claim_left_over(run.id, now, lease, payload.limit))
    return Retried(requeued, deliver(db, email, discounts, tenant, batches, now))


@dataclass(frozen=True, slots=True)
class Ended:
    """How many e-mails waited for a parcel long enough and are due now."""

    scheduled: int


@task(
    "commerce-review-email-awaiting-delivery",
    schedule=Cron("0 12 * * *", name="commerce-review-email-awaiting-delivery-scheduled"),
    each_tenant=True,
    retry=BATCH,
    cap=1,
)
def review_email_awaiting_delivery(payload: Waiting, tenant: Tenant, db: TenantDb, clock: Clock) -> Ended:
    """Schedule review e-mails whose parcel has not been reported as delivered for fourteen days.

    Where it was meanwhile, the e-mail is due after the usual days from then.
    """
    settings = ReviewEmailSettings.of(tenant.settings)
    waited = settings.fallback if payload.days is None else timedelta(days=payload.days)
    now = clock.now()
    with db.begin() as tx:
        return Ended(ReviewQueue(tx).end_waiting(now - waited, settings.delay, now))


@dataclass(frozen=True, slots=True)
class Resent:
    """How a row stands after a person asked for it. ``sent`` counts all e-mails of its call."""

    state: str
    sent: int
    message_id: str | None


@task("commerce-send-queued-review-email", retry=SEND, entity="order_id", layers=("templates",))
def send_queued_review_email(  # noqa: PLR0913, PLR0917 - what a task needs stands in its signature
    payload: Resend,
    run: Run,
    tenant: Tenant,
    db: TenantDb,
    email: EmailSender,
    links: UnsubscribeLinks,
    discounts: DiscountCodes,
    clock: Clock,
) -> Resent:
    """Send one review e-mail now, because a person asks for it.

    With force it goes out whatever its state, also again; an e-mail whose first call may have succeeded is repeated as
    it was, so that force never doubles it by accident.
    """
    now, row = clock.now(), RowKey(payload.order_id, payload.sequence)
    own = stationery_of(tenant, email, links)
    lease = run.deadline + LEASE_MARGIN
    with db.begin() as tx:
        queue = ReviewQueue(tx)
        claimed = queue.claim_one(row, run.id, now, lease, force=payload.force)
        standing = queue.find_email(row)
        if standing is None:
            raise NotFoundError("review e-mail", f"{row.order_id}/{row.sequence}")
        if claimed is False and standing.state == "processing":
            raise LeaseHeldError("the review e-mail", str(row.order_id), timedelta(seconds=30))
        if claimed is False:
            return Resent(standing.state, 0, standing.message_id)
        if claimed is True:
            incentives = IncentiveSettings.of(tenant.settings)
            batches = freeze(tx, [row], own, incentives, now, email.most, force=payload.force).batches
        else:
            batches = tuple(queue.thaw([claimed]))
    tally = deliver(db, email, discounts, tenant, batches, now)
    with db.begin() as tx:
        standing = ReviewQueue(tx).find_email(row) or standing
    return Resent(standing.state, tally.sent, standing.message_id)


@dataclass(frozen=True, slots=True)
class FollowedUp:
    """Whether the next e-mail of the order is new in the queue."""

    order_id: int
    scheduled: bool


@task("commerce-schedule-follow-up", retry=EVENT, entity="order_id")
def schedule_follow_up(payload: EmailRef, tenant: Tenant, db: TenantDb) -> FollowedUp:
    """Queue an order's next review e-mail, some days after the last, unless a review has come or it was the last."""
    settings = ReviewEmailSettings.of(tenant.settings)
    with db.begin() as tx:
        added = ReviewQueue(tx).schedule_follow_ups(
            [payload.order_id], settings.follow_up, settings.max_sequence
        )
    return FollowedUp(payload.order_id, added > 0)


@dataclass(frozen=True, slots=True)
class Queued:
    """Whether the row was written, and when it is due."""

    order_id: int
    written: bool
    scheduled_at: datetime


@task(
    "commerce-handle-review-email-queued",
    on=Event("review.email.queued"),
    retry=EVENT,
    entity="order_id",
)
def handle_review_email_queued(
    payload: ReviewEmailQueued, tenant: Tenant, db: TenantDb, clock: Clock
) -> Queued:
    """Take a review e-mail that another application queues: its address in lower case, scheduled for its time.

    What the sender has taken already stays as it is; an order that we do not have yet may still come.
    """
    settings = ReviewEmailSettings.of(tenant.settings)
    due = payload.scheduled_at or clock.now() + settings.delay
    with db.begin() as tx:
        queue, row = ReviewQueue(tx), RowKey(payload.order_id, payload.sequence)
        written = queue.queue_email(
            row,
            due,
            email=payload.email,
            template=None if payload.template is None else Template(payload.template),
            force=payload.force_incentive,
        )
        if not written and queue.find_email(row) is None:
            raise NotFoundError("order", payload.order_id)
    return Queued(payload.order_id, written, due)


@dataclass(frozen=True, slots=True)
class Noted:
    """Whether the news was new, and whether its recipient gets no more e-mails since."""

    noted: bool
    suppressed: bool


@task(
    "commerce-handle-review-email-sent",
    on=Event("review.email.sent"),
    webhook=(
        Webhook("resend", "email.sent"),
        Webhook("resend", "email.delivered"),
        Webhook("resend", "email.opened"),
        Webhook("resend", "email.clicked"),
        Webhook("resend", "email.bounced"),
        Webhook("resend", "email.complained"),
    ),
    retry=EVENT,
    entity="order_id",
    starts=("commerce-schedule-follow-up",),
)
def handle_review_email_sent(payload: EmailNews, run: Run, db: TenantDb, outbox: Outbox) -> Noted:
    """Note what became of a review e-mail, once for each event, and suppress whoever complains or bounces for good.

    Where the news come before we knew that it had been sent, the next e-mail is scheduled from here.
    """
    row, reason = RowKey(payload.order_id, payload.sequence), SUPPRESSING.get(payload.kind)
    event_id = run.cause.split(REPLAY_MARK, 1)[0]
    with db.begin() as tx:
        queue = ReviewQueue(tx)
        before = queue.record_event(
            row, event_id, payload.kind, payload.occurred_at or run.accepted_at, payload.message_id
        )
        final = reason is not None and (payload.permanent or payload.kind == "complained")
        suppressed = final and queue.suppress_recipient(row, reason or "")
    if before in {"processing", "failed"}:
        outbox.start(schedule_follow_up, EmailRef(order_id=row.order_id, sequence=row.sequence))
    return Noted(before is not None, suppressed)


@dataclass(frozen=True, slots=True)
class Report:
    """A period and the one before it."""

    present: Statistics
    previous: Statistics


@task("commerce-review-email-stats", retry=BATCH)
def review_email_stats(payload: Period, db: TenantDb, clock: Clock) -> Report:
    """Count a period's review e-mails by what became of them, with rates, beside the period before it."""
    length = timedelta(days=payload.days)
    since = payload.since or clock.now() - length
    with db.begin() as tx:
        queue = ReviewQueue(tx)
        both = [
            Statistics(opened, closes, counts, rates_of(counts))
            for opened, closes in ((since, since + length), (since - length, since))
            for counts in [queue.count_emails(opened, closes)]
        ]
    return Report(*both)
