"""What the product relies on in the AWS emulator, so that a new version of it cannot break this unseen."""

from __future__ import annotations

import io
import json
import time
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from infra.local import paths
from infra.local.ministack import CLIENT_ENVIRONMENT, REGION, MiniStack, ministack_server

HANDLERS = Path(__file__).with_name("probe") / "handlers.py"
ROLE = "arn:aws:iam::000000000000:role/probe"
ONE_MIB = 1024 * 1024


@dataclass(frozen=True)
class Delivery:
    """One line of the journal that the handler `work` writes."""

    group: str
    number: int
    attempt: int
    refused: bool
    started: float
    ended: float


class Emulator:
    """Clients of an empty emulator, and the few things every test needs of it."""

    def __init__(self, server: MiniStack, folder: Path) -> None:
        self.folder = folder
        self._endpoint = server.endpoint_url
        self.sqs = self.client("sqs")
        self.functions = self.client("lambda")

    def client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self._endpoint,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(inject_host_prefix=False, retries={"total_max_attempts": 1}, read_timeout=30),
        )

    def create_function(self, handler: str, role: str = ROLE, **environment: str) -> str:
        """Deploy a handler of `probe/handlers.py` on the runtime of the local stage; returns the name."""
        name = f"probe-{handler}-{uuid.uuid4().hex[:8]}"
        bootstrap = zipfile.ZipInfo("bootstrap")
        bootstrap.external_attr = 0o755 << 16
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as code:
            code.writestr(bootstrap, f'#!/bin/sh\nexec {paths.PYTHON} -m awslambdaric "$_HANDLER"\n')
            code.write(HANDLERS, "handlers.py")
        variables = {"AWS_ENDPOINT_URL": self._endpoint, "PROBE_SETTING": "as deployed"} | environment
        self.functions.create_function(
            FunctionName=name,
            Runtime="provided.al2023",
            Handler=f"handlers.{handler}",
            Role=role,
            Timeout=20,
            Code={"ZipFile": archive.getvalue()},
            Environment={"Variables": variables},
        )
        return name

    def create_role(self, action: str) -> str:
        """A role for functions that permits one action; returns its ARN."""
        roles = self.client("iam")
        trust = {
            "Effect": "Allow",
            "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": "sts:AssumeRole",
        }
        grant = {"Effect": "Allow", "Action": action, "Resource": "*"}
        name = f"probe-{uuid.uuid4().hex[:8]}"
        created = roles.create_role(
            RoleName=name, AssumeRolePolicyDocument=json.dumps({"Statement": [trust]})
        )
        policy = json.dumps({"Version": "2012-10-17", "Statement": [grant]})
        roles.put_role_policy(RoleName=name, PolicyName="grant", PolicyDocument=policy)
        return str(created["Role"]["Arn"])

    def invoke(self, function: str, event: dict[str, Any]) -> tuple[str | None, Any]:
        """(FunctionError, payload) of a direct invocation."""
        answer = self.functions.invoke(FunctionName=function, Payload=json.dumps(event))
        return answer.get("FunctionError"), json.loads(answer["Payload"].read())

    def create_queue(self) -> str:
        """A high-throughput FIFO queue as the product's task queues are; returns its URL."""
        attributes = {
            "FifoQueue": "true",
            "DeduplicationScope": "messageGroup",
            "FifoThroughputLimit": "perMessageGroupId",
            "VisibilityTimeout": "60",
        }
        name = f"probe-{uuid.uuid4().hex[:8]}.fifo"
        return str(self.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])

    def send(self, queue: str, group: str, number: int, **body: float) -> None:
        message = {"number": number, "work_s": 0.0, "refusals": 0, "backoff_s": 0} | body
        self.sqs.send_message(
            QueueUrl=queue,
            MessageBody=json.dumps(message),
            MessageGroupId=group,
            MessageDeduplicationId=f"{group}-{number}",
        )

    def receive(self, queue: str, **options: int) -> list[Any]:
        received = self.sqs.receive_message(
            QueueUrl=queue, MessageSystemAttributeNames=["MessageGroupId"], WaitTimeSeconds=0, **options
        )
        return list(received.get("Messages", []))

    def work_through(self, queue: str, deliveries: int, **mapping: Any) -> list[Delivery]:
        """Map the queue to the handler `work`; returns the journal once it has so many lines."""
        journal = self.folder / f"{uuid.uuid4().hex}.jsonl"
        function = self.create_function("work", PROBE_JOURNAL=str(journal))
        arn = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        created = self.functions.create_event_source_mapping(
            EventSourceArn=arn["Attributes"]["QueueArn"],
            FunctionName=function,
            FunctionResponseTypes=["ReportBatchItemFailures"],
            **mapping,
        )
        deadline = time.monotonic() + 15
        lines: list[str] = []
        while len(lines) < deliveries and time.monotonic() < deadline:
            time.sleep(0.05)
            lines = journal.read_text().splitlines() if journal.exists() else []
        # A moment more, for deliveries that must not happen.
        time.sleep(0.3)
        self.functions.delete_event_source_mapping(UUID=created["UUID"])
        return [Delivery(**json.loads(line)) for line in journal.read_text().splitlines()]


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    with pytest.MonkeyPatch.context() as environment, ministack_server() as server:
        for name, value in CLIENT_ENVIRONMENT.items():
            environment.setenv(name, value)
        yield Emulator(server, tmp_path_factory.mktemp("probe"))


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulator]:
    """An emulator that checks calls against IAM policies."""
    with ministack_server(authorize=True) as server:
        yield Emulator(server, tmp_path_factory.mktemp("guarded"))


def numbers_by_group(deliveries: list[Delivery]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = defaultdict(list)
    for delivery in deliveries:
        numbers[delivery.group].append(delivery.number)
    return dict(numbers)


def overlapping(deliveries: list[Delivery]) -> int:
    """The most deliveries that were worked at one moment."""
    return max(sum(d.started <= moment.started < d.ended for d in deliveries) for moment in deliveries)


def test_an_exception_is_reported_by_the_name_of_its_class(emulator: Emulator) -> None:
    failure, payload = emulator.invoke(emulator.create_function("fail"), {"order": 7})

    assert failure == "Unhandled"
    assert payload["errorType"] == "RefusedError"
    assert payload["errorMessage"] == "refused 7"


def test_a_function_sees_its_settings_and_the_time_that_remains(emulator: Emulator) -> None:
    failure, payload = emulator.invoke(emulator.create_function("echo"), {"order": 7})

    assert failure is None
    assert payload["event"] == {"order": 7}
    assert payload["setting"] == "as deployed"
    assert 15_000 < payload["remaining_ms"] <= 20_000


def test_a_warm_invocation_does_not_wait_for_delayed_acknowledgements(emulator: Emulator) -> None:
    function = emulator.create_function("echo")
    durations = []
    for _ in range(20):
        started = time.perf_counter()
        emulator.invoke(function, {})
        durations.append(time.perf_counter() - started)

    # One delayed acknowledgement takes 40 ms, and an unchanged emulator needs two; the best of twenty ignores
    # load.
    assert min(durations) < 0.035


def test_groups_of_a_fifo_queue_are_worked_side_by_side_and_each_in_order(emulator: Emulator) -> None:
    queue = emulator.create_queue()
    for number in range(4):
        for group in "abcde":
            emulator.send(queue, group, number, work_s=0.2)

    deliveries = emulator.work_through(queue, 20, BatchSize=1, ScalingConfig={"MaximumConcurrency": 8})

    assert numbers_by_group(deliveries) == {group: [0, 1, 2, 3] for group in "abcde"}
    assert overlapping(deliveries) >= 3
    assert [overlapping([d for d in deliveries if d.group == group]) for group in "abcde"] == [1] * 5


def test_a_mapping_keeps_to_its_concurrency(emulator: Emulator) -> None:
    queue = emulator.create_queue()
    for group in "abcdefgh":
        emulator.send(queue, group, 0, work_s=0.2)

    deliveries = emulator.work_through(queue, 8, BatchSize=1, ScalingConfig={"MaximumConcurrency": 2})

    assert len(deliveries) == 8
    assert overlapping(deliveries) <= 2


def test_a_refused_message_holds_up_its_group_alone_for_the_time_the_handler_set(emulator: Emulator) -> None:
    queue = emulator.create_queue()
    emulator.send(queue, "a", 0, refusals=1, backoff_s=2)
    emulator.send(queue, "a", 1)
    emulator.send(queue, "b", 0)
    emulator.send(queue, "b", 1)

    deliveries = emulator.work_through(queue, 5, BatchSize=10, ScalingConfig={"MaximumConcurrency": 8})

    first, second = (d for d in deliveries if d.group == "a" and d.number == 0)
    assert [(d.group, d.number, d.attempt) for d in deliveries if d.group == "b"] == [
        ("b", 0, 1),
        ("b", 1, 1),
    ]
    assert (first.refused, second.refused) == (True, False)
    assert (first.attempt, second.attempt) == (1, 2)
    assert 1.9 < second.started - first.ended < 4
    assert numbers_by_group(deliveries)["a"] == [0, 0, 1]
    assert all(d.ended < second.started for d in deliveries if d.group == "b")


def test_a_group_is_locked_while_one_of_its_messages_is_in_flight(emulator: Emulator) -> None:
    queue = emulator.create_queue()
    emulator.send(queue, "a", 0)
    emulator.send(queue, "a", 1)
    emulator.send(queue, "b", 0)

    [first] = emulator.receive(queue, MaxNumberOfMessages=1)
    others = emulator.receive(queue, MaxNumberOfMessages=10)
    emulator.sqs.change_message_visibility(
        QueueUrl=queue, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0
    )
    again = emulator.receive(queue, MaxNumberOfMessages=10)

    assert [message["Attributes"]["MessageGroupId"] for message in others] == ["b"]
    assert [json.loads(message["Body"])["number"] for message in again] == [0, 1]


def test_a_message_with_a_used_deduplication_id_is_swallowed(emulator: Emulator) -> None:
    queue = emulator.create_queue()
    emulator.send(queue, "a", 0)
    emulator.send(queue, "a", 0)

    assert len(emulator.receive(queue, MaxNumberOfMessages=10)) == 1


def test_a_message_may_have_one_mebibyte_and_no_more(emulator: Emulator) -> None:
    queue = emulator.create_queue()
    message = {"QueueUrl": queue, "MessageGroupId": "a"}
    emulator.sqs.send_message(**message, MessageBody="x" * ONE_MIB, MessageDeduplicationId="fits")

    with pytest.raises(ClientError):
        emulator.sqs.send_message(
            **message, MessageBody="x" * (ONE_MIB + 1), MessageDeduplicationId="does not"
        )

    [received] = emulator.receive(queue, MaxNumberOfMessages=10)
    assert len(received["Body"]) == ONE_MIB


@pytest.fixture(scope="module")
def machines(emulator: Emulator) -> dict[str, str]:
    """An Express machine per handler: its single state invokes it; name of the handler -> ARN."""
    client = emulator.client("stepfunctions")
    arns = {}
    for handler in ("echo", "fail"):
        state = {
            "Type": "Task",
            "Resource": "arn:aws:states:::lambda:invoke",
            "Parameters": {"FunctionName": emulator.create_function(handler), "Payload.$": "$"},
            "OutputPath": "$.Payload",
            "End": True,
        }
        definition = json.dumps({"StartAt": "Only", "States": {"Only": state}})
        created = client.create_state_machine(
            name=f"probe-{handler}", definition=definition, roleArn=ROLE, type="EXPRESS"
        )
        arns[handler] = created["stateMachineArn"]
    return arns


def test_a_synchronous_execution_answers_with_its_output(
    emulator: Emulator, machines: dict[str, str]
) -> None:
    client = emulator.client("stepfunctions")

    answer = client.start_sync_execution(stateMachineArn=machines["echo"], input='{"order": 7}')

    assert answer["status"] == "SUCCEEDED"
    assert json.loads(answer["output"])["event"] == {"order": 7}


def test_a_failed_synchronous_execution_names_the_class_of_the_exception(
    emulator: Emulator, machines: dict[str, str]
) -> None:
    client = emulator.client("stepfunctions")

    answer = client.start_sync_execution(stateMachineArn=machines["fail"], input='{"order": 7}')

    assert (answer["status"], answer["error"]) == ("FAILED", "RefusedError")
    assert json.loads(answer["cause"])["errorMessage"] == "refused 7"


def test_a_state_that_waits_for_a_token_fails_without_heartbeats_and_waits_on_with_them(
    emulator: Emulator,
) -> None:
    client, queue = (
        emulator.client("stepfunctions"),
        emulator.sqs.create_queue(QueueName="tokens")["QueueUrl"],
    )
    state = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "Parameters": {"QueueUrl": queue, "MessageBody": {"token.$": "$$.Task.Token"}},
        "HeartbeatSeconds": 1,
        "End": True,
    }
    definition = json.dumps({"StartAt": "Only", "States": {"Only": state}})
    machine = client.create_state_machine(name="probe-token", definition=definition, roleArn=ROLE)[
        "stateMachineArn"
    ]

    def ended(execution: str) -> dict[str, Any]:
        while (told := client.describe_execution(executionArn=execution))["status"] == "RUNNING":
            time.sleep(0.1)
        return dict(told)

    silent = client.start_execution(stateMachineArn=machine)["executionArn"]
    assert (ended(silent)["status"], ended(silent)["error"]) == ("FAILED", "States.HeartbeatTimeout")
    emulator.sqs.purge_queue(QueueUrl=queue)

    beating = client.start_execution(stateMachineArn=machine)["executionArn"]
    [received] = emulator.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=5)["Messages"]
    token = json.loads(received["Body"])["token"]
    for _ in range(6):
        time.sleep(0.4)
        client.send_task_heartbeat(taskToken=token)
    client.send_task_success(taskToken=token, output='{"done": true}')
    assert ended(beating)["output"] == '{"done": true}'


def test_a_data_key_is_refused_under_another_encryption_context(emulator: Emulator) -> None:
    kms = emulator.client("kms")
    key = kms.create_key()["KeyMetadata"]["KeyId"]
    sealed = kms.generate_data_key(KeyId=key, KeySpec="AES_256", EncryptionContext={"tenant": "acme"})

    opened = kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext={"tenant": "acme"})
    with pytest.raises(ClientError) as other:
        kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"], EncryptionContext={"tenant": "other"})
    with pytest.raises(ClientError) as none:
        kms.decrypt(CiphertextBlob=sealed["CiphertextBlob"])

    assert opened["Plaintext"] == sealed["Plaintext"]
    assert other.value.response["Error"]["Code"] == "InvalidCiphertextException"
    assert none.value.response["Error"]["Code"] == "InvalidCiphertextException"


def test_with_authorization_a_function_may_do_what_its_role_may_and_no_more(guarded: Emulator) -> None:
    permitted = guarded.create_function("list_queues", role=guarded.create_role("sqs:ListQueues"))
    refused = guarded.create_function("list_queues", role=guarded.create_role("sqs:GetQueueUrl"))

    assert guarded.invoke(permitted, {}) == (None, 0)
    failure, payload = guarded.invoke(refused, {})
    assert failure == "Unhandled"
    assert "not authorized to perform: sqs:ListQueues" in payload["errorMessage"]


def test_with_authorization_plain_requests_count_as_secured(guarded: Emulator) -> None:
    buckets = guarded.client("s3")
    buckets.create_bucket(Bucket="probe")
    arns = ["arn:aws:s3:::probe", "arn:aws:s3:::probe/*"]
    insecure = {"Bool": {"aws:SecureTransport": "false"}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": arns, "Condition": insecure}
    buckets.put_bucket_policy(
        Bucket="probe", Policy=json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    )

    buckets.put_object(Bucket="probe", Key="order", Body=b"x")

    assert buckets.get_object(Bucket="probe", Key="order")["Body"].read() == b"x"
