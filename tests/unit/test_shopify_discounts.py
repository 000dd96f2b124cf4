"""A discount code is made once, also where the first answer was lost."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from tradewind.errors import InvalidPayloadError, TerminalError
from tradewind.integrations.shopify.discounts import ShopifyDiscountCodes

START, END = datetime(2026, 11, 20, tzinfo=UTC), datetime(2026, 12, 20, tzinfo=UTC)


class Answering:
    """An API that gives one answer and keeps what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []

    def call(self, operation: Any, variables: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(variables["discount"])
        return {"discountCodeBasicCreate": self.answer}


def create(answer: Any) -> tuple[str | None, list[dict[str, Any]]]:
    api = Answering(answer)
    made = ShopifyDiscountCodes(api).create_code("THANKS-AB", 15, START, END)  # type: ignore[arg-type]
    return made, api.asked


def test_code_is_made_for_one_order() -> None:
    made, [asked] = create({"codeDiscountNode": {"id": "gid://shopify/DiscountCodeNode/1"}, "userErrors": []})
    assert made == "gid://shopify/DiscountCodeNode/1"
    assert asked == {
        "title": "Review thank-you THANKS-AB",
        "code": "THANKS-AB",
        "startsAt": "2026-11-20T00:00:00+00:00",
        "endsAt": "2026-12-20T00:00:00+00:00",
        "usageLimit": 1,
        "appliesOncePerCustomer": True,
        "context": {"all": "ALL"},
        "customerGets": {"value": {"percentage": 0.15}, "items": {"all": True}},
    }


def test_code_that_is_there_already_was_made_by_an_earlier_call() -> None:
    taken = {"code": "TAKEN", "field": ["code"], "message": "Code must be unique."}
    assert create({"codeDiscountNode": None, "userErrors": [taken]})[0] is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (None, InvalidPayloadError),
        ({"codeDiscountNode": None, "userErrors": [{"code": "INVALID", "message": "no"}]}, TerminalError),
    ],
)
def test_refusal_is_told(answer: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        create(answer)
