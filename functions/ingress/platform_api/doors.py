"""The doors beside the platform's own API, as the description has them: storefronts' pages, recipients, providers."""

from __future__ import annotations

from typing import Any

from ingress.experiments_api.requests import MAX_BODY, MAX_CONTEXT, MAX_EVENTS, TYPES
from ingress.platform_api.answers import PROBLEM
from tradewind.contracts.experiments import Reason

Json = dict[str, Any]
_IDENTIFIER: Json = {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"}
_TOLD: Json = {"type": "string", "minLength": 1, "maxLength": 128, "pattern": "^[^\\u0000-\\u001f]+$"}
_NUMBER: Json = {"type": "integer", "minimum": 1, "maximum": 2**63 - 1}
_KEY: Json = {"type": "string", "description": "The key, where a beacon can set no header."}
_CONTEXT: Json = {
    "type": "object",
    "maxProperties": MAX_CONTEXT,
    "propertyNames": {"pattern": "^[a-z][a-z0-9_.]{0,63}$"},
    "additionalProperties": {"anyOf": [_TOLD, {"type": "number"}, {"type": "boolean"}]},
    "description": "What targeting rules look at, such as device, country, utm_source.",
}
_VISITOR: Json = {"visitor_id": _TOLD, "session_id": _TOLD, "customer_id": _NUMBER, "context": _CONTEXT}
_REFUSED_PAGES = ("400", "401", "403", "413", "503")
_SIGNED = {
    "resend": ("svix", "account", "A tenant's own account; without it, the platform's."),
    "shopify": ("shopifyHmac", "app", "An app of its own; without it, the default one."),
}
"""Provider -> what it signs with, and what may follow in the address."""

SECURITY_SCHEMES: Json = {
    "keyInAddress": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "The same key with the scope `ab:collect`, where a page sets no header.",
    },
    "svix": {
        "type": "apiKey",
        "in": "header",
        "name": "svix-signature",
        "description": "HMAC-SHA256 of `svix-id`, `svix-timestamp` and the body, under the account's webhook secret.",
    },
    "shopifyHmac": {
        "type": "apiKey",
        "in": "header",
        "name": "x-shopify-hmac-sha256",
        "description": "HMAC-SHA256 of the body, under the app's secret.",
    },
}


def door_paths() -> Json:
    """Paths of every door that is open to the world and answers for itself."""
    paths: Json = {
        "/ab/events": {"post": _events()},
        "/ab/assignments": {"get": _assignments_by_query(), "post": _assignments_by_body()},
        "/unsubscribe/{token}": {"get": _unsubscribe("get"), "post": _unsubscribe("post")},
    }
    for provider, (scheme, part, about) in _SIGNED.items():
        paths[f"/webhooks/{provider}"] = {"post": _webhook(provider, scheme)}
        parameter = {**_path(part, "^[a-z0-9][a-z0-9-]{0,39}$"), "description": about}
        paths[f"/webhooks/{provider}/{{{part}}}"] = {"post": _webhook(provider, scheme, parameter)}
    return paths


def door_schemas() -> Json:
    """What these doors take and answer."""
    text, count = {"type": "string"}, {"type": "integer", "minimum": 0}
    event = {
        "event_id": _TOLD,
        "test_id": _IDENTIFIER,
        "variant_id": {**_IDENTIFIER, "description": "What the page showed, where it chose by itself."},
        **_VISITOR,
        "type": {"enum": list(TYPES)},
        "value_cents": {
            "type": "integer",
            "minimum": 0,
            "exclusiveMaximum": 10**11,
            "description": "Of a purchase.",
        },
        "order_id": {**_NUMBER, "description": "Of a purchase."},
        "occurred_at": {
            "type": "string",
            "format": "date-time",
            "description": "48 hours back at most.",
        },
    }
    needed = ["event_id", "test_id", "visitor_id", "type", "occurred_at"]
    bought = {
        "if": {"required": ["type"], "properties": {"type": {"const": "purchase"}}},
        "then": {"required": ["order_id", "value_cents"]},
    }
    tests = {"type": "array", "items": _IDENTIFIER, "maxItems": MAX_EVENTS}
    told = {
        "test_id": text,
        "variant_id": {"anyOf": [text, {"type": "null"}]},
        "reason": {"enum": list(Reason)},
    }
    return {
        "AbEvent": {**_closed(event, needed), **bought},
        "AbEvents": _closed(
            {
                "events": {"type": "array", "minItems": 1, "maxItems": MAX_EVENTS, "items": _ref("AbEvent")},
                "key": _KEY,
            },
            ["events"],
        ),
        "AbEventsKept": _closed({"accepted": count, "duplicates": count, "left_out": count}),
        "AbQuestion": _closed({**_VISITOR, "tests": tests, "key": _KEY}, ["visitor_id"]),
        "AbAssignments": _closed({"assignments": {"type": "array", "items": _closed(told)}}),
        "WebhookReceipt": {
            "type": "object",
            "properties": dict.fromkeys(("status", "correlation_id", "reason", "error"), text),
            "additionalProperties": False,
        },
    }


def _events() -> Json:
    return {
        "operationId": "ab.events",
        "summary": "Tell what visitors of A/B tests did",
        "description": f"At most {MAX_BODY} bytes. The same event (its id, on its day) counts once: send a batch again"
        " after 429 or 503. Also taken as text/plain, so that no browser asks first.",
        "security": _collecting(),
        "requestBody": _body("AbEvents"),
        "responses": {
            "202": _answer("Every event of a running test is kept; `left_out` counts the others.", "AbEventsKept"),
            **_refusals(),
        },
    }  # fmt: skip


def _assignments_by_query() -> Json:
    tests = "^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(,[A-Za-z0-9][A-Za-z0-9_-]{0,63}){0,99}$"
    return {
        "operationId": "ab.assignments.get",
        "summary": "Which variants a visitor sees",
        "description": "Any other parameter is the visitor's context, such as `device=phone`.",
        "security": _collecting(),
        "parameters": [
            _query("visitor_id", _TOLD, required=True),
            _query("session_id", _TOLD),
            _query("customer_id", _NUMBER),
            _query("tests", {"type": "string", "pattern": tests}),
        ],
        "responses": {"200": _answer("A variant for each test.", "AbAssignments"), **_refusals()},
    }


def _assignments_by_body() -> Json:
    return {
        "operationId": "ab.assignments.post",
        "summary": "Which variants a visitor sees",
        "security": _collecting(),
        "requestBody": _body("AbQuestion"),
        "responses": {"200": _answer("A variant for each test.", "AbAssignments"), **_refusals()},
    }


def _unsubscribe(method: str) -> Json:
    done = {"get": "A page with a button.", "post": "The recipient gets no more of these e-mails."}[method]
    page = {"text/html": {"schema": {"type": "string"}}}
    operation: Json = {
        "operationId": f"unsubscribe.{method}",
        "summary": {"get": "Ask whether to unsubscribe", "post": "Unsubscribe with one click (RFC 8058)"}[method],
        "security": [],
        "parameters": [_path("token", "^[A-Za-z0-9_-]{1,200}$")],
        "responses": {
            "200": {"description": done, "content": page},
            "404": {"description": "The link is none of ours.", "content": page},
            "429": {"$ref": "#/components/responses/refused-429"},
            "503": {"description": "Not possible at the moment.", "content": page},
        },
    }  # fmt: skip
    return operation


def _webhook(provider: str, scheme: str, *parameters: Json) -> Json:
    name = f"webhooks.{provider}" + "".join(f".{each['name']}" for each in parameters)
    return {
        "operationId": name,
        "summary": f"What {provider.title()} tells",
        "security": [{scheme: []}],
        "parameters": list(parameters),
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
        "responses": {
            "200": _answer("Kept: it will be worked, or is a dead letter.", "WebhookReceipt"),
            "202": _answer("Signed, and nothing to do.", "WebhookReceipt"),
            "401": _answer("The signature does not fit.", "WebhookReceipt"),
            "413": _answer("The body is too large.", "WebhookReceipt"),
            "429": {"$ref": "#/components/responses/refused-429"},
            "503": _answer("Nothing was kept; deliver again.", "WebhookReceipt"),
        },
    }


def _refusals() -> Json:
    """Also 429 may be our own: a tenant's limit."""
    problem = {PROBLEM: {"schema": _ref("Problem")}}
    slow_down = {
        "description": "Too many events of the tenant at once; send again after `Retry-After` seconds.",
        "content": {**problem, "application/json": {"schema": _ref("GatewayMessage")}},
    }
    refused = {status: {"$ref": f"#/components/responses/refused-{status}"} for status in _REFUSED_PAGES}
    return {**refused, "429": slow_down}


def _collecting() -> list[Json]:
    return [{"apiKey": ["ab:collect"]}, {"keyInAddress": []}]


def _closed(properties: Json, required: list[str] | None = None) -> Json:
    needed = list(properties) if required is None else required
    return {"type": "object", "required": needed, "properties": properties, "additionalProperties": False}


def _body(schema: str) -> Json:
    return {"required": True, "content": {"application/json": {"schema": _ref(schema)}}}


def _answer(description: str, schema: str) -> Json:
    return {"description": description, "content": {"application/json": {"schema": _ref(schema)}}}


def _query(name: str, schema: Json, *, required: bool = False) -> Json:
    return {"name": name, "in": "query", "required": required, "schema": schema}


def _path(name: str, pattern: str) -> Json:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string", "pattern": pattern}}


def _ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}
