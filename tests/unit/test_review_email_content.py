"""What a review e-mail says: everything is escaped, one can always leave, and the same in gives the same out."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from commerce.review_email.content import Stationery, compose
from commerce.review_email.model import Candidate, Incentive, Item, ReviewEmailSettings, Template
from infra.local.email_preview import _candidate, write

OFFER = Incentive("THANKS-7KQ2M9XD", 15, 20, datetime(2026, 12, 31, tzinfo=UTC))
URL = "https://tradewind.example.com/unsubscribe/t-1001-1-s"
EACH = [(template, offer) for template in Template for offer in (None, OFFER)]


def stationery(**settings: Any) -> Stationery:
    return Stationery(
        UUID(int=5), "Acme <r@acme.com>", "Acme", "acme.myshopify.com", ReviewEmailSettings(**settings), link
    )


def link(order_id: int, sequence: int) -> str:
    return f"https://tradewind.example.com/unsubscribe/t-{order_id}-{sequence}-s"


@pytest.fixture
def candidate() -> Candidate:
    return _candidate()


@pytest.mark.parametrize(("template", "offer"), EACH)
def test_every_kind_names_store_order_and_a_way_out(
    candidate: Candidate, template: Template, offer: Incentive | None
) -> None:
    email = compose(candidate, template, offer, stationery())
    for text in (email.html, email.text):
        assert URL in text
        assert "https://acme.myshopify.com/pages/review?order=1001" in text
        assert "#1001" in text
        assert "Acme" in text
        assert ("THANKS-7KQ2M9XD" in text) is (offer is not None)
        assert ("December 31, 2026" in text) is (offer is not None)
    assert email.headers == {
        "List-Unsubscribe": f"<{URL}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    assert email.tags == {"tenant": str(UUID(int=5)), "order": "1001", "sequence": "1"}
    assert compose(candidate, template, offer, stationery()) == email


@pytest.mark.parametrize(("template", "offer"), EACH)
def test_whatever_stands_in_a_value_is_text(
    candidate: Candidate, template: Template, offer: Incentive | None
) -> None:
    nasty = '<script>alert("x")</script>'
    about = replace(candidate, first_name=nasty, order_number=nasty, items=(Item(nasty, 1),))
    own = replace(
        stationery(postal_address=nasty, color='red;"><script>', review_url='javascript:"><script>'),
        store=nasty,
    )
    email = compose(about, template, offer, own)
    assert "<script" not in email.html
    assert email.subject == email.subject.strip()


def test_subject_is_one_line_however_the_store_is_named(candidate: Candidate) -> None:
    own = replace(stationery(), store="Acme\r\nBcc: x@y.z " + "long " * 100)
    subject = compose(candidate, Template.REQUEST, None, own).subject
    assert "\n" not in subject
    assert "\r" not in subject
    assert len(subject) <= 150


def test_offer_says_that_the_rating_does_not_matter(candidate: Candidate) -> None:
    email = compose(candidate, Template.REMINDER_1, OFFER, stationery())
    assert "Good or bad, your words do not change what you get." in email.html
    assert email.subject.endswith("(15% off inside)")


def test_html_is_closed_and_without_anything_from_elsewhere(candidate: Candidate) -> None:
    html = compose(candidate, Template.REQUEST, OFFER, stationery()).html
    for tag in ("table", "tr", "td", "a", "div", "h1", "span", "p"):
        assert len(re.findall(rf"<{tag}[\s>]", html)) == html.count(f"</{tag}>"), tag
    assert re.findall(r'src="', html) == []
    assert "{{" not in html


def test_preview_shows_every_kind_with_and_without_an_incentive(tmp_path: Path) -> None:
    names = write(tmp_path)
    assert len(names) == 2 * len(Template)
    assert {path.name for path in tmp_path.iterdir()} == {
        "index.html",
        *(f"{name}.{end}" for name in names for end in ("html", "txt")),
    }
