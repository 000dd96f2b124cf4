"""Messages to a tenant's Slack channel, at the sandbox: each once, whoever dies when."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

import commerce.ab_testing.summary_tasks as summaries
from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from tests.integration.harness import House, local_settings
from tests.integration.sealing import ContextKeys
from tests.integration.storefront import Storefront, decisions
from tests.integration.test_ab_optimization import fill
from tests.integration.test_sandbox import running
from tradewind import crash
from tradewind.crash import Point
from tradewind.errors import (
    CredentialsRejectedError,
    MisconfiguredError,
    ProviderUnavailableError,
    RepeatRefusedError,
    TradewindError,
)
from tradewind.integrations.slack.provider import SlackMessenger
from tradewind.ports import Note, Picture, Posted
from tradewind.ratelimit import connect, connected
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
NOTE = Note("A/B tests: 1 running", ("*Hero* <b> & more",))
CHANNEL = "C0000001"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as (address, _):
        yield address


class Workspace:
    """The tenant's messenger, and the sandbox's side of it."""

    def __init__(self, house: House, url: str, valkey: str) -> None:
        self.house, self.url = house, url
        self.name = f"acme-{house.tenant_id.hex[:8]}"
        self.settings = local_settings(
            house.urls, TRADEWIND_SLACK_URL=f"{url}/slack", TRADEWIND_REDIS_URL=valkey
        )
        self.vault = CredentialVault(ContextKeys())
        self.tenant = Tenant(house.tenant_id, "acme", "Acme", "active", "UTC", "USD")

    def connect(self) -> None:
        session = Session(self.house.connections)
        credentials = TenantCredentials(self.house.tenant_id, self.vault)
        with session.transaction(self.house.tenant_id) as transaction:
            credentials.put(transaction, Label("slack", "bot_token"), f"xoxb-{self.name}")
            credentials.put(transaction, Label("slack", "channel"), CHANNEL)
        session.settle()
        session.close()

    def post(self, key: str, note: Note = NOTE) -> Posted:
        session = Session(self.house.connections)
        try:
            return SlackMessenger(self.settings, self.tenant, session, self.vault).post(key, note)
        finally:
            session.close()

    def refuse(self, **errors: str) -> None:
        httpx.put(f"{self.url}/_sandbox/slack/workspaces/{self.name}/errors", json=errors).raise_for_status()

    def seen(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/_sandbox/slack/workspaces/{self.name}").json()
        return found

    def messages(self) -> list[dict[str, Any]]:
        return list(self.seen()["messages"].get(CHANNEL, []))

    def ledger(self) -> list[tuple[str, str]]:
        rows = self.house.query("SELECT key, state FROM sent_messages ORDER BY key")
        return [(row["key"], row["state"]) for row in rows]


@pytest.fixture
def slack(house: House, url: str, valkey: ValkeyServer) -> Workspace:
    connected.cache_clear()
    built = Workspace(house, url, valkey.url)
    built.connect()
    return built


def test_message_is_posted_once_per_key(slack: Workspace) -> None:
    assert slack.post("ab-daily:2026-11-25") is Posted.SENT
    assert slack.post("ab-daily:2026-11-25") is Posted.AGAIN
    [message] = slack.messages()
    assert message["text"] == NOTE.text
    assert [block["type"] for block in message["blocks"]] == ["header", "section"]
    assert slack.ledger() == [("ab-daily:2026-11-25", "sent")]


def test_picture_is_uploaded_and_shared_once(slack: Workspace) -> None:
    note = dataclasses.replace(NOTE, picture=Picture("ab.png", "What each variant is worth", PNG))
    assert slack.post("k", note) is Posted.SENT
    assert slack.post("k", note) is Posted.AGAIN
    [file] = slack.seen()["files"].values()
    assert file == {
        "name": "ab.png",
        "length": len(PNG),
        "title": "What each variant is worth",
        "channel": CHANNEL,
        "comment": "What each variant is worth",
        "is_png": True,
    }
    assert len(slack.messages()) == 1


def test_tenant_without_a_workspace_is_told_nothing(slack: Workspace) -> None:
    slack.house.write("DELETE FROM credentials")
    assert slack.post("k") is Posted.NOT_CONNECTED
    assert (slack.messages(), slack.ledger()) == ([], [])


class DiedError(Exception):
    pass


def test_who_dies_after_posting_is_followed_by_one_who_finds_the_message(slack: Workspace) -> None:
    def die(point: Point) -> None:
        if point is Point.PROVIDER_ANSWERED:
            raise DiedError

    remove = crash.install(die)
    try:
        with pytest.raises(DiedError):
            slack.post("k")
    finally:
        remove()
    assert slack.ledger() == [("k", "claimed")]
    assert slack.post("k") is Posted.SENT
    assert (len(slack.messages()), slack.ledger()) == (1, [("k", "sent")])


def test_lost_answer_is_found_and_not_posted_again(slack: Workspace) -> None:
    plan = {"provider": "slack", "rate": 1.0, "kinds": ["lost_answer"], "shop": slack.name, "remaining": 1}
    httpx.post(f"{slack.url}/_sandbox/faults", json=plan).raise_for_status()
    with pytest.raises(ProviderUnavailableError):
        slack.post("k")
    assert slack.post("k") is Posted.SENT
    assert len(slack.messages()) == 1


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ({CHANNEL: "is_archived"}, MisconfiguredError),
        ({"chat.postMessage": "token_revoked"}, CredentialsRejectedError),
        ({"chat.postMessage": "internal_error"}, ProviderUnavailableError),
    ],
)
def test_refusal_is_the_kernels_error_and_a_later_try_posts_once(
    slack: Workspace, errors: dict[str, str], kind: type[TradewindError]
) -> None:
    slack.refuse(**errors)
    with pytest.raises(kind):
        slack.post("k")
    slack.refuse()
    assert slack.post("k") is Posted.SENT
    assert len(slack.messages()) == 1


def test_bot_that_may_not_read_posts_again_where_it_cannot_know(slack: Workspace) -> None:
    slack.house.write("INSERT INTO sent_messages (provider, key, state) VALUES ('slack', 'k', 'claimed')")
    slack.refuse(**{"conversations.history": "missing_scope"})
    assert slack.post("k") is Posted.SENT
    assert len(slack.messages()) == 1


def test_messages_in_a_row_keep_to_the_channels_pace(slack: Workspace) -> None:
    """The sandbox refuses the fifth within four seconds; the window lets one a second pass."""
    for number in range(3):
        assert slack.post(f"k-{number}") is Posted.SENT
    assert len(slack.messages()) == 3


@pytest.fixture
def page(database: DatabaseUrls, house: House, valkey: ValkeyServer) -> Iterator[Storefront]:
    store = connect(valkey.url)
    built = Storefront(database, house, store)
    yield built
    built.close()
    store.close()


def test_morning_summary_tells_how_tests_stand_with_a_chart(page: Storefront) -> None:
    page.start("hero", metric="conversion_rate", name="Hero <image>")
    fill(page, "hero", control=(1000, [100] * 50), bold=(1000, [100] * 55))
    page.clock.at += timedelta(hours=1)
    page.run(decisions.schedule_tests)
    told = page.run(summaries.daily_metrics_summary)
    assert told == {"tests": ["hero"], "posted": "sent", "mailed": "nobody asked for it"}
    note = page.house.messenger.posted[f"ab-daily:{page.clock.at.date()}"]
    [section] = note.sections
    assert section.splitlines()[0] == "*Hero &lt;image&gt;* · 3 days · share of visitors with purchase"
    assert section.splitlines()[1].startswith("• As it is: 1,000 visitors, 50 converted · 5.09% · best with")
    assert section.splitlines()[2].startswith("• Bold: 1,000 visitors, 55 converted · 5.59% (+9.8%)")
    # Welch's t of 0.050 against 0.055 relative to 0.05, by hand: (0.005 / 0.05) / 0.2054 = 0.487.
    assert " · p = 0.63, whenever one looks between -" in section.splitlines()[2]
    assert " · p = " not in section.splitlines()[1]
    assert note.picture is not None
    assert note.picture.content.startswith(PNG[:8])
    assert page.run(summaries.daily_metrics_summary)["posted"] == "again"


def test_summary_goes_to_whom_the_settings_name_once_a_day(page: Storefront) -> None:
    people = ["ann@example.com", "ben@example.com", "ann@example.com"]
    with psycopg.connect(page.urls.platform) as connection:
        settings = json.dumps({"ab_testing": {"summary_emails": people}})
        connection.execute("UPDATE tenants SET settings = %s WHERE slug = 'acme'", (settings,))
    page.start("hero", metric="conversion_rate", name="Hero <image>")
    fill(page, "hero", control=(1000, [100] * 50), bold=(1000, [100] * 55))
    page.run(decisions.schedule_tests)
    assert page.run(summaries.daily_metrics_summary)["mailed"] == "sent to 2"
    [(key, emails)] = page.house.email.calls
    assert key == f"{page.house.tenant_id}:ab-daily:{page.clock.at.date()}:0"
    assert [email.to for email in emails] == ["ann@example.com", "ben@example.com"]
    assert emails[0].subject == "Acme: A/B tests: 1 running"
    assert "Hero &lt;image&gt;" in emails[0].html
    assert "- Bold: 1,000 visitors, 55 converted" in emails[0].text
    page.house.email.failures.append(RepeatRefusedError("the key was used with another content"))
    assert page.run(summaries.daily_metrics_summary)["mailed"] == "sent to 2"
    assert [key for key, _ in page.house.email.calls] == [key, key]
    page.house.email.failures.append(MisconfiguredError("resend: the domain is not verified"))
    refused = page.run(summaries.daily_metrics_summary)
    assert refused["mailed"] == "refused: resend: the domain is not verified"


def test_summary_of_optimization_tells_weights_lift_and_advice(page: Storefront) -> None:
    import commerce.ab_testing.optimization_tasks as optimizing  # noqa: PLC0415 - after the layer's other tasks

    page.start("hero", mode="mab", metric="conversion_rate")
    page.start("by-hand")
    fill(page, "hero", control=(1000, [100] * 10), bold=(1000, [100] * 40))
    page.run(optimizing.optimization)
    assert page.run(summaries.optimization_summary)["posted"] == "sent"
    note = page.house.messenger.posted[f"ab-optimization:{datetime.now(UTC).date()}"]
    lines = note.sections[0].splitlines()
    assert lines[1:3] == [
        "• Bold: 50 % → 90.5 % in 1 changes",
        "• As it is: 50 % → 9.5 % in 1 changes",
    ]
    # Worth 11/1002 and 41/1002: (11 * 0.095 + 41 * 0.905) / 26 - 1.
    assert lines[3].startswith(
        "_Estimated lift over equal weights: +46.7%. Likely the best: Bold (100%, 4.09%)."
    )
    assert lines[4].startswith("_Converged")
    assert note.picture is not None


def test_nothing_is_posted_where_nothing_runs(page: Storefront) -> None:
    assert page.run(summaries.daily_metrics_summary)["posted"] == "nothing runs"
    assert page.run(summaries.optimization_summary)["posted"] == "nothing is optimized"
    assert page.house.messenger.posted == {}


def test_life_of_a_test_is_told_and_a_refusal_does_not_hold_it_up(page: Storefront) -> None:
    page.start("hero")
    assert set(page.house.messenger.posted) == {"ab-created:hero", "ab-started:hero"}

    class Refusing:
        def post(self, key: str, note: Note) -> Posted:
            raise MisconfiguredError("slack: is_archived")

    page.house.messenger = Refusing()  # type: ignore[assignment]
    ended = page.run(decisions.handle_test_ended, {"test_id": "hero"})
    assert (ended["status"], ended["told"]) == ("completed", "refused: slack: is_archived")
