"""What an order's own tasks ask of A/B tests."""

from __future__ import annotations

from datetime import datetime

from commerce.ab_testing.conversion_repository import Conversions
from tradewind.tenancy.database import TenantDb


def settle_conversion(db: TenantDb, order_id: int, now: datetime) -> None:
    """For whoever hears of an order's refund or cancellation: its conversions are worth less, or are none any more."""
    with db.begin() as tx:
        Conversions(tx).settle(now, order_id)
