"""A visit's channel, by the rules in their order."""

from __future__ import annotations

import pytest

from tradewind.contracts.visits import classify_visit


@pytest.mark.parametrize(
    ("landing", "referrer", "utm", "channel", "source"),
    [
        (None, None, {}, "direct", None),
        ("/?gclid=abc", None, {}, "paid", None),
        ("/?utm_source=Facebook&utm_medium=CPC", None, {}, "paid", "facebook"),
        ("/?utm_source=newsletter&utm_medium=email", None, {}, "email", "newsletter"),
        ("/?ref=ann", "https://www.instagram.com/", {}, "creator", "instagram.com"),
        ("/", "https://www.google.com/search?q=x", {}, "organic", "google.com"),
        ("/", "https://l.facebook.com/", {}, "social", "l.facebook.com"),
        ("/", "https://blog.example.org/post", {}, "referral", "blog.example.org"),
        ("/", None, {"source": "partner", "medium": "affiliate"}, "affiliate", "partner"),
        (
            "/?utm_source=google&utm_medium=cpc",
            None,
            {"source": "bing", "medium": "organic"},
            "organic",
            "bing",
        ),
    ],
)
def test_visits_are_classified(
    landing: str | None, referrer: str | None, utm: dict[str, str], channel: str, source: str | None
) -> None:
    visit = classify_visit(landing, referrer, utm)
    assert (visit.channel, visit.source) == (channel, source)


@pytest.mark.parametrize("address", ["http://[", "http://[::1/x?utm_source=a", "//[x]y"])
def test_address_that_is_none_says_nothing(address: str) -> None:
    visit = classify_visit(address, address, {})
    assert (visit.channel, visit.source, visit.click_id) == ("direct", None, None)
