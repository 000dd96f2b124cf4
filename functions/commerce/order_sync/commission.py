"""Creator commission, pure: whose code it was, the rate at the order's time, and what refunds leave of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from commerce.order_sync.model import OrderState
from tradewind.money import proportion

BASIS = 10_000


class CommissionState(StrEnum):
    PENDING = "pending"
    REVERSED = "reversed"


@dataclass(frozen=True, slots=True)
class Tier:
    """A rate in basis points from a creator's lifetime net sales (cents) on."""

    name: str
    from_cents: int
    rate: int


DEFAULT_TIERS = (
    Tier("bronze", 0, 1000),
    Tier("silver", 100_000, 1200),
    Tier("gold", 500_000, 1500),
    Tier("platinum", 1_500_000, 1800),
    Tier("diamond", 5_000_000, 2000),
)


def tiers_of(settings: Mapping[str, Any]) -> tuple[Tier, ...]:
    """A tenant's tiers (``settings["commission_tiers"]``: name, from_cents, rate_basis_points), or the default."""
    own = settings.get("commission_tiers")
    if not own:
        return DEFAULT_TIERS
    tiers = (Tier(item["name"], int(item["from_cents"]), int(item["rate_basis_points"])) for item in own)
    return tuple(sorted(tiers, key=lambda tier: tier.from_cents))


@dataclass(frozen=True, slots=True)
class Creator:
    """A creator as a brand knows them. ``rate`` in basis points overrides the tier."""

    id: UUID
    code: str
    rate: int | None


@dataclass(frozen=True, slots=True)
class Commission:
    """What one order pays its creator. ``earned_cents`` before refunds, ``commission_cents`` what is left of it."""

    creator_id: UUID
    code: str
    net_sales_cents: int
    rate: int
    tier: str
    earned_cents: int
    commission_cents: int
    state: CommissionState


def match_creator(discount_codes: Sequence[str], creators: Sequence[Creator]) -> Creator | None:
    """The creator of the first code that is anyone's, whatever its case."""
    by_code = {creator.code.casefold(): creator for creator in creators}
    return next((by_code[code.casefold()] for code in discount_codes if code.casefold() in by_code), None)


def tier_at(lifetime_cents: int, tiers: Sequence[Tier]) -> Tier:
    """The highest tier that the sales before the order had reached."""
    reached = [tier for tier in tiers if tier.from_cents <= lifetime_cents]
    return reached[-1] if reached else tiers[0]


def compute_commission(
    order: OrderState, creator: Creator, lifetime_cents: int, tiers: Sequence[Tier]
) -> Commission | None:
    """An order's commission; None where it has no net sales.

    ``lifetime_cents`` are the creator's net sales of earlier orders, as ordered: a refund takes back its own
    commission in proportion, not the tier that was reached. Rounded half up.
    """
    if order.net_cents <= 0:
        return None
    tier = tier_at(lifetime_cents, tiers)
    rate = tier.rate if creator.rate is None else creator.rate
    earned = proportion(order.net_cents, rate, BASIS)
    left = proportion(earned, order.remaining_net_cents, order.net_cents)
    reversed_whole = order.remaining_net_cents == 0
    return Commission(
        creator_id=creator.id,
        code=creator.code,
        net_sales_cents=order.net_cents,
        rate=rate,
        tier=tier.name,
        earned_cents=earned,
        commission_cents=left,
        state=CommissionState.REVERSED if reversed_whole else CommissionState.PENDING,
    )
