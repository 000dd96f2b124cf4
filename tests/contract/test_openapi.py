"""The API's document: valid, complete, and true to what the API does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import fastjsonschema
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from ingress.collecting_api.requests import read_touches
from ingress.experiments_api.requests import read_assignment_request, read_events
from ingress.manifest import load_manifest, load_payload_schemas
from ingress.platform_api.answers import RefusedError
from ingress.platform_api.document import REFUSALS, describe_api
from tests.conftest import ROOT
from tradewind.contracts.events import EVENTS
from tradewind.tasks.registry import discover

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MANIFEST = load_manifest()
REGISTRY = discover(ROOT / "functions")
DOCUMENT: dict[str, Any] = json.loads(json.dumps(describe_api(MANIFEST, load_payload_schemas())))

DOORS = {
    "/collect": {"apiKey"},
    "/ab/events": {"apiKey", "keyInAddress"},
    "/ab/assignments": {"apiKey", "keyInAddress"},
    "/unsubscribe/{token}": set(),
    "/webhooks/resend": {"svix"},
    "/webhooks/resend/{account}": {"svix"},
    "/webhooks/shopify": {"shopifyHmac"},
    "/webhooks/shopify/{app}": {"shopifyHmac"},
}
"""What is open to the world and answers for itself, and how one proves to be who may."""


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def schema_of(path: str) -> dict[str, Any]:
    """A request's schema, with the document's components, so that it can be asked by itself."""
    body = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return {**body, "components": DOCUMENT["components"]}


def test_document_is_valid_openapi() -> None:
    validate(DOCUMENT, cls=OpenAPIV31SpecValidator)


@pytest.mark.parametrize("prefix", ["", "/platform"])
def test_each_event_type_and_task_has_a_path(prefix: str) -> None:
    wanted = {f"{prefix}/events/{kind}" for kind in EVENTS}
    wanted |= {f"{prefix}/tasks/{task}/runs" for task in MANIFEST.tasks} | {f"{prefix}/runs/{{id}}"}
    own = {path for path in DOCUMENT["paths"] if path.startswith("/platform") == bool(prefix)}
    assert own - {"/openapi.json", *DOORS} == wanted


def test_each_operation_says_who_may_and_how_it_may_end() -> None:
    names = [operation["operationId"] for _, _, operation in operations()]
    assert len(set(names)) == len(names)
    for path, method, operation in operations():
        schemes = {name for each in operation["security"] for name in each}
        usual = set() if path == "/openapi.json" else {"iam"} if path.startswith("/platform") else {"apiKey"}
        assert schemes == DOORS.get(path, usual)
        ends = set(operation["responses"])
        if path in DOORS:
            assert ends >= {"429", "503"}
        else:
            assert ends >= ({"202", *REFUSALS} if method == "post" else {"200", "429"})


@pytest.mark.parametrize("task", [task for task in MANIFEST.tasks if not task.startswith("test-")])
def test_tasks_sample_is_what_its_path_takes(task: str) -> None:
    """A sample may be a webhook's body; then it is what the task reads of it."""
    domain = MANIFEST.tasks[task]["domain"]
    sample = json.loads((ROOT / "events" / domain / f"{task}.json").read_text())["payload"]
    read = REGISTRY.get(task).payload.model_validate(sample).model_dump(mode="json")
    check = fastjsonschema.compile(schema_of(f"/tasks/{task}/runs"), use_default=False)
    check(read)
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        check({**read, "no_such_field": 1})


def test_an_events_definitions_are_found_among_the_components() -> None:
    check = fastjsonschema.compile(schema_of("/events/touchpoint.recorded"), use_default=False)
    touch = {"occurred_at": "2026-11-20T12:00:00Z", "visitor_id": "v", "utm": {"source": "x"}}
    check(touch)
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        check({**touch, "utm": {"sauce": "x"}})
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        check({"occurred_at": "2026-11-20T12:00:00Z"})


def test_touches_that_the_document_allows_are_taken() -> None:
    touch = {
        "occurred_at": "2026-11-20T12:00:00Z",
        "visitor_id": "v",
        "device": "phone",
        "utm": {"source": "x"},
    }
    check = fastjsonschema.compile(schema_of("/collect"), use_default=False)
    for told, fits in (
        (touch, True),
        ({**touch, "customer_id": 7}, False),
        ({"visitor_id": "v"}, False),
        ({**touch, "device": "watch"}, False),
    ):
        body = {"touches": [told]}
        if fits:
            check(body)
            assert len(read_touches(body, datetime(2026, 11, 20, 13, tzinfo=UTC))) == 1
            continue
        with pytest.raises(fastjsonschema.JsonSchemaValueException):
            check(body)
        with pytest.raises(RefusedError):
            read_touches(body, datetime(2026, 11, 20, 13, tzinfo=UTC))


EVENT = {
    "event_id": "e-1",
    "test_id": "hero",
    "visitor_id": "v-1",
    "type": "page_view",
    "occurred_at": "2026-11-25T12:00:00+00:00",
}
BOUGHT = {**EVENT, "type": "purchase", "order_id": 1001, "value_cents": 100}


@pytest.mark.parametrize(
    ("path", "body", "fits"),
    [
        ("/ab/events", {"events": [EVENT], "key": "twk_1"}, True),
        ("/ab/events", {"events": [BOUGHT]}, True),
        ("/ab/events", {"events": []}, False),
        ("/ab/events", {"events": [EVENT] * 101}, False),
        ("/ab/events", {"events": [{**EVENT, "type": "hover"}]}, False),
        ("/ab/events", {"events": [{**EVENT, "type": "purchase"}]}, False),
        ("/ab/events", {"events": [{**BOUGHT, "order_id": 0}]}, False),
        ("/ab/events", {"events": [{**EVENT, "test_id": "-"}]}, False),
        ("/ab/events", {"events": [{**EVENT, "context": {"device": "phone", "cart.lines": 3}}]}, True),
        ("/ab/events", {"events": [{**EVENT, "context": {"Device": "phone"}}]}, False),
        ("/ab/assignments", {"visitor_id": "v-1", "tests": ["hero"]}, True),
        ("/ab/assignments", {"visitor_id": ""}, False),
        ("/ab/assignments", {"visitor_id": "v-1", "tests": ["a b"]}, False),
        ("/ab/assignments", {"visitor_id": "v-1", "more": 1}, False),
    ],
)
def test_doors_of_ab_tests_take_what_their_schema_takes(path: str, body: dict[str, Any], fits: bool) -> None:
    """The door reads by hand, since it starts fast: the two must not come apart."""
    read: dict[str, Callable[[], object]] = {
        "/ab/events": lambda: read_events(body, NOON),
        "/ab/assignments": lambda: read_assignment_request(body),
    }
    check = fastjsonschema.compile(schema_of(path), use_default=False)
    if fits:
        check(body)
        read[path]()
        return
    with pytest.raises(fastjsonschema.JsonSchemaValueException):
        check(body)
    with pytest.raises(RefusedError):
        read[path]()
