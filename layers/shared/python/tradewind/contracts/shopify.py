"""What Tradewind asks every shop to deliver."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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

FLAGGED_TOPICS: Mapping[str, tuple[str, ...]] = {
    "products": (
        "products/create",
        "products/update",
        "products/delete",
        "collections/create",
        "collections/update",
        "collections/delete",
        "bulk_operations/finish",
    ),
    "inventory": ("inventory_levels/update",),
}
"""Topics that are subscribed only where the tenant's flag of that name is on (setting ``features``)."""

COMPLIANCE_TOPICS = frozenset({"customers/data_request", "customers/redact", "shop/redact"})
"""Kept and worked for uninstalled and unknown shops too, within 30 days."""


def topics_for(settings: Mapping[str, Any]) -> tuple[str, ...]:
    """What a tenant's shop is asked to deliver."""
    flags = features_of(settings)
    return (
        *SUBSCRIBED_TOPICS,
        *(topic for flag in FLAGGED_TOPICS if flag in flags for topic in FLAGGED_TOPICS[flag]),
    )


def features_of(settings: Mapping[str, Any]) -> frozenset[str]:
    """The tenant's feature flags that are on."""
    own = settings.get("features") or {}
    on = {"products": own.get("products"), "inventory": own.get("inventory")}
    return frozenset(name for name, value in on.items() if value is True)


def endpoint_for(base: str, app: str) -> str:
    """Where an app's webhooks are to be delivered."""
    return f"{base.rstrip('/')}/webhooks/shopify" + ("" if app == "default" else f"/{app}")
