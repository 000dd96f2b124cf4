"""What the tables must hold when the demo is over, by plain arithmetic over the stories.

Independent of the product: nothing of ``tradewind`` or the domains is imported. The rules, briefly:

- what remains of an order is its total less its refunds, and nothing of a cancelled one;
- a conversion is an order above zero; each model's credits sum to what remains, where any touch lies in the
  thirty days up to the order (its own visit is a touch at the order's moment);
- the first discount code that an active creator owns, whatever its case, earns on net sales (lines less
  discounts), at the creator's own rate or that of the tier which the creator's earlier sales had reached;
  refunds and a cancellation leave their share of it; both are rounded half up;
- a review is asked for once per order of the last sixty days, seven days after delivery.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from infra.local.demo.orders import Story
from infra.local.demo.shops import CREATORS, SHOPS

WINDOW = timedelta(days=30)
REVIEW_DELAY = timedelta(days=7)
REVIEW_AGE = timedelta(days=60)
MOST_TOUCHES = 50
TIERS = (("bronze", 0, 10), ("silver", 100_000, 12), ("gold", 500_000, 15), ("platinum", 1_500_000, 18),
         ("diamond", 5_000_000, 20))  # fmt: skip
"""Name, lifetime net sales in cents from which it holds, percent."""


@dataclass(frozen=True, slots=True)
class ExpectedCommission:
    """What an order pays a creator, in cents: as ordered, and what refunds leave."""

    code: str
    tier: str
    percent: int
    earned_cents: int
    remaining_cents: int


@dataclass(frozen=True, slots=True)
class ExpectedOrder:
    """An order's final state, in cents. ``attributed_cents`` is what each model's credits sum to."""

    tenant_slug: str
    order_id: int
    lines: int
    units: int
    gross_cents: int
    discount_cents: int
    total_cents: int
    refunds: int
    refunded_cents: int
    refunded_net_cents: int
    status: str
    remaining_cents: int
    is_conversion: bool
    touches: int
    attributed_cents: int
    commission: ExpectedCommission | None
    review_state: str | None
    review_at: datetime | None

    @property
    def net_cents(self) -> int:
        return self.gross_cents - self.discount_cents


@dataclass(slots=True)
class ExpectedTenant:
    """A tenant's sums."""

    orders: int = 0
    lines: int = 0
    units: int = 0
    gross_cents: int = 0
    discount_cents: int = 0
    total_cents: int = 0
    refunds: int = 0
    refunded_cents: int = 0
    remaining_cents: int = 0
    cancelled: int = 0
    refunded_orders: int = 0
    fulfillments: int = 0
    conversions: int = 0
    attributed: int = 0
    unattributed: int = 0
    attributed_cents: int = 0
    commissions: int = 0
    commission_earned_cents: int = 0
    commission_cents: int = 0
    touchpoints: int = 0
    reviews: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Expectations:
    """Orders by Shopify id, and the sums per tenant slug."""

    orders: Mapping[int, ExpectedOrder]
    tenants: Mapping[str, ExpectedTenant]


def expect(stories: Sequence[Story], now: datetime) -> Expectations:
    """Compute what must come of the stories when worked on at ``now``."""
    journeys = _journeys(stories)
    commissions = _commissions(stories)
    orders = {story.order_id: _order(story, journeys, commissions, now) for story in stories}
    tenants = {shop.slug: ExpectedTenant() for shop in SHOPS}
    for story in stories:
        _add(tenants[story.tenant_slug], story, orders[story.order_id])
    return Expectations(orders, tenants)


def _cents(text: Any) -> int:
    return int(Decimal(str(text)) * 100)


def _sum_of(items: Sequence[Mapping[str, Any]], key: str) -> int:
    return sum(_cents(item[key]) for item in items)


def _placed_at(state: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(state["created_at"])


def _visitor(state: Mapping[str, Any]) -> str | None:
    return next((item["value"] for item in state["note_attributes"] if item["name"] == "visitor_id"), None)


@dataclass(frozen=True, slots=True)
class _Journeys:
    """Instants of touches, by tenant and visitor, and by tenant and customer."""

    by_visitor: Mapping[tuple[str, str], list[datetime]]
    by_customer: Mapping[tuple[str, int], list[datetime]]


def _journeys(stories: Sequence[Story]) -> _Journeys:
    by_visitor: dict[tuple[str, str], list[datetime]] = {}
    by_customer: dict[tuple[str, int], list[datetime]] = {}
    for story in stories:
        slug, state = story.tenant_slug, story.final_state
        touches = [(touch.visitor_id, touch.customer_id, touch.occurred_at) for touch in story.touchpoints]
        if state["landing_site"] or state["referring_site"]:
            touches.append((_visitor(state), state["customer"]["id"], _placed_at(state)))
        for visitor, customer, at in touches:
            by_customer.setdefault((slug, customer), []).append(at)
            if visitor is not None:
                by_visitor.setdefault((slug, visitor), []).append(at)
    return _Journeys(by_visitor, by_customer)


def _touches(story: Story, journeys: _Journeys) -> int:
    """Touches that count: the visitor's, or the customer's where the order names no visitor."""
    state = story.final_state
    visitor, placed = _visitor(state), _placed_at(state)
    if visitor is None:
        instants = journeys.by_customer.get((story.tenant_slug, state["customer"]["id"]), [])
    else:
        instants = journeys.by_visitor.get((story.tenant_slug, visitor), [])
    return min(MOST_TOUCHES, sum(placed - WINDOW <= at <= placed for at in instants))


def _order(
    story: Story, journeys: _Journeys, commissions: Mapping[int, ExpectedCommission], now: datetime
) -> ExpectedOrder:
    state = story.final_state
    total, refunded = _cents(state["total_price"]), _refunded(state)
    status = _status(state, total, refunded)
    remaining = 0 if status == "cancelled" else max(0, total - refunded)
    touches = _touches(story, journeys) if total > 0 else 0
    review_state, review_at = _review(state, status, now)
    return ExpectedOrder(
        tenant_slug=story.tenant_slug,
        order_id=story.order_id,
        lines=len(state["line_items"]),
        units=sum(line["quantity"] for line in state["line_items"]),
        gross_cents=sum(_cents(line["price"]) * line["quantity"] for line in state["line_items"]),
        discount_cents=_cents(state["total_discounts"]),
        total_cents=total,
        refunds=len(state["refunds"]),
        refunded_cents=refunded,
        refunded_net_cents=_refunded_net(state),
        status=status,
        remaining_cents=remaining,
        is_conversion=total > 0,
        touches=touches,
        attributed_cents=remaining if touches else 0,
        commission=commissions.get(story.order_id),
        review_state=review_state,
        review_at=review_at,
    )


def _refunded(state: Mapping[str, Any]) -> int:
    return sum(_sum_of(refund["transactions"], "amount") for refund in state["refunds"])


def _refunded_net(state: Mapping[str, Any]) -> int:
    return sum(_sum_of(refund["refund_line_items"], "subtotal") for refund in state["refunds"])


def _status(state: Mapping[str, Any], total: int, refunded: int) -> str:
    if state["cancelled_at"] is not None:
        return "cancelled"
    return "refunded" if 0 < total <= refunded else "open"


def _commissions(stories: Sequence[Story]) -> Mapping[int, ExpectedCommission]:
    """Commission by order; tiers follow the creator's sales of orders placed before."""
    owned = {(creator.slug, creator.code.lower()): creator for creator in CREATORS if creator.is_active}
    sales: Counter[tuple[str, str]] = Counter()
    found: dict[int, ExpectedCommission] = {}
    for story in sorted(stories, key=lambda story: (_placed_at(story.final_state), story.order_id)):
        state = story.final_state
        keys = [(story.tenant_slug, item["code"].lower()) for item in state["discount_codes"]]
        key = next((key for key in keys if key in owned), None)
        net = _cents(state["total_line_items_price"]) - _cents(state["total_discounts"])
        if key is None or net <= 0:
            continue
        tier, _, rate = [tier for tier in TIERS if tier[1] <= sales[key]][-1]
        own = owned[key].rate_percent
        percent = rate if own is None else own
        left = 0 if state["cancelled_at"] is not None else max(0, net - _refunded_net(state))
        earned = _half_up(net * percent, 100)
        found[story.order_id] = ExpectedCommission(
            owned[key].code, tier, percent, earned, _half_up(earned * left, net)
        )
        sales[key] += net
    return found


def _half_up(part: int, whole: int) -> int:
    return (2 * part + whole) // (2 * whole)


def _review(state: Mapping[str, Any], status: str, now: datetime) -> tuple[str | None, datetime | None]:
    """State and due time of the review request; None for an order that is too old to be asked about."""
    if now - _placed_at(state) > REVIEW_AGE:
        return None, None
    if status != "open" or not (state["email"] or state["customer"]["email"]):
        return "skipped", None
    parcels = [parcel for parcel in state["fulfillments"] if parcel["status"] == "success"]
    if not parcels:
        return "pending", None
    if any(parcel["shipment_status"] != "delivered" for parcel in parcels):
        return "awaiting_delivery", None
    delivered = max(datetime.fromisoformat(parcel["updated_at"]) for parcel in parcels)
    return "scheduled", delivered + REVIEW_DELAY


def _add(tenant: ExpectedTenant, story: Story, order: ExpectedOrder) -> None:
    tenant.orders += 1
    tenant.lines += order.lines
    tenant.units += order.units
    tenant.gross_cents += order.gross_cents
    tenant.discount_cents += order.discount_cents
    tenant.total_cents += order.total_cents
    tenant.refunds += order.refunds
    tenant.refunded_cents += order.refunded_cents
    tenant.remaining_cents += order.remaining_cents
    tenant.cancelled += order.status == "cancelled"
    tenant.refunded_orders += order.status == "refunded"
    tenant.fulfillments += len(story.final_state["fulfillments"])
    tenant.conversions += order.is_conversion
    tenant.attributed += order.is_conversion and order.touches > 0
    tenant.unattributed += order.is_conversion and order.touches == 0
    tenant.attributed_cents += order.attributed_cents
    tenant.touchpoints += len(story.touchpoints)
    if order.commission is not None:
        tenant.commissions += 1
        tenant.commission_earned_cents += order.commission.earned_cents
        tenant.commission_cents += order.commission.remaining_cents
    if order.review_state is not None:
        tenant.reviews[order.review_state] += 1
