"""When exports are due, what time a file covers, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from analytics.attribution_exports.model import (
    Every,
    Export,
    Rhythm,
    columns_of,
    delivery_id,
    file_name,
    missed,
    next_due,
    span_of,
)
from analytics.attribution_exports.payloads import ExportConfig

BERLIN, TOKYO = "Europe/Berlin", "Asia/Tokyo"
SFTP = {"kind": "sftp", "host": "files.example.com", "username": "acme"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def export(**changes: Any) -> Export:
    return ExportConfig.model_validate({"name": "daily", "destination": SFTP, **changes}).export()


@pytest.mark.parametrize(
    ("every", "hour", "after", "due", "zone"),
    [
        (Every.DAY, 4, "2026-11-29T02:59:59", "2026-11-29T03:00:00", BERLIN),
        (Every.DAY, 4, "2026-11-29T03:00:00", "2026-11-30T03:00:00", BERLIN),
        (Every.DAY, 4, "2026-11-28T20:00:00", "2026-11-29T19:00:00", TOKYO),
        (Every.WEEK, 0, "2026-11-29T12:00:00", "2026-11-29T23:00:00", BERLIN),  # Monday the 30th, 00:00
        (Every.MONTH, 6, "2026-11-01T05:00:00", "2026-12-01T05:00:00", BERLIN),
        (Every.MONTH, 6, "2026-12-31T23:30:00", "2027-01-01T05:00:00", BERLIN),
        (Every.HOUR, 9, "2026-11-29T12:34:56", "2026-11-29T13:00:00", BERLIN),
        # The clock skips 02:00 on 2026-03-29: due at the change; on 2026-10-25 02:00 comes twice: the first.
        (Every.DAY, 2, "2026-03-28T12:00:00", "2026-03-29T01:00:00", BERLIN),
        (Every.DAY, 2, "2026-10-24T12:00:00", "2026-10-25T00:00:00", BERLIN),
        (Every.DAY, 2, "2026-10-25T00:00:00", "2026-10-26T01:00:00", BERLIN),
    ],
)
def test_next_due(every: Every, hour: int, after: str, due: str, zone: str) -> None:
    assert next_due(Rhythm(every, hour), at(after), zone) == at(due)


def test_after_a_standstill_the_latest_ten_are_made_up_for() -> None:
    slots, following = missed(Rhythm(Every.DAY, 4), at("2026-11-01T04:00"), at("2026-11-29T12:00"), "UTC")
    assert slots == [at("2026-11-20T04:00") + timedelta(days=day) for day in range(10)]
    assert following == at("2026-11-30T04:00")


@pytest.mark.parametrize(
    ("changes", "due", "since", "until"),
    [
        ({}, "2026-11-29T03:00", "2026-11-27T23:00", "2026-11-28T23:00"),
        ({"look_back_days": 7}, "2026-03-30T02:00", "2026-03-22T23:00", "2026-03-29T22:00"),
        ({"every": "hour"}, "2026-11-29T12:00", "2026-11-28T12:00", "2026-11-29T12:00"),
        ({"every": "hour"}, "2026-11-29T12:34", "2026-11-28T12:00", "2026-11-29T12:00"),
    ],
)
def test_a_file_covers_local_days(changes: dict[str, Any], due: str, since: str, until: str) -> None:
    span = span_of(export(**changes), at(due), BERLIN)
    assert (span.since_at, span.until_at) == (at(since), at(until))


def test_name_and_delivery_follow_from_what_was_due_alone() -> None:
    due, tenant = at("2026-11-29T03:00"), UUID(int=7)
    assert file_name(export(format="parquet"), due) == "daily-20261129T030000Z.parquet"
    assert file_name(export(format="json"), due) == "daily-20261129T030000Z.jsonl"
    assert delivery_id(tenant, "daily", due) == delivery_id(tenant, "daily", due)
    others = {delivery_id(UUID(int=8), "daily", due), delivery_id(tenant, "other", due)}
    assert delivery_id(tenant, "daily", due) not in others


def test_what_points_at_a_person_is_only_there_where_it_is_asked_for() -> None:
    assert not {"visitor_id", "customer_id"} & set(columns_of(export()))
    assert columns_of(export(columns=["visitor_id", "model"])) == ("visitor_id", "model")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "Daily Export"}, "name"),
        ({"name": ""}, "name"),
        ({"format": "xml"}, "format"),
        ({"dataset": "orders"}, "dataset"),
        ({"columns": ["nothing"]}, "columns: 'nothing' is none of touches"),
        ({"columns": ["model", "model"]}, "columns: one is named twice"),
        ({"columns": ["first_touch"], "dataset": "touches"}, "columns: 'first_touch'"),
        ({"models": ["best"]}, "models"),
        ({"windows_days": [0]}, "windows_days"),
        ({"dataset": "conversions", "models": ["linear"]}, "models and windows_days"),
        ({"every": "minute"}, "every"),
        ({"at_hour": 24}, "at_hour"),
        ({"look_back_days": 0}, "look_back_days"),
        ({"look_back_days": 401}, "look_back_days"),
        ({"destination": {"kind": "ftp"}}, "destination"),
        ({"destination": {"kind": "webhook", "url": "file:///etc/passwd"}}, "destination.webhook.url"),
        ({"destination": {"kind": "webhook", "url": "https://a:b@shop.example.com"}}, "no login in it"),
        ({"destination": {"kind": "s3", "bucket": "UPPER"}}, "destination.s3.bucket"),
        ({"destination": {"kind": "s3", "bucket": "ok-1", "prefix": "../other"}}, "destination.s3.prefix"),
        ({"destination": {**SFTP, "folder": "a/../../etc"}}, "destination.sftp.folder"),
        ({"destination": {**SFTP, "port": 0}}, "destination.sftp.port"),
        ({"destination": {**SFTP, "password": "secret"}}, "destination.sftp.password"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        export(**changes)
    told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in refused.value.errors())
    assert field in told
