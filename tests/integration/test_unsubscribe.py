"""The unsubscribe door: a person asks once, a mail program posts, and nobody else's link opens it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from infra.local import ValkeyServer
from infra.local.postgres import DatabaseUrls
from ingress.unsubscribe import UnsubscribeDoor
from tests.fakes import NOON
from tests.integration.mailroom import BASE, MailRoom
from tradewind.clock import FixedClock
from tradewind.tenancy.links import LinkSubject, make_token


@pytest.fixture
def room(database: DatabaseUrls, valkey: ValkeyServer) -> Iterator[MailRoom]:
    made = MailRoom(database, valkey.url, "http://127.0.0.1:9", FixedClock(NOON))
    yield made
    made.close()


class Visitor:
    def __init__(self, room: MailRoom) -> None:
        self.room = room
        self.door = UnsubscribeDoor(room.connections, room.vault)
        self.acme = room.add_tenant("acme")
        room.queue(self.acme, [7], email="Ann@Example.com")
        self.token = room.signer(self.acme)(7, 1).removeprefix(f"{BASE}/unsubscribe/")

    def visit(self, method: str, token: str | None = None) -> tuple[int, str]:
        event: dict[str, Any] = {
            "pathParameters": {"token": self.token if token is None else token},
            "requestContext": {"http": {"method": method}},
        }
        answer = self.door.answer(event)
        return answer["statusCode"], answer["body"]

    def suppressed(self) -> list[tuple[str, str]]:
        rows = self.room.query("SELECT email, reason FROM email_suppressions")
        return [(row["email"], row["reason"]) for row in rows]


@pytest.fixture
def visitor(room: MailRoom) -> Visitor:
    return Visitor(room)


def test_looking_changes_nothing_and_offers_a_button(visitor: Visitor) -> None:
    status, page = visitor.visit("GET")
    assert (status, visitor.suppressed()) == (200, [])
    assert '<form method="post">' in page
    assert "Acme" in page


def test_one_post_unsubscribes_and_a_second_changes_nothing(visitor: Visitor) -> None:
    assert visitor.visit("POST")[0] == 200
    assert visitor.visit("POST")[0] == 200
    assert visitor.suppressed() == [("ann@example.com", "unsubscribe")]


def test_link_of_an_e_mail_that_was_forgotten_still_answers(visitor: Visitor) -> None:
    visitor.room.write(visitor.acme, "DELETE FROM review_email_queue")
    assert visitor.visit("POST")[0] == 200
    assert visitor.suppressed() == []


def test_link_of_another_tenants_key_or_another_order_is_refused(visitor: Visitor) -> None:
    bolt = visitor.room.add_tenant("bolt")
    theirs = visitor.room.signer(bolt)(7, 1).rsplit("/", 1)[1]
    forged = visitor.token.split("-")
    wrong = [
        "-".join([visitor.acme.hex, "7", "1", theirs.split("-", 3)[3]]),
        "-".join([forged[0], "8", *forged[2:]]),
        "-".join([forged[0], "7", "2", *forged[3:]]),
        f"{bolt.hex}-7-1-AAAA",
        make_token(LinkSubject(visitor.acme, 7, 1), "a2V5"),
    ]
    for token in wrong:
        for method in ("GET", "POST"):
            assert visitor.visit(method, token)[0] == 404
    assert visitor.suppressed() == []


@pytest.mark.parametrize(
    "token",
    [
        "",
        "-",
        "x",
        "a-b-c-d",
        "00000000000000000000000000000000-1-1-x",
        "00000000000000000000000000000001-9223372036854775808-1-x",
        "00000000000000000000000000000001-1-4294967296-x",
        "00000000000000000000000000000001-\u0661-1-x",
        "00000000000000000000000000000001-1-1-\u00e9",
        "0" * 5000,
        "<script>-1-1-x",
    ],
)
def test_what_is_no_token_is_refused_and_not_repeated(visitor: Visitor, token: str) -> None:
    status, page = visitor.visit("POST", token)
    assert status == 404
    assert "<script>" not in page
    assert visitor.suppressed() == []


def test_stores_name_is_escaped(visitor: Visitor) -> None:
    with_markup = "<b>Acme</b>"
    visitor.room.write(visitor.acme, "UPDATE tenants SET name = %s", with_markup)
    assert with_markup not in visitor.visit("GET")[1]
