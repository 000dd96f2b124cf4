"""Answers of the sandbox's Fairing: pulled page by page, each once, and matched with their orders, late ones too."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import analytics.surveys.tasks  # noqa: F401 - registers the task
from tests.integration.harness import House, local_settings
from tests.integration.sealing import ContextKeys
from tradewind.clock import FixedClock
from tradewind.errors import CredentialsRejectedError, InvalidPayloadError, RateLimitedError
from tradewind.integrations.fairing.client import wait_of
from tradewind.integrations.fairing.provider import FairingSurvey
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.worker import Dead, Done, End, TryAgain, Worker, to_plain
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session

BRIDGE = "analytics-attribution-fairing-bridge"
NOW = datetime(2026, 11, 27, 12, 15, tzinfo=UTC)


@dataclasses.dataclass
class Survey:
    """A tenant with orders and, once it is connected, a Fairing account."""

    house: House
    url: str
    valkey: str

    def __post_init__(self) -> None:
        self.vault = CredentialVault(ContextKeys())
        self.clock = FixedClock(NOW)
        self.key = f"fk_{self.house.tenant_id.hex}"
        self.settings = local_settings(
            self.house.urls, TRADEWIND_FAIRING_URL=f"{self.url}/fairing", TRADEWIND_REDIS_URL=self.valkey
        )
        self.process = dataclasses.replace(self.house.process, settings=self.settings, clock=self.clock)
        self.runs = 0

    def connect(self) -> None:
        session = Session(self.house.connections)
        with session.transaction(self.house.tenant_id) as tx:
            credentials = TenantCredentials(self.house.tenant_id, self.vault)
            credentials.put(tx, Label("fairing", "secret_key"), self.key)
        session.settle()
        session.close()

    def told(self, *responses: dict[str, Any], **about: Any) -> None:
        """What customers have answered."""
        account = f"{self.url}/_sandbox/fairing/accounts/{self.key}"
        httpx.put(account, json={"responses": [*responses], **about}).raise_for_status()

    def run(self, payload: dict[str, Any] | None = None, seconds: float = 120) -> End:
        self.runs += 1
        worker = Worker(REGISTRY.get(BRIDGE), self.process)
        worker._factories["survey"] = lambda scope: FairingSurvey(
            self.settings, scope.tenant, scope.session, self.vault, self.clock
        )
        message = self.house.message(
            REGISTRY.get(BRIDGE), payload or {}, cause=f"run-{self.runs}", accepted_at=self.clock.now()
        )
        return worker.work(message, self.clock.now() + timedelta(seconds=seconds))

    def result(self, payload: dict[str, Any] | None = None) -> dict[str, Any]:
        end = self.run(payload)
        assert isinstance(end, Done), end
        plain: dict[str, Any] = to_plain(end.result)
        return plain

    def order(self, order_id: int, number: str = "#1001", at: datetime = NOW - timedelta(hours=3)) -> None:
        self.house.write(
            "INSERT INTO orders (shopify_order_id, order_number, currency, gross_cents, discount_cents, net_cents,"
            " shipping_cents, tax_cents, total_cents, financial_status, status, placed_at, shopify_updated_at)"
            " VALUES (%s, %s, 'USD', 100, 0, 100, 0, 0, 100, 'paid', 'open', %s, %s)",
            order_id,
            number,
            at,
            at,
        )

    def rows(self, columns: str = "answer_id, answer, shopify_order_id") -> list[tuple[Any, ...]]:
        found = self.house.query(f"SELECT {columns} FROM survey_answers ORDER BY answer_id")
        return [tuple(row.values()) for row in found]


@pytest.fixture
def strange(house: House, sandbox_url: str, own_valkey: str) -> Survey:
    return Survey(house, sandbox_url, own_valkey)


@pytest.fixture
def survey(strange: Survey) -> Survey:
    strange.connect()
    return strange


def response(number: int, answer: str = "Podcast", **about: Any) -> dict[str, Any]:
    """An answer of two hours ago."""
    return {
        "id": f"r{number}",
        "inserted_at": (NOW - timedelta(hours=2)).isoformat(),
        "question_id": "q1",
        "question": "How did you hear about us?",
        "response": answer,
        "original_response": None,
        "other": None,
        "customer_id": "77",
        "order_id": str(5000 + number),
        "order_number": f"{1000 + number}",
        "email": "ann@example.com",
        **about,
    }


def test_answers_are_pulled_page_by_page_and_matched(survey: Survey) -> None:
    """Five answers are three pages; the account allows a call a second, and we wait for it."""
    survey.told(*(response(number) for number in range(1, 6)), spacing_s=1)
    for number in range(1, 6):
        survey.order(5000 + number, f"#{1000 + number}")
    assert survey.result() == {"connected": True, "told": 5, "changed": 5, "matched": 5}
    assert survey.rows() == [(f"r{number}", "Podcast", 5000 + number) for number in range(1, 6)]
    assert survey.rows("question, other, shopify_customer_id, original")[0] == (
        "How did you hear about us?", None, 77, None,
    )  # fmt: skip


def test_answers_are_written_once_and_edits_replace_them(survey: Survey) -> None:
    survey.told(response(1, "TikTok"), response(2, "Other", other="my sister"))
    survey.order(5001)
    survey.result()
    assert survey.result() == {"connected": True, "told": 2, "changed": 0, "matched": 0}
    survey.told(response(1, "Instagram", original_response="TikTok"), response(2, "Other", other="my sister"))
    assert survey.result()["changed"] == 1
    assert survey.rows("answer, original, other, shopify_order_id") == [
        ("Instagram", "TikTok", None, 5001),
        ("Other", None, "my sister", None),
    ]


def test_order_that_comes_late_is_matched_later_and_by_its_name_where_the_id_is_missing(
    survey: Survey,
) -> None:
    survey.told(
        response(1),
        response(2, order_id=None, order_number="1002"),
        response(3, order_id=None, order_number="1003"),
        response(4, order_id="gid://other/9", order_number=None),
    )
    assert survey.result() == {"connected": True, "told": 4, "changed": 4, "matched": 0}
    survey.order(5001, "#4711")
    survey.order(9002, "#1002")
    survey.order(9003, "#1003", NOW - timedelta(days=9))
    survey.told()
    survey.clock.advance(timedelta(days=20))
    assert survey.result() == {"connected": True, "told": 0, "changed": 0, "matched": 2}
    assert survey.rows("answer_id, shopify_order_id") == [
        ("r1", 5001), ("r2", 9002), ("r3", None), ("r4", None),
    ]  # fmt: skip


def test_only_the_last_day_and_its_overlap_are_asked_for(survey: Survey) -> None:
    """Fairing's own times name no zone."""
    old = (NOW - timedelta(hours=31)).replace(tzinfo=None).isoformat()
    young = (NOW - timedelta(hours=29)).replace(tzinfo=None).isoformat()
    survey.told(response(1, inserted_at=old), response(2, inserted_at=young))
    assert survey.result()["told"] == 1
    assert survey.rows("answer_id, answered_at") == [("r2", NOW - timedelta(hours=29))]
    assert survey.result({"days": 3})["told"] == 2


def test_tenant_without_a_key_asks_nobody_and_is_asked_no_more(strange: Survey) -> None:
    assert strange.result() == {"connected": False, "told": 0, "changed": 0, "matched": 0}
    assert strange.house.query("SELECT schedule FROM schedule_due") == []


def test_key_makes_its_tenant_due_and_each_run_the_next(survey: Survey) -> None:
    due = "SELECT schedule, due_at FROM schedule_due"
    [row] = survey.house.query(due)
    assert row["schedule"] == f"{BRIDGE}-scheduled"
    assert row["due_at"] <= datetime.now(UTC)
    survey.house.write("DELETE FROM schedule_due")
    survey.told()
    survey.result()
    assert survey.house.query(due) == [
        {"schedule": f"{BRIDGE}-scheduled", "due_at": NOW + timedelta(minutes=30)}
    ]


def test_page_is_kept_where_time_ends_and_the_rest_follows(survey: Survey) -> None:
    survey.told(*(response(number) for number in range(1, 4)))
    end = survey.run(seconds=5)
    assert isinstance(end, Done)
    assert end.result is None
    assert [row[0] for row in survey.rows()] == ["r1", "r2"]
    assert survey.house.query("SELECT task FROM outbox") == [{"task": BRIDGE}]


@pytest.mark.parametrize(
    ("kind", "error"), [("429", RateLimitedError), ("500", Exception), ("reset", Exception)]
)
def test_passing_faults_are_waited_out(survey: Survey, kind: str, error: type[Exception]) -> None:
    survey.told(response(1))
    plan = {"provider": "fairing", "rate": 1.0, "kinds": [kind], "shop": survey.key, "remaining": 1}
    httpx.post(f"{survey.url}/_sandbox/faults", json=plan).raise_for_status()
    end = survey.run()
    assert isinstance(end, TryAgain)
    assert isinstance(end.error, error)
    assert survey.result()["told"] == 1


def test_refused_key_is_a_dead_letter(survey: Survey) -> None:
    survey.told(ended=True)
    end = survey.run()
    assert isinstance(end, Dead)
    assert isinstance(end.error, CredentialsRejectedError)


def test_names_of_the_query_can_be_set(survey: Survey) -> None:
    survey.told(response(1))
    import psycopg  # noqa: PLC0415 - as the platform role
    from psycopg.types.json import Jsonb  # noqa: PLC0415 - the same

    with psycopg.connect(survey.house.urls.platform) as connection:
        connection.execute(
            "UPDATE tenants SET settings = %s WHERE tenant_id = %s",
            (Jsonb({"fairing": {"parameters": {"since": "from"}}}), survey.house.tenant_id),
        )
    end = survey.run()
    assert isinstance(end, Dead)
    assert "fairing.parameters" in str(end.error)


@pytest.mark.parametrize(
    ("changes", "field"),
    [({"id": None}, "response.id"), ({"inserted_at": "yesterday"}, "response.inserted_at")],
)
def test_answer_that_cannot_be_read_is_refused_by_its_field(
    survey: Survey, changes: dict[str, Any], field: str
) -> None:
    from tradewind.integrations.fairing.client import _answer  # noqa: PLC0415 - what the sandbox never sends

    with pytest.raises(InvalidPayloadError, match=field):
        _answer({**response(1), **changes})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("7", 7), ("99999", 3600), ("", 30), ("soon", 30), ("Fri, 27 Nov 2026 12:16:00 GMT", 60)],
)
def test_retry_after_is_read_in_both_forms(text: str, seconds: int) -> None:
    assert wait_of(text, NOW) == timedelta(seconds=seconds)


@pytest.mark.parametrize("payload", [{"days": 0}, {"days": 93}, {"days": "x"}, {"hours": 1}])
def test_bad_input_is_refused(survey: Survey, payload: dict[str, Any]) -> None:
    end = survey.run(payload)
    assert isinstance(end, Dead)
    assert isinstance(end.error, InvalidPayloadError)
    assert next(iter(payload)) in str(end.error)
