"""What campaigns cost, as a test or a person has told the sandbox: rows by account."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Campaigns = dict[str, list[dict[str, Any]]]
"""Account -> rows of date, campaign_id, name, spend (decimal text), impressions, clicks, conversions, value."""


def rows_between(campaigns: Campaigns, account: str, first: str, last: str) -> Sequence[dict[str, Any]]:
    """An account's rows of the days, both included, in order."""
    found = [row for row in campaigns.get(account, []) if first <= row["date"] <= last]
    return sorted(found, key=lambda row: (row["date"], row["campaign_id"]))
