"""Calls to queues, objects and keys, with moto in AWS's place over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.unit.scripted import QUEUE, REGION, Clients, entry
from tradewind.aws.client import AwsRefusedError
from tradewind.aws.keys import KeyService
from tradewind.aws.objects import PayloadStore
from tradewind.aws.queues import Entry
from tradewind.errors import (
    CredentialsRejectedError,
    NotFoundError,
)
from tradewind.tenancy.credentials import CredentialVault, Label, Sealed

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
        service,
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


def test_keys_below_a_prefix_are_listed_in_order_a_page_at_a_time(clients: Clients, cloud: str) -> None:
    boto(cloud, "s3").create_bucket(Bucket="listed")
    store = PayloadStore(clients.at(cloud), "listed", REGION)
    wanted = [f"tenants/a/ü & <{number:04}>.json" for number in range(1003)]
    for key in [*wanted, "tenants/b/other.json"]:
        store.put(key, b"{}")
    first = store.list("tenants/a/")
    assert (len(first), first[0]) == (1000, wanted[0])
    assert [*first, *store.list("tenants/a/", first[-1])] == wanted
    assert store.list("tenants/a/", wanted[-1]) == []
    store.delete(wanted[0])
    store.delete(wanted[0])
    assert store.list("tenants/a/")[0] == wanted[1]


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
