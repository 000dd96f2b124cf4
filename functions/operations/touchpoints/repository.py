"""Touchpoints in Postgres."""

from __future__ import annotations

from operations.touchpoints.model import Touchpoint
from tradewind.sql import load_queries
from tradewind.tenancy.database import Transaction

QUERIES = load_queries(__file__)


class Touchpoints:
    """A tenant's touches."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def save(self, touch: Touchpoint) -> bool:
        """Store a touch; False where it is there already."""
        told, visit = touch.recorded, touch.visit
        row = self._tx.fetch_one(
            QUERIES["save_touchpoint"],
            {
                "touchpoint_id": touch.id,
                "dedupe_hash": touch.dedupe_hash,
                "visitor_id": told.visitor_id,
                "session_id": told.session_id,
                "customer_id": told.customer_id,
                "channel": visit.channel,
                "source": visit.source,
                "medium": visit.medium,
                "campaign": visit.campaign,
                "click_id": visit.click_id,
                "landing_page": told.landing_page,
                "referrer_url": told.referrer_url,
                "type": told.type,
                "occurred_at": told.occurred_at,
            },
        )
        return row is not None
