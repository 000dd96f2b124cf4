"""What follows from a conversion."""

from __future__ import annotations

from analytics.attribution.tasks import process_attribution
from commerce.order_sync.tasks import sync_order
from tests.fakes import an_order
from tests.integration.harness import House
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done


def test_conversion_is_found_with_what_its_order_is_worth(house: House) -> None:
    house.shopify.put(an_order())
    house.run(sync_order, {"id": 1001, "updated_at": "2026-11-20T12:00:00Z"})
    end = house.run(process_attribution, {"order_id": 1001}, source=Source.EVENT)
    assert isinstance(end, Done)
    [touches] = house.query("SELECT touchpoints FROM attribution_conversions")
    assert end.result == {"order_id": 1001, "revenue_cents": 10_200, **touches}


def test_order_that_is_no_conversion_ends_as_a_dead_letter(house: House) -> None:
    end = house.run(process_attribution, {"order_id": 1001}, source=Source.EVENT)
    assert isinstance(end, Dead)
    assert house.query("SELECT error_class FROM dead_letter") == [{"error_class": "NotFoundError"}]
