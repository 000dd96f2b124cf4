"""Attribution as files: what they hold, when they are made, and that each is at its place once, whatever breaks."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import duckdb
import pytest
from moto.server import ThreadedMotoServer

import analytics.attribution.reporting_tasks
import analytics.attribution_exports.tasks  # noqa: F401 - registers them
from tests.integration.export_room import (
    DUE,
    EXPORT,
    SCHEDULER,
    SECRET,
    ExportRoom,
    SftpPlace,
    sftp_server,
)
from tests.integration.harness import House
from tests.integration.test_sandbox import running
from tradewind.tasks.message import Source
from tradewind.tasks.worker import Dead, Done, TryAgain


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running() as (address, _):
        yield address


@pytest.fixture
def room(house: House, url: str) -> ExportRoom:
    made = ExportRoom(house, url)
    made.sell()
    made.store({"webhook_secret": SECRET})
    made.tell_place(secret=SECRET, tolerance_s=10**8)
    return made


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpPlace]:
    folder = tmp_path / "sftp"
    folder.mkdir()
    with sftp_server(folder) as place:
        yield place


def make(room: ExportRoom, name: str = "daily", due: datetime = DUE, **about: Any) -> Any:
    return room.result(EXPORT, {"name": name, "due_at": due.isoformat()}, f"{name}/{due}", **about)


def body(taken: dict[str, Any]) -> bytes:
    return base64.b64decode(taken["body"])


CHOSEN: dict[str, Any] = {
    "columns": ["order_id", "model", "position", "channel", "source", "campaign", "credit", "revenue_cents"],
    "models": ["linear", "first_touch"],
    "windows_days": [30],
}


def test_csv_holds_every_credit_and_nothing_a_spreadsheet_would_run(room: ExportRoom) -> None:
    """Both touches of order 1 take half of 100.00; the first has all of it by first touch."""
    room.configure(**CHOSEN)
    result = make(room)
    [taken] = room.seen()["taken"]
    rows = list(csv.reader(io.StringIO(body(taken).decode())))
    assert rows == [
        CHOSEN["columns"],
        ["1", "first_touch", "1", "paid", "google", "'=cmd|' /C calc'!A0", "1.000000000", "10000"],
        ["1", "first_touch", "2", "email", 'news, "weekly"', "", "0.000000000", "0"],
        ["1", "linear", "1", "paid", "google", "'=cmd|' /C calc'!A0", "0.500000000", "5000"],
        ["1", "linear", "2", "email", 'news, "weekly"', "", "0.500000000", "5000"],
        ["2", "first_touch", "1", "direct", "", "", "1.000000000", "3000"],
        ["2", "linear", "1", "direct", "", "", "1.000000000", "3000"],
    ]
    assert (result["rows"], result["bytes"]) == (6, len(body(taken)))
    assert taken["x-tradewind-sha256"] == hashlib.sha256(body(taken)).hexdigest() == result["sha256"]
    assert taken["content-disposition"] == 'attachment; filename="daily-20261121T040000Z.csv"'


def test_json_lines_hold_the_same_rows_unguarded(room: ExportRoom) -> None:
    room.configure(**CHOSEN, format="json")
    make(room)
    [taken] = room.seen()["taken"]
    lines = [json.loads(line) for line in body(taken).splitlines()]
    assert len(lines) == 6
    assert lines[1] == {
        "order_id": 1,
        "model": "first_touch",
        "position": 2,
        "channel": "email",
        "source": 'news, "weekly"',
        "campaign": None,
        "credit": 0,
        "revenue_cents": 0,
    }
    assert lines[0]["campaign"] == "=cmd|' /C calc'!A0"


def test_parquet_holds_the_same_rows_with_their_types(room: ExportRoom, tmp_path: Path) -> None:
    room.configure(format="parquet", models=["linear"], windows_days=[30], columns=[])
    make(room)
    [taken] = room.seen()["taken"]
    file = tmp_path / "export.parquet"
    file.write_bytes(body(taken))
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        found = connection.execute(
            f"SELECT order_id, epoch(converted_at), first_purchase, source, campaign, credit, revenue_cents"
            f" FROM read_parquet('{file}')"
        ).fetchall()
        types = dict(
            connection.execute(f"SELECT column_name, column_type FROM (DESCRIBE FROM '{file}')").fetchall()
        )
    noon = datetime(2026, 11, 20, 10, tzinfo=UTC).timestamp()
    assert [tuple(map(str, row)) for row in found] == [
        ("1", str(noon), "True", "google", "=cmd|' /C calc'!A0", "0.500000000", "5000"),
        ("1", str(noon), "True", 'news, "weekly"', "None", "0.500000000", "5000"),
        ("2", str(noon), "True", "None", "None", "1.000000000", "3000"),
    ]
    assert types["converted_at"] == "TIMESTAMP WITH TIME ZONE"
    assert types["credit"] == "DECIMAL(10,9)"
    assert "visitor_id" not in types


def test_conversions_have_a_column_for_each_model(room: ExportRoom) -> None:
    room.configure(
        dataset="conversions", format="json", columns=["order_id", "status", "linear", "last_touch"]
    )
    make(room)
    [taken] = room.seen()["taken"]
    assert [json.loads(line) for line in body(taken).splitlines()] == [
        {"order_id": 1, "status": "attributed", "linear": {"paid": 5000, "email": 5000},
         "last_touch": {"paid": 0, "email": 10_000}},
        {"order_id": 2, "status": "attributed", "linear": {"direct": 3000}, "last_touch": {"direct": 3000}},
    ]  # fmt: skip


def test_channels_are_the_days_summary(room: ExportRoom) -> None:
    room.clock.at = DUE
    room.result("analytics-attribution-daily-metrics", {"days": 1}, source=Source.SCHEDULE)
    room.configure(dataset="channels", models=["linear"], windows_days=[30])
    make(room)
    [taken] = room.seen()["taken"]
    assert list(csv.reader(io.StringIO(body(taken).decode()))) == [
        ["day", "model", "window_days", "channel", "platform", "touchpoints", "conversions", "revenue_cents"],
        ["2026-11-20", "linear", "30", "direct", "none", "1", "1.000000", "3000"],
        ["2026-11-20", "linear", "30", "email", "none", "1", "0.500000", "5000"],
        ["2026-11-20", "linear", "30", "paid", "google", "1", "0.500000", "5000"],
    ]


@pytest.mark.parametrize("form", ["csv", "json", "parquet"])
def test_the_same_rows_are_the_same_bytes(room: ExportRoom, form: str) -> None:
    room.configure(format=form)
    first = make(room)
    room.house.write("DELETE FROM attribution_export_runs")
    assert room.result(EXPORT, {"name": "daily", "due_at": DUE.isoformat()})["sha256"] == first["sha256"]


def test_scheduler_starts_what_is_due_once_and_says_when_there_is_more(room: ExportRoom) -> None:
    assert room.configure()["next_run_at"] == str(DUE)
    room.configure("off", active=False)
    due = "SELECT due_at FROM schedule_due WHERE schedule = 'analytics-attribution-export-scheduled'"
    assert room.house.query(due) == [{"due_at": DUE}]
    assert room.result(SCHEDULER, {}, source=Source.SCHEDULE) == {"files": []}
    room.clock.at = DUE + timedelta(days=1, minutes=1)
    room.house.write("DELETE FROM schedule_due")
    started = room.result(SCHEDULER, {}, "slot", source=Source.SCHEDULE)
    assert started == {"files": ["daily-20261121T040000Z.csv", "daily-20261122T040000Z.csv"]}
    assert room.result(SCHEDULER, {}, "next slot", source=Source.SCHEDULE) == {"files": []}
    assert room.house.query(due) == [{"due_at": DUE + timedelta(days=2)}]
    outbox = room.house.query("SELECT payload FROM outbox WHERE task = %s ORDER BY payload::text", EXPORT)
    assert [row["payload"]["due_at"] for row in outbox] == ["2026-11-21T04:00:00Z", "2026-11-22T04:00:00Z"]


def test_failed_delivery_goes_on_with_the_same_file_though_the_rows_have_changed(room: ExportRoom) -> None:
    room.configure()
    room.tell_place(answers=[503])
    payload = {"name": "daily", "due_at": DUE.isoformat()}
    assert isinstance(room.run(EXPORT, payload, "one"), TryAgain)
    [noted] = room.runs()
    assert (noted["state"], noted["error"]) == ("made", "ProviderUnavailableError: 127.0.0.1: answered 503")
    room.house.write("UPDATE attribution_conversions SET currency = 'EUR'")
    room.clock.advance(timedelta(minutes=5))
    assert isinstance(room.run(EXPORT, payload, "one"), Done)
    seen = room.seen()
    assert b"EUR" not in body(seen["taken"][0])
    first, second = seen["attempts"]
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 300
    assert [(row["state"], row["error"]) for row in room.runs()] == [("delivered", None)]


def test_delivery_whose_answer_was_lost_is_known_by_its_id(room: ExportRoom) -> None:
    room.configure()
    make(room)
    make_again = room.run(EXPORT, {"name": "daily", "due_at": DUE.isoformat()}, "by hand again")
    assert isinstance(make_again, Done)
    seen = room.seen()
    assert (len(seen["taken"]), seen["repetitions"]) == (1, 1)


def test_file_that_is_gone_from_the_archive_or_spoilt_is_made_again(room: ExportRoom) -> None:
    room.configure()
    make(room)
    [key] = room.house.payloads.kept
    room.house.payloads.kept[key] = b"spoilt"
    assert isinstance(room.run(EXPORT, {"name": "daily", "due_at": DUE.isoformat()}), Done)
    assert hashlib.sha256(room.house.payloads.kept[key]).hexdigest() == room.runs("sha256")[0]["sha256"]


def test_export_that_was_changed_is_made_anew(room: ExportRoom) -> None:
    room.configure(columns=["order_id"])
    make(room)
    room.configure(columns=["order_id", "currency"])
    room.result(EXPORT, {"name": "daily", "due_at": DUE.isoformat()}, "by hand")
    [key] = room.house.payloads.kept
    assert room.house.payloads.kept[key].startswith(b"order_id,currency\n")


@pytest.mark.parametrize(
    ("answer", "state"), [(400, "failed"), (404, "failed"), (410, "failed"), (302, "failed")]
)
def test_refusal_is_for_good_and_is_told(room: ExportRoom, answer: int, state: str) -> None:
    room.configure()
    room.tell_place(answers=[answer])
    assert isinstance(room.run(EXPORT, {"name": "daily", "due_at": DUE.isoformat()}), Dead)
    [noted] = room.runs()
    assert (noted["state"], str(answer) in noted["error"]) == (state, True)


def test_private_places_are_refused_on_a_deployed_stage_and_nothing_arrives(
    house: House, url: str, server: SftpPlace
) -> None:
    room = ExportRoom(house, url, stage="prod")
    places = {
        "web": room.webhook() | {"url": room.webhook()["url"].replace("http:", "https:")},
        "plain": room.webhook(),
        "sftp": server.config(),
        "s3": {"kind": "s3", "bucket": "files", "endpoint": "https://127.0.0.1:9"},
        "meta": {"kind": "webhook", "url": "https://169.254.169.254/latest/meta-data"},
    }
    for name, place in places.items():
        room.store(
            {"webhook_secret": SECRET, "host_key": server.host_key, "password": "s3cret"}
            | {"access_key_id": "a", "secret_access_key": "b"},
            name,
        )
        room.result("analytics-configure-export", {"name": name, "destination": place})
        end = room.run(EXPORT, {"name": name})
        assert isinstance(end, Dead), name
        assert type(end.error).__name__ == "DestinationRefusedError", name
    assert room.seen()["attempts"] == []
    assert server.files() == {}


def test_missing_secret_and_unknown_export_are_told(room: ExportRoom) -> None:
    room.configure("other")
    ends = [room.run(EXPORT, {"name": name}) for name in ("other", "nobody")]
    assert [str(end.error) for end in ends if isinstance(end, Dead)] == [
        "no credential with id export/webhook_secret",
        "no export with id nobody",
    ]


def test_eleventh_export_is_refused(room: ExportRoom) -> None:
    for number in range(10):
        room.configure(f"export-{number}")
    room.configure("export-3", active=False)
    end = room.run("analytics-configure-export", {"name": "eleventh", "destination": room.webhook()})
    assert isinstance(end, Dead)
    assert "name: the tenant has 10 exports already" in str(end.error)


def test_file_arrives_by_sftp_whole_and_once(room: ExportRoom, server: SftpPlace) -> None:
    room.store({"host_key": server.host_key, "password": "s3cret"})
    room.configure(destination=server.config())
    result = make(room)
    room.run(EXPORT, {"name": "daily", "due_at": DUE.isoformat()}, "again")
    files = server.files()
    assert list(files) == ["daily-20261121T040000Z.csv"]
    assert hashlib.sha256(files["daily-20261121T040000Z.csv"]).hexdigest() == result["sha256"]


def test_sftp_that_breaks_off_is_gone_on_with_where_it_stopped(room: ExportRoom, server: SftpPlace) -> None:
    """A file of some 3 MB: the second megabyte breaks off, the next attempt does not send the first again."""
    room.house.write(
        "INSERT INTO attribution_credits (shopify_order_id, window_days, touchpoint_ids, channels, credits, cents)"
        " SELECT 3, 31 + n, array_fill('00000000-0000-0000-0000-000000000000'::uuid, ARRAY[50]),"
        " array_fill(1::smallint, ARRAY[50]), array_fill(0, ARRAY[7, 50]), array_fill(0::bigint, ARRAY[7, 50])"
        " FROM generate_series(1, 90) n"
    )
    room.store({"host_key": server.host_key, "password": "s3cret"})
    room.configure(destination=server.config(), look_back_days=2)
    server.breaks_after = 40
    payload = {"name": "daily", "due_at": DUE.isoformat()}
    end = room.run(EXPORT, payload, "one")
    assert isinstance(end, TryAgain)
    assert all(name.endswith(".part") for name in server.files())
    server.breaks_after, begun = None, len(server.offsets)
    result = room.result(EXPORT, payload, "one")
    assert min(server.offsets[begun:]) == 1024 * 1024
    [(name, content)] = server.files().items()
    assert (name, len(content) > 2_500_000) == ("daily-20261121T040000Z.csv", True)
    assert hashlib.sha256(content).hexdigest() == result["sha256"]


def test_sftp_refuses_a_strange_host_a_wrong_password_and_a_missing_folder(
    room: ExportRoom, server: SftpPlace
) -> None:
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEiNFgXUKSRyxvuCbC1aXoGE8zjzWCMZcvYcYmXqqQyC"
    wrong: list[tuple[dict[str, str], dict[str, Any], str]] = [
        ({"host_key": other, "password": "s3cret"}, {}, "shows another host key"),
        ({"host_key": "no key", "password": "s3cret"}, {}, "host_key or private_key is no key"),
        ({"host_key": server.host_key, "password": "guess"}, {}, "refuses the login"),
        ({"host_key": server.host_key, "password": "s3cret"}, {"folder": "none"}, "refuses the file"),
    ]
    for secrets, changes, told in wrong:
        room.store(secrets)
        room.configure(destination=server.config(**changes))
        end = room.run(EXPORT, {"name": "daily", "due_at": DUE.isoformat()})
        assert isinstance(end, Dead)
        assert told in str(end.error)
    assert server.files() == {}


def test_file_lies_in_the_tenants_bucket_once(room: ExportRoom) -> None:
    moto = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    moto.start()
    try:
        host, port = moto.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        s3 = boto3.client(
            "s3", endpoint_url=endpoint, region_name="us-east-1",
            aws_access_key_id="key", aws_secret_access_key="secret",
        )  # fmt: skip
        s3.create_bucket(Bucket="acme-files")
        room.store({"access_key_id": "key", "secret_access_key": "secret"})
        place = {"kind": "s3", "bucket": "acme-files", "prefix": "in/a b/", "endpoint": endpoint}
        end = room.run("analytics-configure-export", {"name": "daily", "destination": place})
        assert isinstance(end, Dead)  # a blank in a prefix
        place["prefix"] = "in/attribution/"
        room.configure(destination=place)
        result = make(room)
        room.run(EXPORT, {"name": "daily", "due_at": DUE.isoformat()}, "again")
        listed = s3.list_objects_v2(Bucket="acme-files")["Contents"]
        assert [each["Key"] for each in listed] == ["in/attribution/daily-20261121T040000Z.csv"]
        content = s3.get_object(Bucket="acme-files", Key=listed[0]["Key"])["Body"].read()
        assert hashlib.sha256(content).hexdigest() == result["sha256"]
        room.configure(destination={**place, "bucket": "nobodys"})
        assert isinstance(room.run(EXPORT, {"name": "daily", "due_at": DUE.isoformat()}), Dead)
        assert "NoSuchBucket" in room.runs("error")[0]["error"]
    finally:
        moto.stop()
