"""Shopify's HTTP surface: Admin GraphQL and OAuth refresh for any shop, and the control of both."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast
from uuid import uuid4

from graphql import GraphQLError

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.provider import Target
from infra.local.sandbox.shopify.bucket import PLANS, Bucket
from infra.local.sandbox.shopify.bulk import Plan
from infra.local.sandbox.shopify.catalogue import KINDS
from infra.local.sandbox.shopify.cost import MAX_QUERY_COST
from infra.local.sandbox.shopify.execution import prepare, read_whole, run
from infra.local.sandbox.shopify.shop import Shop
from infra.local.sandbox.shopify.tokens import RefusedError, TokenBook
from infra.local.sandbox.wire import Reply, Request, json_reply, refusal

_REFRESH = "oauth/access_token"
_STANDARD = PLANS["standard"]


class ShopifyProvider:
    """All shops. ``clock`` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shops: dict[str, Shop] = {}
        self._tokens: dict[str, TokenBook] = {}
        self._buckets: dict[str, Bucket] = {}
        self._restore_per_second = _STANDARD

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:
        shop = rest[0].lower() if rest else ""
        if rest[1:] == ("admin", "oauth", "access_token"):
            return Target(shop, _REFRESH)
        document = _graphql_document(request)
        variables = document.get("variables") or {}
        subject = str(variables.get("id") or variables.get("topic") or variables.get("query") or "")
        name = document.get("operationName") or str(document.get("query", ""))[:40].strip()
        return Target(
            shop, name or "/".join(rest[1:]), subject.rsplit("/", 1)[-1] if "gid:" in subject else subject
        )

    def answer(self, request: Request, rest: tuple[str, ...]) -> tuple[Reply, float]:
        match rest:
            case (shop, "admin", "oauth", "access_token") if request.method == "POST":
                return self._refresh(shop.lower(), request), 0.0
            case (shop, "admin", "api", version, "graphql.json") if request.method == "POST":
                return self._graphql(shop.lower(), version, request)
            case (shop, "bulk", name) if request.method == "GET":
                return self._bulk_result(shop.lower(), name.removesuffix(".jsonl"), request), 0.0
        return json_reply(404, {"errors": "Not Found"}), 0.0

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:
        if fault is Fault.TOO_MANY:
            return json_reply(429, {"errors": "Exceeded rate limit"}, {"retry-after": "1.0"})
        if fault is Fault.THROTTLED and rest[2:3] == ("api",):
            bucket = self._bucket(rest[0].lower())
            bucket.drain()
            prepared = prepare(str(_graphql_document(request).get("query", "")), None)
            costs = prepared.costs
            requested = costs.requested(_graphql_document(request).get("variables") or {}) if costs else 10.0
            return _throttled(bucket, requested)
        return Reply(500, b"<html><body>Internal Server Error</body></html>", {"content-type": "text/html"})

    def _bulk_result(self, shop: str, number: str, request: Request) -> Reply:
        """A finished operation's file, or a range of it."""
        operation = self._shop(shop).bulk.operations.get(number)
        if operation is None or operation.is_open:
            return Reply(404)
        content = operation.content
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", request.headers.get("range", ""))
        if asked is None:
            return Reply(200, content, {"content-type": "application/jsonl"})
        start, end = int(asked[1]), min(int(asked[2]) + 1, len(content))
        if start >= len(content):
            return Reply(416)
        headers = {"content-range": f"bytes {start}-{end - 1}/{len(content)}"}
        return Reply(206, content[start:end], {"content-type": "application/jsonl", **headers})

    def _refresh(self, shop: str, request: Request) -> Reply:
        try:
            document = request.document()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            return json_reply(400, {"error": "invalid_request"})
        try:
            return json_reply(200, self._book(shop).refresh(document))
        except RefusedError as refused:
            return json_reply(
                400, {"error": str(refused), "error_description": f"The request is refused: {refused}"}
            )

    def _graphql(self, shop: str, version: str, request: Request) -> tuple[Reply, float]:
        headers = {"x-shopify-api-version": version, "x-request-id": str(uuid4())}
        if not self._book(shop).accepts(request.headers.get("x-shopify-access-token", "").strip()):
            message = "[API] Invalid API key or access token (unrecognized login or wrong password)"
            return json_reply(401, {"errors": message}, headers), 0.0
        document = _graphql_document(request)
        if not isinstance(document.get("query"), str):
            return json_reply(
                400, {"errors": {"query": "Required parameter missing or invalid"}}, headers
            ), 0.0
        self._shop(shop).base = f"http://{request.headers.get('host', '')}/shopify/{shop}"
        reply, cost = self._execute(shop, document)
        return replace(reply, headers={**reply.headers, **headers}), cost

    def _execute(self, shop: str, document: Mapping[str, Any]) -> tuple[Reply, float]:
        name = document.get("operationName") or None
        prepared = prepare(document["query"], name)
        if prepared.costs is None:
            return replace(json_reply(200, {"errors": _error_list(prepared.errors)}), remark="invalid"), 0.0
        variables = document.get("variables") or {}
        requested = prepared.costs.requested(variables)
        if requested > MAX_QUERY_COST:
            limit = f"which exceeds the single query max cost limit ({MAX_QUERY_COST})"
            message = f"Query cost is {requested:.0f}, {limit}."
            error = {"message": message, "extensions": {"code": "MAX_COST_EXCEEDED", "cost": requested}}
            return replace(json_reply(200, {"errors": [error]}), remark="too costly"), 0.0
        bucket = self._bucket(shop)
        if not bucket.may_take(requested):
            return _throttled(bucket, requested), 0.0
        data, errors = run(prepared, self._shop(shop), variables, name)
        actual = prepared.costs.actual(data)
        bucket.take(actual)
        answer: dict[str, Any] = {
            "data": data,
            "extensions": {"cost": bucket.cost_extension(requested, actual)},
        }
        if errors:
            answer["errors"] = _error_list(errors)
        return replace(json_reply(200, answer), remark="errors" if errors else ""), actual

    def control(  # noqa: PLR0911 - an answer for each thing that can be controlled
        self, request: Request, rest: tuple[str, ...]
    ) -> Reply:
        match (request.method, *rest):
            case (_, shop, "orders", *more):
                return self._control_orders(shop.lower(), more, request)
            case ("POST", shop, "tokens"):
                self._book(shop.lower()).register(_object(request))
                return json_reply(200, {"shop": shop.lower()})
            case ("PUT", shop, "plan"):
                return self._control_plan(shop.lower(), _object(request))
            case ("GET", shop, "subscriptions"):
                return json_reply(200, {"subscriptions": self._shop(shop.lower()).subscriptions})
            case ("GET", shop, "discounts"):
                return json_reply(200, {"discounts": self._shop(shop.lower()).discounts})
            case ("DELETE", shop, "subscriptions"):
                deleted = self._shop(shop.lower()).unsubscribe(request.query.get("topic"))
                return json_reply(200, {"deleted": deleted})
            case (_, shop, "bulk", *more):
                return self._control_bulk(shop.lower(), more, request)
            case ("PUT" | "DELETE", shop, kind, *more) if kind in KINDS:
                return self._control_catalogue(shop.lower(), kind, more, request)
        known = f"orders, bulk, {', '.join(KINDS)}, POST tokens, PUT plan, GET or DELETE subscriptions"
        return refusal(
            404, f"{request.method} {'/'.join(rest)} is unknown; below shopify/{{shop}}/ are {known}"
        )

    def _control_orders(self, shop: str, more: Sequence[str], request: Request) -> Reply:
        known = self._shop(shop)
        if request.method == "PUT":
            document = _object(request)
            if more:
                known.put_order(more[0], document)
                return json_reply(200, {"orders": 1})
            listed = document.get("orders")
            if not isinstance(listed, list):
                raise ValueError('send {"orders": [...]}, each with its id')
            for order in listed:
                known.put_order(_number(order), order)
            return json_reply(200, {"orders": len(listed)})
        if request.method == "GET":
            if not more:
                return json_reply(200, {"orders": [*known.orders]})
            order = known.orders.get(more[0])
            return (
                json_reply(200, order)
                if order is not None
                else refusal(404, f"{shop} has no order {more[0]}")
            )
        if request.method == "DELETE" and more:
            return json_reply(200, {"deleted": int(known.delete_order(more[0]))})
        return refusal(405, "PUT, GET or DELETE an order")

    def _control_catalogue(self, shop: str, kind: str, more: Sequence[str], request: Request) -> Reply:
        """``PUT {"products": [...]}`` in the words of webhooks, ``DELETE .../{number}``."""
        state = self._shop(shop).catalogue
        if request.method == "DELETE" and more:
            return json_reply(200, {"deleted": int(state.delete(kind, more[0]))})
        listed = _object(request).get(kind)
        if request.method != "PUT" or not isinstance(listed, list):
            raise ValueError(f'PUT {{"{kind}": [...]}}, or DELETE one by its number')
        for rest in listed:
            state.put(kind, rest)
        return json_reply(200, {kind: len(listed)})

    def _control_bulk(self, shop: str, more: Sequence[str], request: Request) -> Reply:
        """``PUT`` how operations end, ``GET`` them, ``POST {number}/finish`` one now: the webhook's body."""
        bulk = self._shop(shop).bulk
        match (request.method, *more):
            case ("PUT",):
                bulk.plan = Plan.read(_object(request))
                return json_reply(200, {"outcome": bulk.plan.outcome})
            case ("GET",):
                base = self._shop(shop).base
                return json_reply(
                    200, {"operations": [bulk.node(each, base) for each in bulk.operations.values()]}
                )
            case ("POST", number, "finish") if number in bulk.operations:
                operation = bulk.operations[number]
                if operation.is_open:
                    bulk.finish(operation)
                return json_reply(200, bulk.webhook(operation))
        return refusal(404, "PUT a plan, GET operations, or POST {number}/finish")

    def _control_plan(self, shop: str, document: Mapping[str, Any]) -> Reply:
        """``{"plan": "plus"}`` for a shop; the shop ``*`` stands for all."""
        plan = str(document.get("plan"))
        if plan not in PLANS:
            raise ValueError(f"plan is {plan!r}; send one of {', '.join(PLANS)}")
        if shop == "*":
            self._restore_per_second = PLANS[plan]
            self._buckets.clear()
        else:
            self._buckets[shop] = Bucket(PLANS[plan], self._clock)
        return json_reply(200, {"shop": shop, "plan": plan})

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        return {
            domain: {
                "orders": len(shop.orders),
                "products": len(shop.catalogue.products),
                "customers": len(shop.catalogue.customers),
                "subscriptions": len(shop.subscriptions),
                "points": f"{self._bucket(domain).available:.0f} of {self._bucket(domain).maximum:.0f}",
            }
            for domain, shop in self._shops.items()
        }

    def save(self) -> Any:
        return {
            domain: {
                "orders": shop.orders,
                "subscriptions": shop.subscriptions,
                "catalogue": shop.catalogue.save(),
            }
            for domain, shop in self._shops.items()
        }

    def load(self, state: Any) -> None:
        for domain, kept in state.items():
            shop = self._shop(domain)
            for number, order in kept["orders"].items():
                shop.put_order(number, order)
            shop.subscriptions = list(kept["subscriptions"])
            shop.catalogue.load(kept.get("catalogue", {}))

    def reset(self) -> None:
        self._shops.clear()
        self._tokens.clear()
        self._buckets.clear()
        self._restore_per_second = _STANDARD

    def _shop(self, domain: str) -> Shop:
        return self._shops.setdefault(domain, Shop(domain, read_whole))

    def _book(self, domain: str) -> TokenBook:
        return self._tokens.setdefault(domain, TokenBook(self._clock))

    def _bucket(self, domain: str) -> Bucket:
        if domain not in self._buckets:
            self._buckets[domain] = Bucket(self._restore_per_second, self._clock)
        return self._buckets[domain]


def _graphql_document(request: Request) -> dict[str, Any]:
    try:
        document = json.loads(request.body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _object(request: Request) -> dict[str, Any]:
    document = request.document()
    if not isinstance(document, dict):
        raise ValueError("send a JSON object")  # noqa: TRY004 - a bad request, not a bad call
    return document


def _number(order: Any) -> str:
    """An order's number, from its global id where it has one: a JSON reader may have rounded the plain
    one.
    """
    if not isinstance(order, dict) or "id" not in order:
        raise ValueError("each order needs its id")
    return str(order.get("admin_graphql_api_id") or order["id"]).rsplit("/", 1)[-1]


def _throttled(bucket: Bucket, requested: float) -> Reply:
    error = {
        "message": "Throttled",
        "extensions": {"code": "THROTTLED", "documentation": "https://shopify.dev/api/usage/rate-limits"},
    }
    answer = {"errors": [error], "extensions": {"cost": bucket.cost_extension(requested, None)}}
    return replace(json_reply(200, answer), remark="throttled")


def _error_list(errors: Sequence[GraphQLError]) -> list[dict[str, Any]]:
    return [cast("dict[str, Any]", error.formatted) for error in errors]
