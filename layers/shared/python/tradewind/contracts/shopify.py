"""What Tradewind asks every shop to deliver."""

from __future__ import annotations

SUBSCRIBED_TOPICS = (
    "orders/create",
    "orders/updated",
    "orders/paid",
    "orders/cancelled",
    "refunds/create",
    "fulfillments/create",
    "fulfillments/update",
    "customers/create",
    "customers/update",
    "customers/delete",
    "app/uninstalled",
    "shop/update",
)
"""Topics subscribed at install and restored by reconciliation. Compliance topics are set in the app's configuration.

Of ``orders/fulfilled`` nothing more is heard than of the parcels themselves: it is worked where a shop delivers it, but
not asked for.
"""

COMPLIANCE_TOPICS = frozenset({"customers/data_request", "customers/redact", "shop/redact"})
"""Kept and worked for uninstalled and unknown shops too, within 30 days."""


def endpoint_for(base: str, app: str) -> str:
    """Where an app's webhooks are to be delivered."""
    return f"{base.rstrip('/')}/webhooks/shopify" + ("" if app == "default" else f"/{app}")
