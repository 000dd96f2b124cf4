"""Unit costs of inventory items on the wire.

Shopify keeps a cost with more digits than its currency has; a cost is rounded half up to the minor unit.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from tradewind.catalogue import ItemCost
from tradewind.integrations.shopify.models import Identified, PageInfo, Wire
from tradewind.money import minor_digits


class UnitCost(Wire):
    amount: str
    currency_code: str


class CostedItem(Identified):
    unit_cost: UnitCost | None = None

    def to_port(self) -> ItemCost | None:
        """None without a cost. Raises ValueError for an amount that cannot be."""
        told = self.unit_cost
        if told is None:
            return None
        try:
            exact = Decimal(told.amount).scaleb(minor_digits(told.currency_code))
            cents = int(exact.quantize(Decimal(1), rounding=ROUND_HALF_UP))
        except InvalidOperation:
            raise ValueError(f"unit cost {told.amount!r} is no amount") from None
        if cents < 0:
            raise ValueError(f"unit cost {told.amount!r} is below zero")
        return ItemCost(self.number, cents, told.currency_code)


class CostedItemConnection(Wire):
    nodes: tuple[CostedItem, ...]
    page_info: PageInfo
