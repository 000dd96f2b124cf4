"""Computing conversions anew from what is stored: orders, touches, settings. Done twice, it changes nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analytics.attribution.repository import Conversions
from tradewind.contracts.attribution import AttributionSettings, Conversion, convert
from tradewind.tasks.run import Run
from tradewind.tenancy.database import Transaction


def settle(
    run: Run, tx: Transaction, order_ids: Sequence[int], settings: Mapping[str, Any]
) -> list[Conversion]:
    """Write the conversions of those of these orders that convert, by the orders' ids; what is none is deleted."""
    conversions = Conversions(tx)
    with run.step("conversion"):
        orders = conversions.lock(order_ids)
        none = [order.order_id for order in orders if not order.converts]
        if none:
            conversions.delete(none)
    converting = [order for order in orders if order.converts]
    if not converting:
        return []
    with run.step("touchpoints"):
        numbers = AttributionSettings.of(settings, conversions.list_weights())
        journeys = conversions.list_journeys([order.order_id for order in converting], numbers)
    with run.step("models"):
        settled = [convert(order, journeys[order.order_id], numbers) for order in converting]
    with run.step("results"):
        conversions.save(settled)
    return settled
