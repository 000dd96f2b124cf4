"""From a claimed row to its final state: decide, freeze, call, record. Steps that the feature's tasks share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from os import urandom
from uuid import UUID, uuid4

from commerce.review_email.content import Stationery, compose
from commerce.review_email.model import (
    Batch,
    Candidate,
    FrozenEmail,
    Incentive,
    IncentiveSettings,
    ReviewEmailSettings,
    batches_of,
    make_code,
    next_attempt_at,
    offered_percent,
    skip_reason,
    template_of,
    why_not_repeated,
    with_photo,
)
from commerce.review_email.repository import (
    Failed,
    Frozen,
    FrozenBatch,
    ReviewQueue,
    RowKey,
    Sent,
    Skip,
    WantedCode,
)
from tradewind.errors import (
    ConflictError,
    CredentialsRejectedError,
    InvalidPayloadError,
    MisconfiguredError,
    NotFoundError,
    ProviderUnavailableError,
    QuotaExceededError,
    RepeatRefusedError,
    TerminalError,
    TradewindError,
)
from tradewind.ports import DiscountCodes, EmailOutcome, EmailSender, UnsubscribeLinks
from tradewind.tenancy.database import TenantDb, Transaction
from tradewind.tenancy.tenant import Tenant

ACCOUNT_PAUSE = timedelta(hours=1)
"""An account that refuses is asked again after it: once a person has mended it, sending goes on by itself."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a claim came to: calls to make, rows that were skipped, rows that were taken."""

    batches: tuple[Batch, ...]
    skipped: int
    claimed: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The account sends nothing until then."""

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Tally:
    """What a run did. ``paused`` is why the account stopped, if it did."""

    sent: int = 0
    skipped: int = 0
    failed: int = 0
    follow_ups: int = 0
    paused: str | None = None

    def plus(self, other: Tally) -> Tally:
        return Tally(
            self.sent + other.sent,
            self.skipped + other.skipped,
            self.failed + other.failed,
            self.follow_ups + other.follow_ups,
            other.paused or self.paused,
        )


def stationery_of(tenant: Tenant, email: EmailSender, links: UnsubscribeLinks) -> Stationery:
    """What the tenant's e-mails share; asked for outside of a transaction, since it reads the tenant's secrets."""
    settings = ReviewEmailSettings.of(tenant.settings)
    store = settings.store_name or tenant.name
    return Stationery(
        tenant_id=tenant.id,
        sender=email.sender_of(store),
        store=store,
        shop_domain=tenant.shop_domain,
        settings=settings,
        unsubscribe_url=links.signer(),
    )


def freeze(
    tx: Transaction,
    rows: Sequence[RowKey],
    own: Stationery,
    incentives: IncentiveSettings,
    now: datetime,
    most: int,
    *,
    force: bool = False,
) -> Page:
    """Decide on claimed rows: skip some, write the others' e-mails down, in calls of at most ``most``."""
    queue = ReviewQueue(tx)
    candidates = queue.list_candidates(rows)
    reasons = {_key(each): skip_reason(each, force=force) for each in candidates}
    skips = [Skip(row, reason) for row, reason in reasons.items() if reason is not None]
    if skips:
        queue.skip(skips, now)
    left = [each for each in candidates if reasons[_key(each)] is None]
    offers = _offer(queue, left, incentives, now)
    composed = [
        Frozen(
            _key(each), compose(each, template_of(each), offer, own), template_of(each), offer, each.attempts
        )
        for each in left
        for offer in [offers.get(_key(each))]
    ]
    batches = [FrozenBatch(uuid4(), members) for members in batches_of(composed, most)]
    if batches:
        queue.freeze(batches, now)
    return Page(tuple(_batch(each, now) for each in batches), len(skips), len(rows))


def _batch(frozen: FrozenBatch, now: datetime) -> Batch:
    emails = tuple(
        FrozenEmail(each.row.order_id, each.row.sequence, each.attempts, each.email)
        for each in frozen.members
    )
    return Batch(frozen.id, emails, len(emails), now, repeated=False)


def _offer(
    queue: ReviewQueue, candidates: Sequence[Candidate], incentives: IncentiveSettings, now: datetime
) -> dict[RowKey, Incentive]:
    """What each e-mail offers, if it does; a code once made for an order stays its code, and ends with its time."""
    percents = {_key(each): offered_percent(each, incentives) for each in candidates}
    codes = {each.order_id: each.incentive for each in candidates if each.incentive is not None}
    wanted = {}
    for each in candidates:
        percent = percents[_key(each)]
        if percent is not None and each.order_id not in codes:
            code = make_code(incentives.prefix, urandom(8))
            made = Incentive(code, percent, with_photo(percent, incentives), now + incentives.life)
            wanted[each.order_id] = WantedCode(each.order_id, each.sequence, made)
    if wanted:
        codes |= queue.save_codes(list(wanted.values()))
    return {
        row: codes[row.order_id]
        for row, percent in percents.items()
        if percent is not None and codes[row.order_id].expires_at > now
    }


def _key(candidate: Candidate) -> RowKey:
    return RowKey(candidate.order_id, candidate.sequence)


def publish_codes(db: TenantDb, discounts: DiscountCodes, batches: Sequence[Batch], now: datetime) -> None:
    """Make the discounts that these e-mails offer, before one of them leaves.

    The code was written before; a code that Shopify knows already is one whose answer was lost.
    """
    with db.begin() as tx:
        intended = ReviewQueue(tx).pick_intended_codes([batch.id for batch in batches])
    for offer in intended:
        discount_id = discounts.create_code(offer.code, offer.percent, now, offer.expires_at)
        with db.begin() as tx:
            ReviewQueue(tx).activate_code(offer.code, discount_id)


def deliver(
    db: TenantDb,
    email: EmailSender,
    discounts: DiscountCodes,
    tenant: Tenant,
    batches: Iterable[Batch],
    now: datetime,
) -> Tally:
    """Make calls one after the other and record what became of each before the next; a pause ends it.

    Raises RateLimitedError with everything that is left still claimed: the same run takes it up again.
    """
    tally = Tally()
    waiting = list(batches)
    if IncentiveSettings.of(tenant.settings).enabled and waiting:
        try:
            publish_codes(db, discounts, waiting, now)
        except TerminalError as error:
            tally = _pause(db, waiting.pop(0), Paused(now + ACCOUNT_PAUSE, f"discount: {error}"), now)
    while waiting and tally.paused is None:
        tally = tally.plus(_deliver_one(db, email, tenant, waiting.pop(0), now))
    if waiting:
        with db.begin() as tx:
            _put_off(ReviewQueue(tx), waiting, now, tally.paused or "")
    return tally


def _deliver_one(  # noqa: PLR0911 - one end for each kind of answer
    db: TenantDb, email: EmailSender, tenant: Tenant, batch: Batch, now: datetime
) -> Tally:
    given_up = why_not_repeated(batch, now) if batch.repeated else None
    if given_up is not None:
        return _record_failure(db, batch, given_up, now, keep=False, final=True)
    try:
        outcomes = email.send(batch.key(tenant.id), [each.email for each in batch.emails])
    except QuotaExceededError as error:
        return _pause(db, batch, Paused(now + error.wait, error.limit), now)
    except (CredentialsRejectedError, MisconfiguredError, NotFoundError) as error:
        return _pause(db, batch, Paused(now + ACCOUNT_PAUSE, str(error)), now)
    except ProviderUnavailableError as error:
        return _record_failure(db, batch, str(error), now, keep=error.outcome_unknown or batch.repeated)
    except ConflictError as error:
        return _record_failure(db, batch, str(error), now, keep=True)
    except (InvalidPayloadError, RepeatRefusedError) as error:
        return _record_failure(db, batch, str(error), now, keep=False, final=True)
    return _record_outcomes(db, tenant, batch, outcomes, now)


def _record_outcomes(
    db: TenantDb, tenant: Tenant, batch: Batch, outcomes: Sequence[EmailOutcome], now: datetime
) -> Tally:
    settings = ReviewEmailSettings.of(tenant.settings)
    pairs = list(zip(batch.emails, outcomes, strict=True))
    sent = [
        Sent(_row(each), batch.id, outcome.message_id)
        for each, outcome in pairs
        if outcome.message_id is not None
    ]
    refused = [
        Failed(_row(each), batch.id, each.attempts + 1, outcome.refusal or "refused", None, keep=False)
        for each, outcome in pairs
        if outcome.message_id is None
    ]
    with db.begin() as tx:
        queue = ReviewQueue(tx)
        marked = queue.mark_sent(sent, now) if sent else 0
        failed = queue.mark_failed(refused, now) if refused else 0
        orders = [each.row.order_id for each in sent]
        follow_ups = queue.schedule_follow_ups(orders, settings.follow_up, settings.max_sequence)
    return Tally(sent=marked, failed=failed, follow_ups=follow_ups)


def _record_failure(
    db: TenantDb, batch: Batch, error: str, now: datetime, *, keep: bool, final: bool = False
) -> Tally:
    """Count an attempt of every e-mail of a call. Those that share a call wait alike."""
    attempts = 1 + max(each.attempts for each in batch.emails)
    again = None if final else next_attempt_at(attempts, now)
    kept = keep and again is not None
    with db.begin() as tx:
        failed = ReviewQueue(tx).mark_failed(
            [Failed(_row(each), batch.id, attempts, error, again, kept) for each in batch.emails], now
        )
    return Tally(failed=failed)


def _pause(db: TenantDb, batch: Batch, pause: Paused, now: datetime) -> Tally:
    """Stop the account for a while; nothing of this call was taken, and no attempt is counted."""
    with db.begin() as tx:
        queue = ReviewQueue(tx)
        _put_off(queue, [batch], now, pause.reason, pause.until)
        queue.pause_sending(pause.until, pause.reason[:300], now)
    return Tally(paused=pause.reason)


def stop_account(db: TenantDb, error: TradewindError, now: datetime) -> Tally:
    """Pause a tenant that has no usable account, before anything is claimed."""
    with db.begin() as tx:
        ReviewQueue(tx).pause_sending(now + ACCOUNT_PAUSE, str(error)[:300], now)
    return Tally(paused=str(error))


def _put_off(
    queue: ReviewQueue, batches: Sequence[Batch], now: datetime, reason: str, until: datetime | None = None
) -> None:
    """Fresh calls go back into the queue; one that may have been made before stays frozen for its repetition."""
    fresh = [batch.id for batch in batches if not batch.repeated]
    if fresh:
        queue.give_back(fresh, now)
    kept = [
        Failed(_row(each), batch.id, each.attempts, reason, until or now, keep=True)
        for batch in batches
        if batch.repeated
        for each in batch.emails
    ]
    if kept:
        queue.mark_failed(kept, now)


def _row(each: FrozenEmail) -> RowKey:
    return RowKey(each.order_id, each.sequence)


def left_over(
    tx: Transaction, run_id: UUID, now: datetime, lease_until: datetime, most: int
) -> tuple[Batch, ...]:
    """The calls that nobody is working on, taken over."""
    queue = ReviewQueue(tx)
    claimed = queue.claim_left_over(run_id, now, lease_until, most)
    return tuple(queue.thaw(claimed)) if claimed else ()
