"""Every task has a sample that fits it, and no sample is left over."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ingress.accept import _read_text
from ingress.deliveries import PROVIDERS
from ingress.platform_api.bodies import read_body, read_idempotency_key
from ingress.platform_api.validation import check_event, check_payload
from ingress.receiver import _read_request
from ingress.strict_json import parse_object
from tests.conftest import ROOT
from tradewind.contracts.shopify import COMPLIANCE_TOPICS, SUBSCRIBED_TOPICS
from tradewind.integrations.shopify.webhook import entity_of
from tradewind.tasks.message import Source, queue_name, read_message, shard_of
from tradewind.tasks.registry import discover

EVENTS = ROOT / "events"
REGISTRY = discover(ROOT / "functions")
TASKS = {task.id: task for task in REGISTRY if not task.id.startswith("test-")}
SAMPLE_SECRET = b"acme-app-secret"
"""The secret that signed the receiver's sample. It opens nothing."""
DIRECT_ONLY = {Source.WORKFLOW}
API_SAMPLES = ("api-event.json", "api-task.json", "api-run.json")
WEBHOOK_BODIES = sorted(path for path in (EVENTS / "apigateway").glob("*__*.json"))


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_each_task_has_one_sample_and_no_sample_is_left_over() -> None:
    wanted = {f"{task.domain}/{task.id}.json" for task in TASKS.values()}
    present = {
        str(path.relative_to(EVENTS))
        for path in EVENTS.rglob("*")
        if path.is_file() and path.parent.name not in {"apigateway", "sqs"}
    }
    assert present == wanted


@pytest.mark.parametrize("task_id", TASKS)
def test_sample_fits_its_task(task_id: str) -> None:
    task = TASKS[task_id]
    sample = read(EVENTS / task.domain / f"{task_id}.json")
    assert set(sample) == {"tenant", "payload"}
    assert sample["tenant"] == "acme"
    payload = task.payload.model_validate(sample["payload"])
    assert payload.model_fields_set, "a sample that sets nothing shows nothing"
    if task.entity is not None:
        assert getattr(payload, task.entity)


def test_each_source_that_uses_queues_has_a_record() -> None:
    wanted = set(Source) - DIRECT_ONLY
    if not any(task.events for task in TASKS.values()):
        wanted.remove(Source.EVENT)
    assert {path.stem for path in (EVENTS / "sqs").iterdir()} == {str(source) for source in wanted}


@pytest.mark.parametrize("path", sorted((EVENTS / "sqs").glob("*.json")), ids=lambda path: path.stem)
def test_record_is_what_the_dispatcher_would_send(path: Path) -> None:
    [record] = read(path)["Records"]
    message = read_message(record["body"])
    task = TASKS[message.task]
    assert message.to_json() == record["body"]
    assert message.source == path.stem
    assert message.payload is not None
    task.payload.model_validate(message.payload)
    attributes = record["attributes"]
    shard = shard_of(message.entity or message.cause, task.cap)
    assert attributes["MessageGroupId"] == f"{message.tenant_id}#{shard}"
    assert attributes["MessageDeduplicationId"] == f"{message.key}-0"
    queue = queue_name("local", message.task, message.lane)
    assert record["eventSourceARN"].rsplit(":", 1)[-1] == queue
    assert record["md5OfBody"] == hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
    assert {"messageId", "receiptHandle"} <= set(record)


def test_receivers_sample_is_verified_and_routed() -> None:
    event = read(EVENTS / "apigateway" / "receiver.json")
    assert event["version"] == "2.0"
    path = event["pathParameters"]
    assert event["rawPath"] == f"/webhooks/{path['provider']}"
    request = _read_request(event, path)
    provider = PROVIDERS[request.provider]
    assert provider.account_of(request) == "acme.myshopify.com"
    assert provider.verify(request, [SAMPLE_SECRET])
    assert not provider.verify(request, [b"another"])
    assert int(request.headers["content-length"]) == len(request.raw_body)
    delivery = provider.read(request)
    body = parse_object(_read_text(request.raw_body))
    assert provider.entity_of(delivery.topic, body) == str(body["id"])
    [task_id] = REGISTRY.routes()[request.provider][delivery.topic]
    TASKS[task_id].payload.model_validate(body)


@pytest.mark.parametrize("name", API_SAMPLES)
def test_apis_sample_is_what_its_route_takes(name: str) -> None:
    """What API Gateway hands over; its body is what the event type or task takes."""
    event = read(EVENTS / "apigateway" / name)
    method, route = event["routeKey"].split()
    [(parameter, target)] = event["pathParameters"].items()
    assert method == event["requestContext"]["http"]["method"]
    assert event["rawPath"] == route.replace(f"{{{parameter}}}", target)
    assert event["headers"]["authorization"].startswith("Bearer twk_")
    if method == "POST":
        body = read_body(event, event["headers"], 4096)
        assert read_idempotency_key(event["headers"])
        (check_event if parameter == "type" else check_payload)(target, body.content)


def test_no_file_beside_the_samples_of_requests_but_bodies_of_topics() -> None:
    present = {path.name for path in (EVENTS / "apigateway").iterdir()}
    assert present == {"receiver.json", *API_SAMPLES, *(path.name for path in WEBHOOK_BODIES)}


@pytest.mark.parametrize("path", WEBHOOK_BODIES, ids=lambda path: path.stem)
def test_webhook_body_fits_what_is_done_with_its_topic(path: Path) -> None:
    """A topic that no task has and nobody subscribes to is answered before its body is looked at."""
    topic = path.stem.replace("__", "/")
    body = read(path)
    assert isinstance(body, dict)
    tasks = REGISTRY.routes()["shopify"].get(topic, [])
    if tasks or topic in SUBSCRIBED_TOPICS or topic in COMPLIANCE_TOPICS:
        assert entity_of(topic, body)
    for task_id in tasks:
        TASKS[task_id].payload.model_validate(body)
