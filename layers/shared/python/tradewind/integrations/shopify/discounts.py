"""Discount codes of a shop: the adapter of the port ``DiscountCodes``.

Shopify takes no idempotency key here. A code is unique in its shop and ours are drawn at random, so that a code which
exists already is the one that an earlier call made, whose answer was lost.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from tradewind.errors import InvalidPayloadError
from tradewind.integrations.shopify.admin_api import AdminApi
from tradewind.integrations.shopify.answers import messages_of, refuse_user_errors
from tradewind.integrations.shopify.queries import Operation

_TAKEN = "TAKEN"
CREATE_DISCOUNT = Operation(
    "CreateDiscountCode",
    """mutation CreateDiscountCode($discount: DiscountCodeBasicInput!) {
  discountCodeBasicCreate(basicCodeDiscount: $discount) {
    codeDiscountNode { id }
    userErrors { code field message }
  }
}""",
    cost=10,
    mutates=True,
)


class ShopifyDiscountCodes:
    """One shop's discount codes; needs the scope ``write_discounts``."""

    def __init__(self, api: AdminApi) -> None:
        self._api = api

    def create_code(self, code: str, percent: int, starts_at: datetime, ends_at: datetime) -> str | None:
        discount = {
            "title": f"Review thank-you {code}",
            "code": code,
            "startsAt": starts_at.isoformat(),
            "endsAt": ends_at.isoformat(),
            "usageLimit": 1,
            "appliesOncePerCustomer": True,
            "context": {"all": "ALL"},
            "customerGets": {"value": {"percentage": percent / 100}, "items": {"all": True}},
        }
        created = self._api.call(CREATE_DISCOUNT, {"discount": discount}).get("discountCodeBasicCreate")
        if not isinstance(created, dict):
            raise InvalidPayloadError("discountCodeBasicCreate", "missing from Shopify's answer")
        errors: Any = created.get("userErrors")
        if any(isinstance(error, dict) and error.get("code") == _TAKEN for error in errors or []):
            return None
        refuse_user_errors(CREATE_DISCOUNT.name, messages_of(errors))
        node = created.get("codeDiscountNode")
        return str(node["id"]) if isinstance(node, dict) and node.get("id") else None
