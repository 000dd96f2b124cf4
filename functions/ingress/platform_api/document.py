"""The API's own description, OpenAPI 3.1, made from what is deployed: a path for each event type and each task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ingress.collecting_api.requests import DEVICES, MAX_TOUCHES, TYPES
from ingress.manifest import Manifest
from ingress.platform_api.answers import PROBLEM
from ingress.platform_api.callers import PUBLISH, READ, RUN, SCOPES, TENANT_HEADER
from ingress.platform_api.doors import SECURITY_SCHEMES, door_paths, door_schemas
from tradewind.contracts.events import EVENTS

Json = dict[str, Any]
STATES = ("held", "queued", "running", "retrying", "waiting", "succeeded", "failed")
ATTEMPT_FIELDS = ("number", "started_at", "ended_at", "error_class", "message")
REFUSALS = {
    "400": "A header, the body or a field of it cannot be; `field` and `remedy` say which and what to send.",
    "401": "No API key, or one that is unknown, expired or revoked; below `/platform`, no AWS signature.",
    "403": "The key has not the scope, or the tenant has uninstalled.",
    "404": "There is no such event type, task or run; or, for the platform's own services, no such tenant.",
    "409": "The idempotency key was used with another body.",
    "413": "The body is too large.",
    "415": "The body is not said to be JSON.",
    "429": "Too many requests at once: the gateway's own limit.",
    "503": "Nothing was kept; ask again after `Retry-After` seconds.",
}
OF_A_LOOK_UP = ("400", "401", "403", "404", "429", "503")


def describe_api(manifest: Manifest, payloads: Mapping[str, Json]) -> Json:
    """The document. ``payloads`` are the tasks' payloads as JSON schemas."""
    schemas = {**_own_schemas(), **door_schemas()}
    paths: Json = {}
    for prefix in ("", "/platform"):
        for kind in sorted(manifest.events):
            body = _hoist(f"event.{kind}", EVENTS[kind].model_json_schema(), schemas)
            operation = _post(prefix, f"publish.{kind}", f"Publish {kind}", body, "EventAccepted", PUBLISH)
            paths[f"{prefix}/events/{kind}"] = {"post": operation}
        for task in sorted(manifest.tasks):
            body = _hoist(f"payload.{task}", payloads[task], schemas)
            operation = _post(prefix, f"run.{task}", f"Run {task}", body, "RunAccepted", RUN)
            paths[f"{prefix}/tasks/{task}/runs"] = {"post": operation}
        paths[f"{prefix}/runs/{{id}}"] = {"get": _look_up(prefix)}
    paths["/collect"] = {"post": _collect()}
    paths["/openapi.json"] = {"get": _itself()}
    paths |= door_paths()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tradewind",
            "version": "1.0.0",
            "description": "Publish events, run tasks, and see how a run goes. A request may be repeated under its"
            " idempotency key for 30 days: it is done once and answered alike. Beside it stand the doors of"
            " storefronts' pages, of e-mails' recipients and of providers.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "parameters": _parameters(),
            "responses": {f"refused-{status}": _refused(status) for status in REFUSALS},
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": f"A tenant's API key. Scopes: {', '.join(SCOPES)}, each also narrowed to one event"
                    " type or task, such as `events:publish:touchpoint.recorded`.",
                },
                "iam": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "Authorization",
                    "description": "AWS Signature Version 4 of a role that may `execute-api:Invoke` the path.",
                    "x-amazon-apigateway-authtype": "awsSigv4",
                },
                **SECURITY_SCHEMES,
            },
        },
    }


def _post(prefix: str, name: str, summary: str, body: str, answer: str, scope: str) -> Json:
    parameters = [_ref("parameters", "IdempotencyKey"), *_tenant(prefix)]
    return {
        "operationId": f"platform.{name}" if prefix else name,
        "summary": summary,
        "security": _security(prefix, scope),
        "parameters": parameters,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("schemas", body)}},
        },
        "responses": {
            "202": {"description": "Kept; it will be done.", "content": _json(answer)},
            **{status: _ref("responses", f"refused-{status}") for status in REFUSALS},
        },
    }


def _look_up(prefix: str) -> Json:
    return {
        "operationId": "platform.runs.get" if prefix else "runs.get",
        "summary": "Where a run stands",
        "security": _security(prefix, READ),
        "parameters": [_ref("parameters", "RunId"), *_tenant(prefix)],
        "responses": {
            "200": {"description": "The run.", "content": _json("Run")},
            **{status: _ref("responses", f"refused-{status}") for status in OF_A_LOOK_UP},
        },
    }


def _itself() -> Json:
    return {
        "operationId": "document.get",
        "summary": "This document",
        "security": [],
        "responses": {
            "200": {
                "description": "OpenAPI 3.1.",
                "content": {"application/json": {"schema": {"type": "object"}}},
            },
            "429": _ref("responses", "refused-429"),
        },
    }


def _collect() -> Json:
    refused = ("400", "401", "403", "413", "429", "503")
    return {
        "operationId": "touches.collect",
        "summary": "Keep what a storefront's visitors do, up to 100 touches",
        "description": "For pages that everybody can read: the key may also stand in the body or the address. The same"
        " touch (its `touch_id`, or all that is told of it) is kept once, so send a batch again after 503 or 429.",
        "security": [{"apiKey": ["touchpoints:collect"]}],
        "requestBody": {"required": True, "content": _json("Touches")},
        "responses": {
            "202": {"description": "Every touch is kept.", "content": _json("TouchesKept")},
            **{status: _ref("responses", f"refused-{status}") for status in refused},
        },
    }


def _touches() -> Json:
    """What ``ingress.collecting_api.requests`` reads."""
    short, tag = {"type": "string", "minLength": 1, "maxLength": 128}, {"type": "string", "maxLength": 256}
    address = {"type": "string", "maxLength": 4096}
    touch = {
        "occurred_at": {"type": "string", "format": "date-time", "description": "Within the last 48 hours."},
        "visitor_id": short,
        "session_id": short,
        "touch_id": {**short, "description": "Your own id of the touch."},
        "type": {"enum": list(TYPES)},
        "landing_page": address,
        "referrer_url": address,
        "utm": {
            "type": "object",
            "properties": {"source": tag, "medium": tag, "campaign": tag},
            "additionalProperties": False,
        },
        "device": {"enum": list(DEVICES)},
    }
    item = {"type": "object", "required": ["visitor_id", "occurred_at"], "additionalProperties": False}
    listed = {"type": "array", "minItems": 1, "maxItems": MAX_TOUCHES, "items": {**item, "properties": touch}}
    return {
        "type": "object",
        "required": ["touches"],
        "properties": {"key": {"type": "string"}, "touches": listed},
        "additionalProperties": False,
    }


def _refused(status: str) -> Json:
    """What the gateway itself refuses has its own, smaller shape."""
    ours, gateways = {PROBLEM: {"schema": _ref("schemas", "Problem")}}, _json("GatewayMessage")
    content = {"403": ours | gateways, "429": gateways, "503": ours | gateways}.get(status, ours)
    made: Json = {"description": REFUSALS[status], "content": content}
    if status == "503":
        made["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return made


def _parameters() -> Json:
    return {
        "IdempotencyKey": {
            "name": "Idempotency-Key",
            "in": "header",
            "required": True,
            "description": "The same when you ask again; counts for the tenant and the event type or task.",
            "schema": {"type": "string", "pattern": "^[!-~]{1,255}$", "minLength": 1, "maxLength": 255},
        },
        "RunId": {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "format": "uuid"},
        },
        "Tenant": {
            "name": TENANT_HEADER,
            "in": "header",
            "required": False,
            "description": "A tenant's slug or id. Only what belongs to no tenant goes without.",
            "schema": {"type": "string"},
        },
    }


def _own_schemas() -> Json:
    text, moment = {"type": "string"}, {"type": "string", "format": "date-time"}
    run_id = {"type": "string", "format": "uuid"}
    begun = {"type": "object", "required": ["task", "run_id"], "properties": {"task": text, "run_id": run_id}}
    attempt = {"number": {"type": "integer"}, "started_at": moment, "ended_at": moment}
    attempt |= {"error_class": text, "message": text}
    run = {
        "run_id": run_id,
        "task": text,
        "source": text,
        "state": {"enum": list(STATES)},
        "attempt": {"type": "integer", "description": "The present attempt; 0 before the first."},
        "attempts": {
            "type": "array",
            "description": "Attempts that failed.",
            "items": {"type": "object", "required": list(ATTEMPT_FIELDS), "properties": attempt},
        },
        "result": {"description": "What the task returned; null until then."},
        "correlation_id": text,
        "replay_of": _or_null(run_id),
        "accepted_at": moment,
        "started_at": _or_null(moment),
        "finished_at": _or_null(moment),
        "next_attempt_at": _or_null(moment),
    }
    return {
        "Problem": {
            "type": "object",
            "required": ["status", "title", "detail"],
            "properties": {
                "status": {"type": "integer"},
                "title": text,
                "detail": text,
                "field": {"type": "string", "description": "A header's name, or the path in the body."},
                "remedy": {"type": "string", "description": "What to do about it."},
            },
        },
        "GatewayMessage": {"type": "object", "properties": {"message": text}},
        "EventAccepted": _exactly(
            {"event": text, "runs": {"type": "array", "items": begun}, "duplicate": {"type": "boolean"}}
        ),
        "RunAccepted": _exactly({"task": text, "run_id": run_id, "duplicate": {"type": "boolean"}}),
        "Run": _exactly(run),
        "Touches": _touches(),
        "TouchesKept": _exactly({"accepted": {"type": "integer"}, "duplicates": {"type": "integer"}}),
    }


def _exactly(properties: Json) -> Json:
    return {
        "type": "object",
        "required": list(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _or_null(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _hoist(name: str, schema: Json, into: Json) -> str:
    """Put a schema and its own definitions among the components; returns its name there."""
    if name not in into:
        own = {f"#/$defs/{each}": f"{name}.{each}" for each in schema.get("$defs", {})}
        for pointer, target in own.items():
            into[target] = _relinked(schema["$defs"][pointer.rsplit("/", 1)[-1]], own)
        into[name] = _relinked({key: value for key, value in schema.items() if key != "$defs"}, own)
    return name


def _relinked(value: Any, own: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_relinked(item, own) for item in value]
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("$ref"), str) and value["$ref"] in own:
        return {**value, "$ref": f"#/components/schemas/{own[value['$ref']]}"}
    return {name: _relinked(item, own) for name, item in value.items()}


def _security(prefix: str, scope: str) -> list[Json]:
    return [{"iam": []}] if prefix else [{"apiKey": [scope]}]


def _tenant(prefix: str) -> list[Json]:
    return [_ref("parameters", "Tenant")] if prefix else []


def _json(schema: str) -> Json:
    return {"application/json": {"schema": _ref("schemas", schema)}}


def _ref(kind: str, name: str) -> Json:
    return {"$ref": f"#/components/{kind}/{name}"}
