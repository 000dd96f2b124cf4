"""Spend of the tenant's own accounts, from reports that the sandbox plays in small pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

import analytics.ad_platforms.spend_tasks
import analytics.ad_platforms.view_tasks  # noqa: F401 - registers the tasks
from tests.integration.harness import House, local_settings
from tests.integration.sealing import ContextKeys
from tests.integration.test_sandbox import running
from tradewind.clock import FixedClock
from tradewind.integrations.ad_reports import TenantAdReports
from tradewind.integrations.transport import shared_transport
from tradewind.tasks.registry import REGISTRY
from tradewind.tasks.worker import Dead, Done, End, TryAgain, Worker, to_plain
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session

META, GOOGLE, TIKTOK = (
    "analytics-sync-meta-ads-spend",
    "analytics-sync-google-ads-spend",
    "analytics-sync-tiktok-spend-daily",
)
TUESDAY = datetime(2026, 11, 24, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as (address, _):
        yield address


@dataclasses.dataclass
class Desk:
    house: House
    url: str

    def __post_init__(self) -> None:
        self.vault = CredentialVault(ContextKeys())
        self.clock = FixedClock(TUESDAY)
        self.settings = local_settings(
            self.house.urls,
            TRADEWIND_META_URL=f"{self.url}/meta",
            TRADEWIND_TIKTOK_URL=f"{self.url}/tiktok",
            TRADEWIND_GOOGLE_ADS_URL=f"{self.url}/google_ads/v26",
            TRADEWIND_GOOGLE_OAUTH_URL=f"{self.url}/google_ads/token",
        )
        self.process = dataclasses.replace(self.house.process, settings=self.settings, clock=self.clock)
        self.number = 0
        self.account = str(self.house.tenant_id.int)[:12]

    def connect(self) -> None:
        secrets = {
            ("meta", "access_token"): "EAA-token",
            ("tiktok", "reporting_token"): "rt_token",
            ("google_ads", "client_id"): "client",
            ("google_ads", "client_secret"): "secret",
            ("google_ads", "refresh_token"): "1//token",
        }
        session = Session(self.house.connections)
        with session.transaction(self.house.tenant_id) as tx:
            for (provider, name), secret in secrets.items():
                TenantCredentials(self.house.tenant_id, self.vault).put(tx, Label(provider, name), secret)
        session.settle()
        session.close()

    def tell(self, place: str, account: str, days: dict[str, list[tuple[str, str]]], **about: Any) -> None:
        """Campaigns' spend by day at a platform."""
        rows = [
            {"date": day, "campaign_id": number, "name": f"Campaign {number}", "spend": spend, "clicks": 3,
             "impressions": 100, "conversions": 2, "value": "40.00"}
            for day, campaigns in days.items()
            for number, spend in campaigns
        ]  # fmt: skip
        httpx.put(f"{self.url}/_sandbox/{place}/{account}", json={"rows": rows, **about}).raise_for_status()

    def map(self, platform: str, account: str, currency: str = "USD", **about: Any) -> None:
        payload = {"platform": platform, "account_id": account, "currency": currency, **about}
        assert isinstance(self.run("analytics-map-ad-account", payload), Done)

    def run(self, task_id: str, payload: dict[str, Any] | None = None, cause: str = "") -> End:
        self.number += 1
        worker = Worker(REGISTRY.get(task_id), self.process)
        if "reports" in worker._factories:
            worker._factories["reports"] = lambda scope: TenantAdReports(
                self.settings, scope.tenant, scope.session, self.vault, self.clock
            )
        message = self.house.message(
            REGISTRY.get(task_id),
            payload or {},
            cause=cause or f"run-{self.number}",
            accepted_at=self.clock.now(),
        )
        return worker.work(message, self.clock.now() + timedelta(minutes=2))

    def synced(self, task_id: str, payload: dict[str, Any] | None = None) -> int:
        end = self.run(task_id, payload)
        assert isinstance(end, Done), end
        return int(to_plain(end.result)["rows"])

    def spend(
        self, columns: str = "spent_on::text, account_id, campaign_id, spend_cents, currency"
    ) -> list[tuple[Any, ...]]:
        rows = self.house.query(f"SELECT {columns} FROM ad_spend ORDER BY spent_on, account_id, campaign_id")
        return [tuple(row.values()) for row in rows]


@pytest.fixture
def desk(house: House, url: str) -> Iterator[Desk]:
    made = Desk(house, url)
    made.connect()
    yield made
    shared_transport(made.settings.provider_timeout).close()
    shared_transport.cache_clear()


DAYS = {
    "2026-11-20": [("1", "9.99")],
    "2026-11-21": [("1", "10.00"), ("2", "0.50")],
    "2026-11-22": [("1", "11.25")],
    "2026-11-23": [("1", "12.345")],
    "2026-11-24": [("1", "99.00")],
}
LAST_THREE = [
    ("2026-11-21", "1", 1000),
    ("2026-11-21", "2", 50),
    ("2026-11-22", "1", 1125),
    ("2026-11-23", "1", 1235),
]


@pytest.mark.parametrize(
    ("platform", "place", "task"),
    [
        ("meta", "meta/accounts", META),
        ("google_ads", "google_ads/customers", GOOGLE),
        ("tiktok", "tiktok/advertisers", TIKTOK),
    ],
)
def test_last_three_complete_days_are_taken_over_again(
    desk: Desk, platform: str, place: str, task: str
) -> None:
    desk.tell(place, desk.account, DAYS)
    desk.map(platform, desk.account)
    assert [desk.synced(task) for _ in range(2)] == [4, 4]
    assert desk.spend("spent_on::text, campaign_id, spend_cents") == LAST_THREE
    assert (
        desk.spend("clicks, impressions, conversions::int, conversion_value_cents") == [(3, 100, 2, 4000)] * 4
    )


def test_only_the_tenants_active_accounts_are_asked_each_in_its_currency(desk: Desk) -> None:
    for at, currency in enumerate(("USD", "JPY", "USD")):
        spend = {"2026-11-23": [("1", "1200")]}
        desk.tell("google_ads/customers", f"{desk.account}{at}", spend, currency=currency)
    desk.map("google_ads", f"{desk.account}0")
    desk.map("google_ads", f"{desk.account}1", "JPY", counts_for_pnl=False)
    desk.map("google_ads", f"{desk.account}2", active=False)
    assert desk.synced(GOOGLE) == 2
    assert desk.spend("account_id, spend_cents, currency, counts_for_pnl") == [
        (f"{desk.account}0", 120_000, "USD", True),
        (f"{desk.account}1", 1_200, "JPY", False),
    ]
    desk.map("google_ads", f"{desk.account}1", "JPY")
    assert desk.spend("counts_for_pnl") == [(True,), (True,)]


@pytest.mark.parametrize(
    ("micros", "cents"), [(4_999, 0), (5_000, 1), (123_449_999, 12_345), (123_450_000, 12_345)]
)
def test_millionths_become_cents_half_up(desk: Desk, micros: int, cents: int) -> None:
    row = {"date": "2026-11-23", "campaign_id": "1", "name": "C", "micros": micros}
    httpx.put(
        f"{desk.url}/_sandbox/google_ads/customers/{desk.account}", json={"rows": [row]}
    ).raise_for_status()
    desk.map("google_ads", desk.account)
    desk.synced(GOOGLE)
    assert desk.spend("spend_cents") == [(cents,)]


def test_campaign_that_is_reported_no_more_goes(desk: Desk) -> None:
    desk.map("tiktok", desk.account)
    desk.tell("tiktok/advertisers", desk.account, DAYS)
    desk.synced(TIKTOK)
    desk.tell("tiktok/advertisers", desk.account, {"2026-11-21": [("1", "8.00")]})
    desk.synced(TIKTOK)
    assert desk.spend("spent_on::text, campaign_id, spend_cents") == [("2026-11-21", "1", 800)]


def test_long_range_at_meta_is_a_report_that_is_waited_for(desk: Desk) -> None:
    desk.tell("meta/accounts", desk.account, DAYS)
    desk.map("meta", f"act_{desk.account}")
    payload = {"last_day": "2026-11-23", "days": 28}
    for _ in range(2):
        assert isinstance(desk.run(META, payload, "long"), Done)
        [row] = desk.house.query("SELECT state FROM task_run WHERE task = %s", META)
        assert (row["state"], desk.spend()) == ("retrying", [])
    end = desk.run(META, payload, "long")
    assert isinstance(end, Done)
    assert to_plain(end.result) == {"platform": "meta", "rows": 5}
    assert sum(cents for (cents,) in desk.spend("spend_cents")) == 999 + 1000 + 50 + 1125 + 1235


def test_too_much_data_is_asked_for_in_halves(desk: Desk) -> None:
    desk.tell("meta/accounts", desk.account, DAYS, most_days=2)
    desk.map("meta", desk.account)
    assert desk.synced(META, {"last_day": "2026-11-23", "days": 6}) == 5


def test_mondays_ask_for_four_weeks(desk: Desk) -> None:
    desk.clock.advance(-timedelta(days=1))
    desk.tell(
        "tiktok/advertisers", desk.account, {"2026-10-26": [("1", "1.00")], "2026-10-25": [("1", "2.00")]}
    )
    desk.map("tiktok", desk.account)
    assert desk.synced(TIKTOK) == 1
    assert desk.spend("spent_on::text") == [("2026-10-26",)]


def test_used_up_quota_of_google_waits_for_its_next_day(desk: Desk) -> None:
    desk.tell("google_ads/customers", desk.account, DAYS, error="RESOURCE_EXHAUSTED")
    desk.map("google_ads", desk.account)
    end = desk.run(GOOGLE)
    assert isinstance(end, TryAgain)
    assert type(end.error).__name__ == "QuotaExceededError"
    assert end.wait == timedelta(hours=3), "05:00 in UTC is 21:00 in California"


@pytest.mark.parametrize(
    ("error", "kind", "end"),
    [
        ("RESOURCE_TEMPORARILY_EXHAUSTED", "RateLimitedError", TryAgain),
        ("CUSTOMER_NOT_ENABLED", "MisconfiguredError", Dead),
    ],
)
def test_other_refusals_of_google(desk: Desk, error: str, kind: str, end: type[Any]) -> None:
    desk.tell("google_ads/customers", desk.account, DAYS, error=error)
    desk.map("google_ads", desk.account)
    ended = desk.run(GOOGLE)
    assert isinstance(ended, end)
    assert type(ended.error).__name__ == kind


def test_tenant_without_accounts_asks_nobody(desk: Desk) -> None:
    assert [desk.synced(task) for task in (META, GOOGLE, TIKTOK)] == [0, 0, 0]


VIEWS = "analytics-attribution-vta-sync"
PLACES = {"meta": "meta/accounts", "google_ads": "google_ads/customers", "tiktok": "tiktok/advertisers"}


def viewed(desk: Desk, platform: str, account: str, *rows: tuple[str, str, int, str]) -> None:
    """Campaigns that are credited with having been seen: day, campaign, conversions and their value."""
    told = [
        {"date": day, "campaign_id": number, "name": f"Campaign {number}", "spend": "1.00", "conversions": 9,
         "value": "99.00", "view_conversions": conversions, "view_value": value}
        for day, number, conversions, value in rows
    ]  # fmt: skip
    answer = httpx.put(f"{desk.url}/_sandbox/{PLACES[platform]}/{account}", json={"rows": told})
    answer.raise_for_status()


def stored_views(desk: Desk) -> list[tuple[Any, ...]]:
    rows = desk.house.query(
        "SELECT platform, viewed_on::text, campaign_id, conversions::int, conversion_value_cents"
        " FROM ad_view_conversions ORDER BY platform, viewed_on, campaign_id"
    )
    return [tuple(row.values()) for row in rows]


def test_views_of_seven_days_are_taken_over_from_all_platforms_once(desk: Desk) -> None:
    """The 16th lies before the seven days up to the 23rd. Google tells no value."""
    days = (("2026-11-16", "1", 5, "50.00"), ("2026-11-17", "1", 2, "30.25"), ("2026-11-23", "2", 1, "7.00"))
    for platform in PLACES:
        desk.map(platform, desk.account)
        viewed(desk, platform, desk.account, *days)
    expected = [
        ("google_ads", "2026-11-17", "1", 2, None),
        ("google_ads", "2026-11-23", "2", 1, None),
        ("meta", "2026-11-17", "1", 2, 3025),
        ("meta", "2026-11-23", "2", 1, 700),
        ("tiktok", "2026-11-17", "1", 2, 3025),
        ("tiktok", "2026-11-23", "2", 1, 700),
    ]
    for _ in range(2):
        assert desk.synced(VIEWS) == 6
        assert stored_views(desk) == expected
    viewed(desk, "meta", desk.account, ("2026-11-17", "1", 3, "31.00"))
    assert desk.synced(VIEWS) == 5
    assert [row for row in stored_views(desk) if row[0] == "meta"] == [("meta", "2026-11-17", "1", 3, 3100)]


def test_platform_that_refuses_or_is_not_connected_does_not_keep_the_others(desk: Desk) -> None:
    for platform in PLACES:
        desk.map(platform, desk.account)
        viewed(desk, platform, desk.account, ("2026-11-20", "1", 1, "1.00"))
    httpx.put(
        f"{desk.url}/_sandbox/google_ads/customers/{desk.account}", json={"error": "CUSTOMER_NOT_ENABLED"}
    )
    desk.house.write("DELETE FROM credentials WHERE provider = 'meta'")
    end = desk.run(VIEWS)
    assert isinstance(end, Done)
    result = to_plain(end.result)
    assert (result["rows"], result["not_connected"]) == (1, [f"meta/{desk.account}"])
    assert [each.split(":")[0] for each in result["refused"]] == [f"google_ads/{desk.account}"]
    assert [row[0] for row in stored_views(desk)] == ["tiktok"]


def test_account_makes_its_tenant_due_and_each_run_the_next_night(desk: Desk) -> None:
    due = "SELECT due_at FROM schedule_due WHERE schedule = 'analytics-attribution-vta-sync-scheduled'"
    assert desk.synced(VIEWS) == 0
    assert desk.house.query(due) == []
    desk.map("tiktok", desk.account)
    assert len(desk.house.query(due)) == 1
    desk.house.write("DELETE FROM schedule_due")
    viewed(desk, "tiktok", desk.account)
    desk.synced(VIEWS)
    assert desk.house.query(due) == [{"due_at": TUESDAY + timedelta(hours=12)}]


@pytest.mark.parametrize("payload", [{"days": 0}, {"days": 8}, {"last_day": "soon"}, {"hours": 1}])
def test_views_of_impossible_days_are_refused_by_name(desk: Desk, payload: dict[str, Any]) -> None:
    end = desk.run(VIEWS, payload)
    assert isinstance(end, Dead)
    assert next(iter(payload)) in str(end.error)


def test_tiktoks_purchases_are_counted_and_not_what_a_campaign_is_optimised_for(desk: Desk) -> None:
    row = {"date": "2026-11-23", "campaign_id": "1", "name": "One", "spend": "5.00", "goals": 40, "conversions": 2,
           "value": "88.50"}  # fmt: skip
    httpx.put(f"{desk.url}/_sandbox/tiktok/advertisers/{desk.account}", json={"rows": [row]})
    desk.map("tiktok", desk.account)
    assert desk.synced(TIKTOK) == 1
    assert desk.spend("conversions::int, conversion_value_cents") == [(2, 8850)]
