"""What becomes of AWS's answers, and of none, over real HTTP: a scripted server misbehaves on request."""

from __future__ import annotations

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from tests.unit.scripted import QUEUE, REGION, Clients, Script, answers, entry, hangs_up
from tradewind.aws.client import AwsRefusedError, AwsUnavailableError, read_keys
from tradewind.aws.machines import (
    StepFunctions,
    WorkflowFailedError,
    WorkflowRefusedError,
    failure_of,
    read_wait,
)
from tradewind.aws.objects import PayloadStore
from tradewind.errors import (
    ErrorKind,
    LeaseHeldError,
    MisconfiguredError,
    NotFoundError,
    RateLimitedError,
    TradewindError,
)
from tradewind.settings import read_settings


def call(clients: Clients, script: Script, **about: Any) -> dict[str, Any]:
    return clients.at(script.endpoint, **about).json_call("sqs", "AmazonSQS.ListQueues", {})


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ThrottlingException"),
        (400, "com.amazonaws.sqs#RequestThrottled"),
        (400, "TooManyRequestsException:http://internal.amazon.com/"),
        (503, "SlowDown"),
        (429, "Anything"),
    ],
)
def test_throttling_is_a_rate_limit(clients: Clients, script: Script, status: int, code: str) -> None:
    script.turns = [answers(status, {"__type": code, "message": "slow down"})]
    with pytest.raises(RateLimitedError) as caught:
        call(clients, script)
    assert caught.value.wait == timedelta(seconds=1)
    assert len(script.asked) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", {"__type": "InternalFailure", "message": "oops"}])
def test_server_fault_is_retryable_and_not_repeated_here(clients: Clients, script: Script, body: Any) -> None:
    script.turns = [answers(500, body)]
    with pytest.raises(AwsUnavailableError):
        call(clients, script)
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    ("turn", "code"),
    [
        (answers(403, {"__type": "AccessDeniedException", "Message": "no"}), "AccessDeniedException"),
        (answers(400, b"", {"x-amzn-ErrorType": "ValidationException:x"}), "ValidationException"),
        (answers(404, b"not here"), "404"),
    ],
)
def test_refusal_is_terminal_and_carries_its_code(
    clients: Clients, script: Script, turn: Any, code: str
) -> None:
    script.turns = [turn]
    with pytest.raises(AwsRefusedError) as caught:
        call(clients, script)
    assert caught.value.code == code


def test_connections_are_kept(clients: Clients, script: Script) -> None:
    script.turns = [answers(200, {})] * 3
    client = clients.at(script.endpoint)
    for _ in range(3):
        client.json_call("sqs", "AmazonSQS.ListQueues", {})
    assert len(script.connections) == 1


def test_kept_connection_that_was_closed_is_opened_again_once(clients: Clients, script: Script) -> None:
    script.turns = [answers(200, {}, close=True), answers(200, {"again": True})]
    client = clients.at(script.endpoint)
    client.json_call("sqs", "AmazonSQS.ListQueues", {})
    assert client.json_call("sqs", "AmazonSQS.ListQueues", {}) == {"again": True}
    assert len(script.connections) == 2


def test_kept_connection_is_opened_again_only_once(clients: Clients, script: Script) -> None:
    script.turns = [answers(200, {}), hangs_up, hangs_up, answers(200, {})]
    client = clients.at(script.endpoint)
    client.json_call("sqs", "AmazonSQS.ListQueues", {})
    with pytest.raises(AwsUnavailableError):
        client.json_call("sqs", "AmazonSQS.ListQueues", {})
    assert len(script.asked) == 3


def test_new_connection_that_is_closed_is_not_tried_again(clients: Clients, script: Script) -> None:
    script.turns = [hangs_up, answers(200, {})]
    with pytest.raises(AwsUnavailableError):
        call(clients, script)
    assert len(script.asked) == 1


def test_time_out_is_retryable_and_not_repeated_here(clients: Clients, script: Script) -> None:
    done = threading.Event()

    def silent(handler: BaseHTTPRequestHandler) -> None:
        done.wait(5)
        handler.close_connection = True

    script.turns = [silent, answers(200, {})]
    with pytest.raises(AwsUnavailableError, match="TimeoutError"):
        call(clients, script, timeout=timedelta(seconds=0.2))
    done.set()
    assert len(script.asked) == 1


def test_nobody_listening_is_retryable(clients: Clients) -> None:
    with pytest.raises(AwsUnavailableError):
        clients.at("http://127.0.0.1:9").json_call("sqs", "AmazonSQS.ListQueues", {})


def test_session_token_is_sent(clients: Clients, script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session-1")
    script.turns = [answers(200, {})]
    call(clients, script)
    assert script.asked[0]["headers"]["x-amz-security-token"] == "session-1"


def test_missing_credentials_name_the_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(MisconfiguredError, match="AWS_ACCESS_KEY_ID"):
        read_keys()


def test_batches_hold_ten_messages_and_one_mebibyte_and_keep_order(clients: Clients, script: Script) -> None:
    sizes = [10] * 12 + [400_000] * 5
    entries = [entry(number, size=size) for number, size in enumerate(sizes)]
    sent: list[list[str]] = []

    def accept(handler: BaseHTTPRequestHandler) -> None:
        asked = json.loads(script.asked[-1]["body"])["Entries"]
        assert sum(len(item["MessageBody"].encode()) for item in asked) <= 1024 * 1024
        sent.append([item["MessageDeduplicationId"] for item in asked])
        answers(200, {"Successful": [{"Id": item["Id"]} for item in asked]})(handler)

    script.turns = [accept] * 9
    assert clients.queues_at(script.endpoint).send(entries) == [each.key for each in entries]
    assert [len(batch) for batch in sent] == [10, 4, 2, 1]
    assert [key for batch in sent for key in batch] == [each.deduplication for each in entries]


def test_message_that_is_refused_alone_is_left_out(clients: Clients, script: Script) -> None:
    script.turns = [answers(200, {"Successful": [{"Id": "0"}, {"Id": "2"}], "Failed": [{"Id": "1"}]})]
    assert clients.queues_at(script.endpoint).send([entry(number) for number in range(3)]) == [
        "key-0",
        "key-2",
    ]


def test_visibility_that_is_refused_is_said(clients: Clients, script: Script) -> None:
    script.turns = [answers(200, {"Failed": [{"Id": "0", "Code": "ReceiptHandleIsInvalid"}]})]
    with pytest.raises(AwsUnavailableError, match="ReceiptHandleIsInvalid"):
        clients.queues_at(script.endpoint).set_visibility(QUEUE, [("handle", timedelta(seconds=1))])


def test_visibility_is_rounded_up_and_goes_in_batches_of_ten(clients: Clients, script: Script) -> None:
    script.turns = [answers(200, {})] * 2
    clients.queues_at(script.endpoint).set_visibility(QUEUE, [("h", timedelta(seconds=4.1))] * 13)
    asked = [json.loads(each["body"])["Entries"] for each in script.asked]
    assert [len(entries) for entries in asked] == [10, 3]
    assert {item["VisibilityTimeout"] for entries in asked for item in entries} == {5}


@pytest.mark.parametrize(
    ("status", "error"), [(500, AwsUnavailableError), (403, AwsRefusedError), (404, NotFoundError)]
)
def test_object_store_faults_have_their_kind(
    clients: Clients, script: Script, status: int, error: type[Exception]
) -> None:
    script.turns = [answers(status, b"<Error/>")]
    with pytest.raises(error):
        PayloadStore(clients.at(script.endpoint), "payloads", REGION).put("a", b"body")


def machines(clients: Clients, script: Script) -> StepFunctions:
    environment = {
        "TRADEWIND_STAGE": "test",
        "TRADEWIND_ACCOUNT": "000000000000",
        "TRADEWIND_DATABASE_URL": "postgresql://none",
        "AWS_REGION": REGION,
    }
    return StepFunctions(clients.at(script.endpoint), read_settings(environment))


def test_machine_that_succeeds_returns_its_output(clients: Clients, script: Script) -> None:
    script.turns = [
        answers(200, {"status": "SUCCEEDED", "output": '{"commerce-sync-order": {"status": "x"}}'})
    ]
    output = machines(clients, script).run("order-sync", "run-1", {"tenant": "t"})
    assert output == {"commerce-sync-order": {"status": "x"}}
    [asked] = script.asked
    assert asked["headers"]["x-amz-target"] == "AWSStepFunctions.StartSyncExecution"
    assert json.loads(asked["body"]) == {
        "stateMachineArn": "arn:aws:states:us-east-1:000000000000:stateMachine:tradewind-test-order-sync",
        "name": "run-1",
        "input": '{"tenant": "t"}',
    }


LIMITED = json.dumps({"errorMessage": "shopify: wait 17.500 s", "errorType": "RateLimitedError"})
ENDS = [
    ("FAILED", "RateLimitedError", LIMITED, RateLimitedError, ErrorKind.RATE_LIMITED),
    (
        "FAILED",
        "TerminalError",
        '{"errorMessage": "no such order"}',
        WorkflowRefusedError,
        ErrorKind.TERMINAL,
    ),
    ("FAILED", "RetryableError", "reset", WorkflowFailedError, ErrorKind.RETRYABLE),
    ("FAILED", "UnexpectedError", None, WorkflowFailedError, ErrorKind.RETRYABLE),
    ("FAILED", "LeaseHeldError", "[1]", LeaseHeldError, ErrorKind.RETRYABLE),
    ("FAILED", "States.TaskFailed", "", WorkflowFailedError, ErrorKind.RETRYABLE),
    ("TIMED_OUT", "States.Timeout", None, WorkflowFailedError, ErrorKind.RETRYABLE),
    ("TIMED_OUT", None, None, WorkflowFailedError, ErrorKind.RETRYABLE),
    (None, None, None, WorkflowFailedError, ErrorKind.RETRYABLE),
]


@pytest.mark.parametrize(("status", "error", "cause", "kind_class", "kind"), ENDS)
def test_machines_end_becomes_the_error_of_its_kind(
    clients: Clients,
    script: Script,
    status: str | None,
    error: str | None,
    cause: str | None,
    kind_class: type[TradewindError],
    kind: ErrorKind,
) -> None:
    told = {"status": status, "error": error, "cause": cause}
    script.turns = [answers(200, {name: text for name, text in told.items() if text is not None})]
    with pytest.raises(kind_class) as caught:
        machines(clients, script).run("order-sync", "run-1", {})
    assert caught.value.kind is kind


def test_providers_wait_travels_through_the_machine() -> None:
    error = failure_of("order-sync", "FAILED", "RateLimitedError", LIMITED)
    assert isinstance(error, RateLimitedError)
    assert error.wait == timedelta(seconds=17.5)


@pytest.mark.parametrize(
    ("message", "seconds"),
    [
        (str(RateLimitedError("{shopify:acme}", timedelta(seconds=2.5))), 2.5),
        ("wait a moment: wait 0.001 s", 0.001),
        ("wait -5.000 s", 0),
        ("wait for it", 1),
        ("slow down", 1),
        ("", 1),
        ("wait nan s", 1),
        ("wait inf s", 1),
        ("wait 1e300 s", 1),
    ],
)
def test_wait_is_read_from_a_rate_limits_message(message: str, seconds: float) -> None:
    assert read_wait(message) == timedelta(seconds=seconds)
