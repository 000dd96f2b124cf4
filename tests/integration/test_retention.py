"""Every store of payloads ends within 30 days, and none is forgotten."""

from __future__ import annotations

import json
from datetime import timedelta

import psycopg
import pytest

from infra.local.postgres import DatabaseUrls
from infra.settings import stage_settings
from ingress.relay import Relay
from tests.integration.headquarters import Headquarters, a_manifest
from tradewind import retention

WITH_THEIR_PARENT = {"task_attempt": "task_run"}
"""Rows that are deleted with another table's."""


def test_every_table_with_documents_is_purged(database: DatabaseUrls) -> None:
    with psycopg.connect(database.reader) as reader:
        documents = {
            row[0]
            for row in reader.execute(
                "SELECT table_name FROM personal_data WHERE holds IN ('document', 'text')"
            ).fetchall()
        }
        cascades = {
            tuple(row)
            for row in reader.execute(
                "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint"
                " WHERE contype = 'f' AND confdeltype = 'c'"
            ).fetchall()
        }
    assert documents
    assert documents - set(retention.TABLES) == set(WITH_THEIR_PARENT)
    assert set(WITH_THEIR_PARENT.items()) <= cascades


def test_news_of_an_e_mail_end_by_age_and_what_they_counted_stays(hq: Headquarters) -> None:
    hq.house.write(
        "INSERT INTO orders (shopify_order_id, order_number, currency, gross_cents, discount_cents, net_cents,"
        " shipping_cents, tax_cents, total_cents, financial_status, status, placed_at, shopify_updated_at)"
        " VALUES (1, '#1', 'USD', 100, 0, 100, 0, 0, 100, 'paid', 'open', now(), now())"
    )
    hq.house.write(
        "INSERT INTO review_email_queue (shopify_order_id, sequence, state, trigger, opens)"
        " VALUES (1, 1, 'sent', 'delivered', 2)"
    )
    hq.house.write(
        "INSERT INTO review_email_events (event_id, shopify_order_id, sequence, kind, occurred_at, kept_at)"
        " SELECT 'msg_' || days, 1, 1, 'opened', now(), now() - days * interval '1 day' FROM unnest(ARRAY[29, 31]) days"
    )
    with hq.platform.session() as session:
        assert Relay(hq.platform, a_manifest(), session).purge() == 1
    assert hq.house.query("SELECT event_id FROM review_email_events") == [{"event_id": "msg_29"}]
    assert hq.house.query("SELECT opens FROM review_email_queue") == [{"opens": 2}]


def test_nothing_is_kept_longer_than_a_request_may_take() -> None:
    month = timedelta(days=30)
    assert max(retention.LONGEST, retention.PAYLOADS, retention.QUEUES) <= month
    for stage in ("dev", "prod"):
        assert timedelta(days=stage_settings(stage, {}).log_retention_days) <= month


@pytest.mark.parametrize(
    ("days", "state", "counted"), [(6, "open", 1), (8, "open", 0), (6, "done", 0), (-1, "open", 1)]
)
def test_request_that_nears_its_end_is_counted_each_minute(
    hq: Headquarters, days: int, state: str, counted: int, capsys: pytest.CaptureFixture[str]
) -> None:
    hq.house.write(
        "INSERT INTO privacy_requests (cause, kind, state, requested_at, due_at)"
        " VALUES ('c', 'customers/redact', %s, now(), now() + %s * interval '1 day')",
        state,
        days,
    )
    with hq.platform.session() as session:
        assert Relay(hq.platform, a_manifest(), session).count_nearly_due() == counted
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["PrivacyRequestsDue"] for line in lines if "PrivacyRequestsDue" in line] == [1] * counted
