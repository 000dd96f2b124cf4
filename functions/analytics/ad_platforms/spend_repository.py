"""Ad accounts and what they spend, in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from analytics.ad_platforms.spend_model import Piece
from tradewind.spending import AdAccount, CampaignDay, Span, SpendPlatform, ViewDay
from tradewind.sql import load_queries
from tradewind.tenancy.database import Jsonb, Transaction

QUERIES = load_queries(__file__)


class Spend:
    """A tenant's accounts and their days."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction

    def pick_accounts(self, platform: SpendPlatform) -> tuple[AdAccount, ...]:
        """The accounts whose spend is synced."""
        rows = self._tx.fetch_all(QUERIES["pick_accounts"], {"platform": platform})
        return tuple(
            AdAccount(SpendPlatform(row["platform"]), row["account_id"], row["currency"]) for row in rows
        )

    def pick_all_accounts(self) -> tuple[AdAccount, ...]:
        """Those of every platform."""
        rows = self._tx.fetch_all(QUERIES["pick_all_accounts"])
        return tuple(
            AdAccount(SpendPlatform(row["platform"]), row["account_id"], row["currency"]) for row in rows
        )

    def schedule_next(self, schedule: str, due_at: datetime) -> None:
        """Say when there is something to fetch again."""
        self._tx.execute(QUERIES["schedule_next"], {"schedule": schedule, "due_at": due_at})

    def replace_views(self, account: AdAccount, span: Span, days: Sequence[ViewDay]) -> int:
        """Write what an account's days are credited with now; what is credited no more is deleted."""
        rows = [
            {
                "platform": account.platform,
                "viewed_on": day.viewed_on.isoformat(),
                "account_id": account.id,
                "campaign_id": day.campaign_id,
                "campaign_name": day.campaign_name,
                "currency": day.currency,
                "conversions": str(day.conversions),
                "conversion_value_cents": day.value_cents,
            }
            for day in days
            if day.conversions or day.value_cents
        ]
        about = {
            "platform": account.platform,
            "account_id": account.id,
            "first_day": span.first,
            "last_day": span.last,
            "view_days": Jsonb(rows),
        }
        self._tx.execute(QUERIES["delete_vanished_views"], about)
        return self._tx.execute(QUERIES["save_views"], about)

    def map_account(self, account: AdAccount, *, active: bool, counts: bool) -> None:
        self._tx.execute(
            QUERIES["map_account"],
            {
                "platform": account.platform,
                "account_id": account.id,
                "currency": account.currency,
                "active_is_on": active,
                "counts_is_on": counts,
            },
        )

    def replace_days(self, piece: Piece, days: Sequence[CampaignDay]) -> int:
        """Write an account's days as they are reported now; what is reported no more is deleted."""
        rows = [
            {
                "platform": piece.account.platform,
                "spent_on": day.spent_on.isoformat(),
                "account_id": piece.account.id,
                "campaign_id": day.campaign_id,
                "campaign_name": day.campaign_name,
                "currency": day.currency,
                "spend_cents": day.spend_cents,
                "impressions": day.impressions,
                "clicks": day.clicks,
                "conversions": str(day.conversions),
                "conversion_value_cents": day.conversion_value_cents,
            }
            for day in days
        ]
        about = {
            "platform": piece.account.platform,
            "account_id": piece.account.id,
            "first_day": piece.span.first,
            "last_day": piece.span.last,
            "spend_days": Jsonb(rows),
        }
        self._tx.execute(QUERIES["delete_vanished_days"], about)
        return self._tx.execute(QUERIES["save_days"], about)
