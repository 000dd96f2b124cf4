"""What Tradewind keeps of a tenant's accounts at ad platforms."""

from __future__ import annotations

from collections.abc import Mapping

CREDENTIALS: Mapping[str, tuple[str, ...]] = {
    "ga4": ("measurement_id", "api_secret"),
    "meta": ("dataset_id", "access_token", "app_secret"),
    "tiktok": ("pixel_id", "access_token", "reporting_token"),
    "google_ads": ("client_id", "client_secret", "refresh_token", "login_customer_id"),
}
ACCOUNTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "ga4": (("measurement_id", "api_secret"), ()),
    "meta": (("dataset_id", "access_token"), ("app_secret",)),
    "tiktok": (("pixel_id", "access_token"), ()),
}
"""What telling events needs, without which a platform counts as not connected, and what it takes beside it."""
REPORTING: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "meta": (("access_token",), ("app_secret",)),
    "tiktok": (("reporting_token",), ()),
    "google_ads": (("client_id", "client_secret", "refresh_token"), ("login_customer_id",)),
}
"""What reports of spend need, and what they take beside it."""
