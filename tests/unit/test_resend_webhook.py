"""Svix signatures as Resend uses them, against published vectors of the scheme and every bad input that we know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tradewind.errors import InvalidPayloadError, MisconfiguredError
from tradewind.integrations.resend.webhook import OTHER, read_event, sign, tags_of, verify

# The example of the Standard Webhooks libraries' own test suites.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, SENT_AT = "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'
PUBLISHED = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"svix-id": ID, "svix-timestamp": "1614265330", "svix-signature": PUBLISHED}


def test_published_signature_fits() -> None:
    assert verify(BODY, HEADERS, [SECRET], SENT_AT)
    assert sign(BODY, ID, SENT_AT, SECRET) == HEADERS


@pytest.mark.parametrize(
    ("changed", "fits"),
    [
        ({}, True),
        ({"svix-signature": f"v2,abc v1,AAAA {PUBLISHED}"}, True),
        ({"svix-signature": PUBLISHED.replace("v1,", "v2,")}, False),
        ({"svix-signature": PUBLISHED.replace("v1,", "v1a,")}, False),
        ({"svix-signature": PUBLISHED.removeprefix("v1,")}, False),
        ({"svix-signature": ""}, False),
        ({"svix-signature": "v1,"}, False),
        ({"svix-signature": PUBLISHED[:-4] + "AAA="}, False),
        ({"svix-signature": "v1,\udcff"}, False),
        ({"svix-id": "msg_other"}, False),
        ({"svix-id": ""}, False),
        ({"svix-timestamp": "1614265331"}, False),
        ({"svix-timestamp": ""}, False),
        ({"svix-timestamp": "soon"}, False),
        ({"svix-timestamp": "-1"}, False),
        ({"svix-timestamp": "999999999999"}, False),
    ],
)
def test_signature_covers_id_time_and_body_in_its_own_version(changed: dict[str, str], fits: bool) -> None:
    assert verify(BODY, {**HEADERS, **changed}, [SECRET], SENT_AT) is fits


def test_other_body_and_empty_body_do_not_fit() -> None:
    assert not verify(BODY + b" ", HEADERS, [SECRET], SENT_AT)
    assert not verify(b"", sign(b"", ID, SENT_AT, SECRET), [SECRET], SENT_AT)


@pytest.mark.parametrize("names", [str.title, str.upper, lambda name: name.replace("svix", "webhook")])
def test_headers_are_found_whatever_their_case_and_under_both_names(names: object) -> None:
    assert callable(names)
    assert verify(BODY, {names(name): text for name, text in HEADERS.items()}, [SECRET], SENT_AT)


@pytest.mark.parametrize(
    ("away", "fits"),
    [
        (timedelta(minutes=5), True),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=5, seconds=1), False),
        (timedelta(minutes=-5, seconds=-1), False),
    ],
)
def test_delivery_counts_for_five_minutes(away: timedelta, fits: bool) -> None:
    assert verify(BODY, HEADERS, [SECRET], SENT_AT + away) is fits


def test_any_of_several_secrets_may_have_signed_and_none_signs_nothing() -> None:
    assert verify(BODY, HEADERS, ["whsec_b3RoZXI=", SECRET], SENT_AT)
    assert verify(BODY, HEADERS, [SECRET.removeprefix("whsec_")], SENT_AT)
    assert not verify(BODY, HEADERS, ["whsec_b3RoZXI="], SENT_AT)
    assert not verify(BODY, HEADERS, [], SENT_AT)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_###"])
def test_secret_that_would_verify_nothing_is_told(secret: str) -> None:
    with pytest.raises(MisconfiguredError):
        verify(BODY, HEADERS, [secret], SENT_AT)


OURS = (
    b'{"type": "email.opened", "data": {"tags": {"tenant": "t", "order": "12", "sequence": "1", "x": "y"}}}'
)


def test_event_of_ours_has_its_type_as_topic() -> None:
    assert read_event(HEADERS, OURS).topic == "email.opened"
    assert read_event(HEADERS, OURS).sent_at == SENT_AT


@pytest.mark.parametrize(
    "body",
    [
        b'{"type": "email.opened", "data": {"tags": {}}}',
        b'{"type": "email.opened", "data": {}}',
        b'{"type": "email.opened"}',
        b'{"type": "email.opened", "data": [1]}',
        b'{"type": "email.opened", "data": {"tags": {"tenant": "t", "order": "0", "sequence": "1"}}}',
        b'{"type": "email.opened", "data": {"tags": {"tenant": "t", "order": 12, "sequence": "1"}}}',
        b'{"type": "email.opened", "data": {"tags": {"tenant": "t", "order": "12", "sequence": "one"}}}',
    ],
)
def test_event_of_another_e_mail_is_told_apart(body: bytes) -> None:
    assert read_event(HEADERS, body).topic == OTHER


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "body"),
        (b"{", "body"),
        (b"[]", "body"),
        (b"\xff", "body"),
        (b'{"type": 1}', "type"),
        (b"{}", "type"),
        (b'{"type": "no topic"}', "type"),
    ],
)
def test_unusable_body_is_told_by_its_field(body: bytes, field: str) -> None:
    with pytest.raises(InvalidPayloadError) as caught:
        read_event(HEADERS, body)
    assert caught.value.field == field


def test_tags_are_numbers_where_numbers_belong() -> None:
    assert tags_of({"data": {"tags": {"tenant": "t", "order": "1", "sequence": "02"}}}) == {
        "tenant": "t",
        "order": "1",
    }
