"""Reports as a tenant's people get them, on a real Postgres, with an account that keeps what it is told to send."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics.metrics.tasks import weekly_metrics_summary
from analytics.reports.model import money, share_text, waterfall
from analytics.reports.tasks import send_pl_report, send_weekly_report
from commerce.order_sync.tasks import sync_order
from infra.local.report_preview import write
from tests.fakes import an_order
from tests.integration.harness import House
from tradewind.errors import CredentialsRejectedError, ProviderUnavailableError, RepeatRefusedError
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Done, TryAgain, to_plain

MONDAY = date(2026, 10, 12)
NOON = datetime(2026, 10, 14, 12, tzinfo=UTC)
PEOPLE = {"reports": {"recipients": ["ann@acme.example", "bob@acme.example"], "sender_name": "Acme & Sons"}}
PNG = b"\x89PNG"


@pytest.fixture
def shop(house: House) -> House:
    """An order in the week, one in the week before; two people who get reports."""
    house.write("UPDATE tenants SET settings = %s::jsonb", json.dumps(PEOPLE))
    for number, at in ((1001, NOON), (1002, NOON - timedelta(days=7))):
        order = an_order(number, placed_at=at, updated_at=at, visit=None)
        house.shopify.put(order)
        assert isinstance(house.run(sync_order, {"order_id": number}), Done)
    return house


def told(end: Any) -> dict[str, Any]:
    assert isinstance(end, Done), end
    result: dict[str, Any] = to_plain(end.result)
    return result


def send_week(house: House, **about: Any) -> Any:
    return house.run(send_weekly_report, {"week_on": MONDAY.isoformat()}, source=Source.TASK, **about)


def send_statement(house: House) -> Any:
    days = {"start": "2026-10-12", "end": "2026-10-18"}
    return house.run(send_pl_report, days, source=Source.MANUAL)


def test_week_is_told_to_each_recipient_with_its_chart_and_posted_once(shop: House) -> None:
    end = told(send_week(shop))
    assert end["posted"] == "sent"
    emails = [email for _, sent in shop.email.calls for email in sent]
    assert [email.to for email in emails] == ["ann@acme.example", "bob@acme.example"]
    assert {email.sender for email in emails} == {"Acme & Sons <reviews@example.com>"}
    [email, _] = emails
    assert email.subject == "Acme & Sons: 90.00 USD in the week of 12 October"
    assert email.pictures[0].content.startswith(PNG)
    assert f"cid:{email.pictures[0].name}" in email.html
    assert "Best day: Wednesday, 90.00 USD from 1 order." in email.text
    assert "Acme &amp; Sons" in email.html
    assert len(shop.messenger.posted) == 1
    assert len(shop.query("SELECT * FROM analytics_metrics WHERE period = 'day'")) == 14
    assert told(send_week(shop, cause="again"))["posted"] == "again"


def test_weekly_summary_starts_the_report(shop: House) -> None:
    told(shop.run(weekly_metrics_summary, {"week_on": MONDAY.isoformat()}, source=Source.MANUAL))
    [row] = shop.query("SELECT * FROM outbox WHERE task = 'analytics-send-weekly-report'")
    assert row["payload"] == {"week_on": "2026-10-12"}


def test_statement_is_told_line_by_line(shop: House) -> None:
    told(send_statement(shop))
    email = shop.email.calls[0][1][0]
    assert email.subject == "Acme & Sons: 83.99 USD profit, 12 October to 18 October 2026"
    rows = [line.split() for line in email.text.splitlines()]
    assert ["Net", "revenue", "90.00", "USD", "100.0", "%", "+0", "%"] in rows
    assert ["Payment", "processing", "3.26", "USD", "3.6", "%"] in rows
    assert ["Pick", "and", "pack", "2.00", "USD"] in rows


def test_refused_address_does_not_keep_the_other_from_being_told(shop: House) -> None:
    shop.email.refused = {"ann@acme.example": "Invalid `to` field."}
    first, second = told(send_statement(shop))["emails"]
    assert first == "refused: Invalid `to` field."
    assert not second.startswith("refused")


def test_account_without_credentials_is_told_and_the_messenger_is_posted_to(shop: House) -> None:
    shop.email.failures = [CredentialsRejectedError("no"), CredentialsRejectedError("no")]
    end = told(send_statement(shop))
    assert (end["posted"], end["emails"]) == ("sent", ["refused: no", "refused: no"])


def test_lost_answer_is_asked_again_under_the_same_key(shop: House) -> None:
    shop.email.failures = [ProviderUnavailableError("resend", "timeout", outcome_unknown=True)]
    days = {"start": "2026-10-12", "end": "2026-10-18"}
    message = shop.message(send_pl_report, days, source=Source.MANUAL)
    worker = shop.worker(send_pl_report)
    assert isinstance(worker.work(message, shop.deadline()), TryAgain)
    shop.write("UPDATE task_run SET next_attempt_at = now() - interval '1 second'")
    shop.email.failures = [RepeatRefusedError("resend: the key is known")]
    assert told(worker.work(message, shop.deadline()))["emails"][0] == "again"
    keys = [key for key, _ in shop.email.calls]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 2


def test_tenant_without_recipients_gets_no_email(shop: House) -> None:
    shop.write("UPDATE tenants SET settings = '{}'")
    assert told(send_statement(shop))["emails"] == []
    assert shop.email.calls == []


def test_waterfall_hangs_each_group_where_the_one_before_has_ended() -> None:
    totals = {
        "net_revenue": 1_000,
        "gross_profit": 600,
        "contribution_margin": 450,
        "contribution_profit": -50,
        "operating_income": -50,
        "net_profit": -20,
    }
    assert [(step.label, step.base, step.cents) for step in waterfall(totals)] == [
        ("Net revenue", 0, 1_000),
        ("Goods", 1_000, -400),
        ("Variable", 600, -150),
        ("Marketing", 450, -500),
        ("Other", -50, 30),
        ("Net profit", 0, -20),
    ]


@pytest.mark.parametrize(
    ("cents", "currency", "text"),
    [(123_456, "USD", "1,234.56 USD"), (-5, "USD", "\N{MINUS SIGN}0.05 USD"), (1_200, "JPY", "1,200 JPY")],
)
def test_money_is_told_in_its_currency(cents: int, currency: str, text: str) -> None:
    assert money(cents, currency) == text


@pytest.mark.parametrize(("points", "text"), [(1_234, "12.3 %"), (-55, "\N{MINUS SIGN}0.6 %"), (None, "")])
def test_shares_have_one_decimal(points: int | None, text: str) -> None:
    assert share_text(points) == text


def test_preview_renders_every_report(tmp_path: Path) -> None:
    assert write(tmp_path) == ["week", "profit", "loss"]
    assert (tmp_path / "loss-profit.png").read_bytes().startswith(PNG)
    assert "cid:" not in (tmp_path / "week.html").read_text()
    assert "loss" in (tmp_path / "loss.html").read_text()
