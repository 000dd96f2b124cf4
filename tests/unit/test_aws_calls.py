"""Calls to AWS over real HTTP: moto where it plays the service, a scripted server where AWS misbehaves."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tradewind.aws.client import AwsClient, AwsRefusedError, AwsUnavailableError, read_keys
from tradewind.aws.keys import KeyService
from tradewind.aws.machines import (
    StepFunctions,
    WorkflowFailedError,
    WorkflowRefusedError,
    failure_of,
    read_wait,
)
from tradewind.aws.objects import PayloadStore
from tradewind.aws.queues import Entry, Queues
from tradewind.errors import (
    CredentialsRejectedError,
    ErrorKind,
    MisconfiguredError,
    NotFoundError,
    RateLimitedError,
    TradewindError,
)
from tradewind.settings import read_settings
from tradewind.tenancy.credentials import CredentialVault, Label, Sealed

REGION = "us-east-1"
QUEUE = "tradewind-test-orders.fifo"
ACME, BOLT = UUID(int=1), UUID(int=2)


@pytest.fixture(scope="module")
def cloud() -> Iterator[str]:
    """moto's services on a free loopback port."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


def boto(cloud: str, service: str) -> Any:
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=cloud,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@pytest.fixture
def queue(cloud: str) -> Iterator[str]:
    """A FIFO queue's URL."""
    sqs = boto(cloud, "sqs")
    attributes = {"FifoQueue": "true", "VisibilityTimeout": "600"}
    url = sqs.create_queue(QueueName=QUEUE, Attributes=attributes)["QueueUrl"]
    yield str(url)
    sqs.delete_queue(QueueUrl=url)


class Clients:
    """Makes clients, and closes what they keep open."""

    def __init__(self) -> None:
        self._made: list[tuple[AwsClient, str]] = []

    def at(self, endpoint: str, **about: Any) -> AwsClient:
        client = AwsClient(REGION, endpoint, **about)
        self._made.append((client, urlsplit(endpoint).netloc))
        return client

    def queues_at(self, endpoint: str) -> Queues:
        return Queues(self.at(endpoint), f"{endpoint}/123456789012/")

    def close(self) -> None:
        for client, netloc in self._made:
            client._forget(netloc)


@pytest.fixture(scope="module")
def clients() -> Iterator[Clients]:
    made = Clients()
    yield made
    made.close()


def entry(number: int, group: str = "acme#1", size: int = 10) -> Entry:
    body = json.dumps({"n": number, "pad": "x" * size})
    return Entry(f"key-{number}", QUEUE, body, group, f"key-{number}-0")


def receive(cloud: str, url: str) -> list[dict[str, Any]]:
    answer = boto(cloud, "sqs").receive_message(
        QueueUrl=url, MaxNumberOfMessages=10, MessageSystemAttributeNames=["All"]
    )
    found: list[dict[str, Any]] = answer.get("Messages", [])
    return found


def test_messages_arrive_in_order_with_group_and_deduplication_id(
    clients: Clients, cloud: str, queue: str
) -> None:
    sent = [entry(number) for number in range(7)]
    assert clients.queues_at(cloud).send(sent) == [each.key for each in sent]
    arrived = receive(cloud, queue)
    assert [message["Body"] for message in arrived] == [each.body for each in sent]
    assert {message["Attributes"]["MessageGroupId"] for message in arrived} == {"acme#1"}
    assert [message["Attributes"]["MessageDeduplicationId"] for message in arrived] == [
        each.deduplication for each in sent
    ]


def test_many_messages_all_arrive(clients: Clients, cloud: str, queue: str) -> None:
    sent = [entry(number, f"tenant-{number % 6}#0") for number in range(37)]
    assert clients.queues_at(cloud).send(sent) == [each.key for each in sent]
    about = boto(cloud, "sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["All"])
    assert about["Attributes"]["ApproximateNumberOfMessages"] == "37"


def test_copy_of_a_message_is_accepted_and_kept_once(clients: Clients, cloud: str, queue: str) -> None:
    queues = clients.queues_at(cloud)
    assert queues.send([entry(1)]) == ["key-1"]
    assert queues.send([entry(1)]) == ["key-1"]
    assert len(receive(cloud, queue)) == 1


def test_message_given_back_with_no_wait_is_there_again(clients: Clients, cloud: str, queue: str) -> None:
    queues = clients.queues_at(cloud)
    queues.send([entry(number, f"group-{number}") for number in range(3)])
    first = receive(cloud, queue)
    assert receive(cloud, queue) == []
    waits = [timedelta(), timedelta(seconds=90.2), timedelta()]
    queues.set_visibility(
        QUEUE, [(each["ReceiptHandle"], wait) for each, wait in zip(first, waits, strict=True)]
    )
    again = {message["Body"] for message in receive(cloud, queue)}
    assert again == {first[0]["Body"], first[2]["Body"]}


def test_unknown_queue_is_refused_with_its_code(clients: Clients, cloud: str) -> None:
    with pytest.raises(AwsRefusedError) as caught:
        clients.queues_at(cloud).send([Entry("k", "nowhere.fifo", "{}", "g", "d")])
    assert "NonExistent" in caught.value.code or "DoesNotExist" in caught.value.code


def test_object_comes_back_as_it_was_put(clients: Clients, cloud: str) -> None:
    boto(cloud, "s3").create_bucket(Bucket="payloads")
    store = PayloadStore(clients.at(cloud), "payloads", REGION)
    key, body = f"tenants/{ACME}/webhooks/ä b+c.json", bytes(range(256)) * 5000
    store.put(key, body)
    assert store.get(key) == body
    assert boto(cloud, "s3").get_object(Bucket="payloads", Key=key)["Body"].read() == body


def test_missing_object_is_not_found(clients: Clients, cloud: str) -> None:
    boto(cloud, "s3").create_bucket(Bucket="payloads")
    with pytest.raises(NotFoundError, match="no stored payload with id tenants/none"):
        PayloadStore(clients.at(cloud), "payloads", REGION).get("tenants/none")


@pytest.fixture(scope="module")
def keys(clients: Clients, cloud: str) -> KeyService:
    kms = boto(cloud, "kms")
    key_id = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/tradewind-test", TargetKeyId=key_id)
    return KeyService(clients.at(cloud), "alias/tradewind-test")


def test_data_key_opens_under_its_own_context_only(keys: KeyService) -> None:
    made = keys.generate({"tenant": "acme"})
    assert len(made.plain) == 32
    assert made.plain not in made.encrypted
    assert keys.decrypt(made.encrypted, {"tenant": "acme"}) == made.plain
    for context in ({"tenant": "bolt"}, {}, {"tenant": "acme", "more": "x"}):
        with pytest.raises(AwsRefusedError) as caught:
            keys.decrypt(made.encrypted, context)
        assert caught.value.code == "InvalidCiphertextException"


def test_each_data_key_is_another(keys: KeyService) -> None:
    assert keys.generate({"tenant": "acme"}).plain != keys.generate({"tenant": "acme"}).plain


def test_vault_opens_a_secret_for_its_tenant_only(keys: KeyService) -> None:
    label = Label("shopify", "access_token")
    sealed = CredentialVault(keys).seal(ACME, label, "shpat_secret")
    assert CredentialVault(keys).open(ACME, label, sealed) == "shpat_secret"
    with pytest.raises(AwsRefusedError):
        CredentialVault(keys).open(BOLT, label, sealed)


def test_secret_cannot_be_moved_to_another_name_or_changed(keys: KeyService) -> None:
    vault = CredentialVault(keys)
    sealed = vault.seal(ACME, Label("shopify", "access_token"), "shpat_secret")
    with pytest.raises(CredentialsRejectedError):
        vault.open(ACME, Label("shopify", "app_secret"), sealed)
    changed = Sealed(sealed.encrypted_key, sealed.nonce, sealed.ciphertext[:-1] + b"\x00")
    with pytest.raises(CredentialsRejectedError):
        vault.open(ACME, Label("shopify", "access_token"), changed)


@dataclass
class Script:
    """What a server does with each request in turn, and what it was asked."""

    turns: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)
    endpoint: str = ""


def answers(
    status: int, body: Any = b"", headers: Mapping[str, str] = MappingProxyType({}), *, close: bool = False
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer; ``close`` then ends the connection without having said so."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def turn(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = close

    return turn


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


@pytest.fixture
def script() -> Iterator[Script]:
    """A server that follows a script."""
    made = Script()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            made.asked.append({"headers": dict(self.headers), "body": raw})
            made.connections.add(self.client_address)
            made.turns.pop(0)(self)

        do_PUT = do_POST  # noqa: N815 - http.server's name

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
            """Tests print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


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
    ("FAILED", "LeaseHeldError", "[1]", WorkflowFailedError, ErrorKind.RETRYABLE),
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
