"""Documents that mention a customer, and those that only look like it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from operations.privacy.model import (
    Subject,
    is_mentioned,
    redact,
    redact_bytes,
    redact_content,
    redact_text,
)

ANN = Subject(
    customers=frozenset({501}),
    orders=frozenset({1001}),
    emails=frozenset({"ann+shop@example.com"}),
    phones=frozenset({"+15551234"}),
    visitors=frozenset({"visitor-1"}),
)


@pytest.mark.parametrize(
    "document",
    [
        {"id": 1001},
        {"order_id": 1001},
        {"order_ids": [7, 1001]},
        {"order_id": "1001"},
        {"customer": {"id": 501}},
        {"admin_graphql_api_id": "gid://shopify/Order/1001"},
        {"anything": "gid://shopify/Customer/501"},
        {"deep": [{"deeper": {"contact": "Ann+Shop@Example.com"}}]},
        {"text": "call +15551234 now"},
        ["visitor-1"],
        {"entity": "1001"},
    ],
)
def test_mention_is_seen(document: Any) -> None:
    assert is_mentioned(document, ANN)
    assert re.search(ANN.pattern(), json.dumps(document), re.IGNORECASE)


@pytest.mark.parametrize(
    "document",
    [
        {"id": 11001},
        {"total_cents": 1001, "quantity": 501},
        {"name": "#1001", "text": "1001"},
        {"id": "gid://shopify/Order/11001"},
        {"email": "joann+shop@example.org"},
        {"id": True, "order_id": None},
        {},
        [],
    ],
)
def test_what_only_looks_like_it_is_left_alone(document: Any) -> None:
    assert not is_mentioned(document, ANN)


def test_redaction_keeps_ids_money_and_times_and_drops_the_person() -> None:
    order = {
        "id": 1001,
        "email": "ann+shop@example.com",
        "total_price": "9.00",
        "created_at": "2026-11-20T12:00:00Z",
        "note": "ring twice",
        "note_attributes": [{"name": "visitor_id", "value": "visitor-1"}],
        "tags": "vip",
        "customer": {"id": 501},
        "billing_address": {"city": "Ulm"},
        "line_items": [{"id": 1, "title": "Mug for Ann+Shop@example.com", "price": "9.00"}],
    }
    assert redact(order, ANN) == {
        "id": 1001,
        "email": None,
        "total_price": "9.00",
        "created_at": "2026-11-20T12:00:00Z",
        "note": "",
        "note_attributes": [],
        "tags": "",
        "customer": None,
        "billing_address": None,
        "line_items": [{"id": 1, "title": "Mug for [redacted]", "price": "9.00"}],
    }


def test_bytes_that_are_no_json_are_dropped_as_a_whole_where_they_mention_somebody() -> None:
    assert redact_bytes(b"\xff{broken Ann+Shop@example.com", ANN) == b"[redacted]"
    assert redact_bytes(b"\xff{broken", ANN) is None
    assert redact_bytes(b'{"id": 7}', ANN) is None
    assert redact_bytes(b'{"id": 1001, "phone": "+15551234"}', ANN) == b'{"id":1001,"phone":null}'


def test_only_columns_that_change_are_written() -> None:
    content = {
        "body": b'{"id": 1001, "email": "x"}'.hex(),
        "payload": {"order_id": 7},
        "message": {"order_id": 1001, "first_name": "Ann"},
        "error_message": "no mail to +15551234",
        "stack": "nothing",
        "result": None,
    }
    assert redact_content(content, ANN, frozenset({"body"})) == {
        "body": b'{"id":1001,"email":null}'.hex(),
        "message": {"order_id": 1001, "first_name": None},
        "error_message": "no mail to [redacted]",
    }


def test_subject_comes_back_as_it_was_stored() -> None:
    assert Subject.read(json.loads(json.dumps(ANN.to_json()))) == ANN
    assert Subject().is_nobody
    assert not Subject(orders=frozenset({1})).is_nobody


@pytest.mark.parametrize("word", ["", "0", "1234"])
def test_short_word_is_not_looked_for_inside_of_texts(word: str) -> None:
    subject = Subject(phones=frozenset({word}), visitors=frozenset({word}))
    assert subject.is_nobody
    assert redact_text("order 1234 of 2026", subject) == "order 1234 of 2026"


WORDS = st.sampled_from(sorted(ANN.words)) | st.text(max_size=8)
DOCUMENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS | st.sampled_from([501, 1001]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "email", "note", "order_id", "x"]), inner, max_size=4)
    ),
    max_leaves=10,
)


@given(DOCUMENTS)
def test_no_word_survives_a_redaction_and_a_second_one_changes_nothing(document: Any) -> None:
    redacted = redact(document, ANN)
    text = json.dumps(redacted).lower()
    assert not [word for word in ANN.words if word in text]
    assert redact(redacted, ANN) == redacted


@given(DOCUMENTS)
def test_pattern_finds_whatever_is_mentioned(document: Any) -> None:
    if is_mentioned(document, ANN):
        assert re.search(ANN.pattern(), json.dumps(document), re.IGNORECASE)


@pytest.mark.parametrize(("text", "expected"), [("to ANN+SHOP@EXAMPLE.COM.", "to [redacted]."), ("", "")])
def test_texts_lose_the_word_alone(text: str, expected: str) -> None:
    assert redact_text(text, ANN) == expected
