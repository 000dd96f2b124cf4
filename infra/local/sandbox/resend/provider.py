"""Resend's HTTP surface: ``POST /emails`` and ``POST /emails/batch``, and the control of its accounts.

An account is told by its key: what was registered for it, else the key's own text behind ``re_``.
"""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

from infra.local.sandbox.faults import Fault
from infra.local.sandbox.provider import Target
from infra.local.sandbox.resend.account import KEPT_BODIES, Account, SentEmail
from infra.local.sandbox.resend.courier import Courier, events_of
from infra.local.sandbox.wire import Reply, Request, html_reply, json_reply, refusal

MOST = 100
_ADDRESS = re.compile(r"[^\s@<>\"]+@([^\s@<>\"]+\.[^\s@<>\"]+)")
_NAMED = re.compile(r'(?:"[^"<>]*"|[^"<>]*)\s*<([^<>]+)>')
_TAG = re.compile(r"[A-Za-z0-9_-]{1,256}")
_STATUSES = {
    "missing_api_key": (401, "Missing API key in the authorization header"),
    "invalid_api_key": (403, "API key is invalid."),
    "invalid_idempotency_key": (400, "The key must be between 1-256 chars."),
    "invalid_idempotent_request": (409, "Same idempotency key used with a different request payload."),
    "concurrent_idempotent_requests": (
        409,
        "Same idempotency key used while original request is still in progress.",
    ),
    "daily_quota_exceeded": (429, "You have reached your daily email sending quota."),
    "monthly_quota_exceeded": (429, "You have reached your monthly email sending quota."),
    "rate_limit_exceeded": (429, "Too many requests. Please limit the number of requests per second."),
    "application_error": (500, "An unexpected error occurred."),
    "not_found": (404, "The requested endpoint does not exist"),
    "method_not_allowed": (405, "This endpoint does not support the specified method."),
}
_FAULTS = {
    Fault.TOO_MANY: "rate_limit_exceeded",
    Fault.THROTTLED: "rate_limit_exceeded",
    Fault.DAILY_QUOTA: "daily_quota_exceeded",
    Fault.MONTHLY_QUOTA: "monthly_quota_exceeded",
    Fault.CONCURRENT: "concurrent_idempotent_requests",
    Fault.SERVER_ERROR: "application_error",
}


class ResendProvider:
    """All accounts. ``clock`` gives seconds that only grow."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._accounts: dict[str, Account] = {}
        self._keys: dict[str, str] = {}
        self._dead_keys: set[str] = set()
        self._default_rate: int | None = None
        self.sent: list[SentEmail] = []
        self._bodies: deque[tuple[str, Mapping[str, Any]]] = deque(maxlen=KEPT_BODIES)
        self._courier = Courier()

    def target(self, request: Request, rest: tuple[str, ...]) -> Target:
        key = _api_key(request)
        account = self._name_of(key) if key else ""
        return Target(account, "/".join(rest), request.headers.get("idempotency-key", ""))

    def answer(  # noqa: PLR0911 - one end for each refusal
        self, request: Request, rest: tuple[str, ...]
    ) -> tuple[Reply, float]:
        if rest not in {("emails",), ("emails", "batch")}:
            return _refused("not_found"), 0.0
        if request.method != "POST":
            return _refused("method_not_allowed"), 0.0
        if not request.headers.get("user-agent"):
            return Reply(403, b"error code: 1010", {"content-type": "text/plain"}), 0.0
        key = _api_key(request)
        if not key:
            return _refused("missing_api_key"), 0.0
        if not key.startswith("re_") or key in self._dead_keys:
            return _refused("invalid_api_key"), 0.0
        account = self._account(self._name_of(key))
        wait = account.arrive()
        headers = account.rate_headers()
        if wait is not None:
            return _refused("rate_limit_exceeded", headers | {"retry-after": f"{max(wait, 0.001):.3f}"}), 0.0
        status, document, name = self._carry_out(account, request, batch=len(rest) > 1)
        reply = json_reply(status, document, headers | account.quota_headers())
        return Reply(reply.status, reply.body, reply.headers, remark=name), 0.0

    def _carry_out(self, account: Account, request: Request, *, batch: bool) -> tuple[int, Any, str]:
        key = request.headers.get("idempotency-key")
        if key is not None and not 1 <= len(key) <= 256:  # noqa: PLR2004 - Resend's own bound
            return _error("invalid_idempotency_key")
        if key is not None:
            known = account.recall(key, request.body)
            if isinstance(known, str):
                return _error(known)
            if known is not None and known.answer is not None:
                return *known.answer, "repeated"
        status, document, name = self._take(account, request, batch=batch)
        if key is not None and status < 300:  # noqa: PLR2004 - only a success is remembered
            account.remember(key, request.body, (status, document))
        return status, document, name

    def _take(self, account: Account, request: Request, *, batch: bool) -> tuple[int, Any, str]:
        try:
            document = request.document()
        except ValueError:
            return _error("validation_error", 400, "We could not parse the body")
        items = document if batch else [document]
        if not isinstance(items, list) or not items or len(items) > MOST:
            return _error("validation_error", 422, f"send 1 to {MOST} e-mails")
        problems = {
            at: found for at, item in enumerate(items) if (found := _problem(item, account, batch=batch))
        }
        permissive = batch and request.headers.get("x-batch-validation") == "permissive"
        if problems and not permissive:
            return _error(*next(iter(problems.values())))
        good = [item for at, item in enumerate(items) if at not in problems]
        exceeded = account.exceeded(len(good))
        if exceeded is not None:
            return _error(exceeded)
        ids = [self._send(account, item) for item in good]
        if not batch:
            return 200, {"id": ids[0]}, ""
        answer: dict[str, Any] = {"data": [{"id": each} for each in ids]}
        if permissive:
            answer["errors"] = [{"index": at, "message": found[2]} for at, found in problems.items()]
        return 200, answer, ""

    def _send(self, account: Account, item: Mapping[str, Any]) -> str:
        tags = {tag["name"]: tag["value"] for tag in item.get("tags") or []}
        to = item["to"][0] if isinstance(item["to"], list) else item["to"]
        made = SentEmail(str(uuid4()), account.name, to, item["subject"], tags, time.time())
        account.count_sent()
        self.sent.append(made)
        self._bodies.append((made.id, item))
        if account.webhook_url and account.webhook_secret:
            for event in events_of(made, item["from"]):
                self._courier.send(account.webhook_url, account.webhook_secret, event)
        return made.id

    def fail(self, fault: Fault, request: Request, rest: tuple[str, ...]) -> Reply:  # noqa: ARG002 - the port's shape
        name = _FAULTS.get(fault, "application_error")
        return _refused(name, {"retry-after": "1"} if name == "rate_limit_exceeded" else {})

    def control(  # noqa: PLR0911 - one end for each path
        self, request: Request, rest: tuple[str, ...]
    ) -> Reply:
        match (request.method, *rest):
            case ("PUT", "accounts", name):
                return self._register(name, _object(request))
            case ("GET", "accounts"):
                return json_reply(200, {name: _summary(each) for name, each in self._accounts.items()})
            case ("GET", "emails"):
                after = int(request.query.get("after", 0))
                page = self.sent[after : after + int(request.query.get("limit", 1000))]
                listed = [each.document() for each in page]
                return json_reply(200, {"emails": listed, "last": after + len(page), "all": len(self.sent)})
            case ("GET", "emails", email_id):
                body = next((item for kept, item in self._bodies if kept == email_id), None)
                return (
                    refusal(404, f"no body is kept of {email_id}") if body is None else json_reply(200, body)
                )
            case ("GET", "emails", email_id, "html"):
                body = next((item for kept, item in self._bodies if kept == email_id), None)
                return (
                    refusal(404, f"no body of {email_id}") if body is None else html_reply(str(body["html"]))
                )
            case ("POST", "webhooks", "deliver"):
                return self._deliver(_object(request))
            case ("GET", "webhooks"):
                return json_reply(200, self._courier.standing())
        return refusal(404, "known are PUT and GET accounts, GET emails, GET webhooks, POST webhooks/deliver")

    def _register(self, name: str, document: Mapping[str, Any]) -> Reply:
        """Limits, key and webhook of an account, as far as given; the account ``*`` gives the rate of all."""
        if name == "*":
            self._default_rate = int(document["calls_per_second"])
            for each in self._accounts.values():
                each.calls_per_second = self._default_rate
            return json_reply(200, {"account": "*"})
        account = self._account(name)
        for field in ("calls_per_second", "daily_quota", "monthly_quota"):
            if field in document:
                setattr(account, field, int(document[field]))
        for field in ("domain", "webhook_url", "webhook_secret"):
            if field in document:
                setattr(account, field, document[field])
        if document.get("api_key"):
            self._keys[str(document["api_key"])] = name
        if document.get("ended_key"):
            self._dead_keys.add(str(document["ended_key"]))
        return json_reply(200, _summary(account))

    def _deliver(self, document: Mapping[str, Any]) -> Reply:
        """Deliver events of e-mails: ``{"emails": [ids], "kind": "opened", "permanent": false, "copies": 2}``."""
        by_id = {each.id: each for each in self.sent}
        sent = 0
        for email_id in document["emails"]:
            email = by_id[str(email_id)]
            account = self._account(email.account)
            if not account.webhook_url or not account.webhook_secret:
                raise ValueError(f"account {account.name} has no webhook_url and webhook_secret")
            for event in events_of(
                email,
                "store@example.com",
                (str(document["kind"]),),
                permanent=bool(document.get("permanent")),
            ):
                for _ in range(int(document.get("copies", 1))):
                    self._courier.send(account.webhook_url, account.webhook_secret, event)
                    sent += 1
        return json_reply(200, {"events": sent})

    def summary(self) -> Mapping[str, Mapping[str, Any]]:
        counted: dict[str, int] = {}
        for each in self.sent:
            counted[each.account] = counted.get(each.account, 0) + 1
        return {name: {"e-mails": counted.get(name, 0)} for name in self._accounts}

    def save(self) -> Any:
        return {"sent": [each.document() for each in self.sent]}

    def load(self, state: Any) -> None:
        self.sent = [SentEmail(**each) for each in state["sent"]]

    def reset(self) -> None:
        self._accounts.clear()
        self._keys.clear()
        self._dead_keys.clear()
        self._default_rate = None
        self.sent.clear()
        self._bodies.clear()

    def _name_of(self, key: str) -> str:
        return self._keys.get(key, key.removeprefix("re_"))

    def _account(self, name: str) -> Account:
        if name not in self._accounts:
            made = Account(name, self._clock)
            if self._default_rate is not None:
                made.calls_per_second = self._default_rate
            self._accounts[name] = made
        return self._accounts[name]


def _api_key(request: Request) -> str:
    return request.headers.get("authorization", "").removeprefix("Bearer ").strip()


def _summary(account: Account) -> dict[str, Any]:
    return {
        "account": account.name,
        "calls_per_second": account.calls_per_second,
        "busiest": account.busiest,
        "refused_for_rate": account.refused_for_rate,
    }


def _error(name: str, status: int | None = None, message: str | None = None) -> tuple[int, Any, str]:
    known = _STATUSES.get(name, (422, "We found an error with one or more fields in the request."))
    code = status or known[0]
    return code, {"statusCode": code, "name": name, "message": message or known[1]}, name


def _refused(name: str, headers: Mapping[str, str] | None = None) -> Reply:
    status, document, _ = _error(name)
    reply = json_reply(status, document, headers)
    return Reply(reply.status, reply.body, reply.headers, remark=name)


def _problem(  # noqa: C901, PLR0911 - one line for each of Resend's rules
    item: Any, account: Account, *, batch: bool
) -> tuple[str, int, str] | None:
    """Why an e-mail is not taken: name, status and message of the error."""
    if not isinstance(item, dict):
        return "validation_error", 422, "an e-mail must be an object"
    for name in ("from", "to", "subject"):
        if not item.get(name):
            return "missing_required_field", 422, f"Missing `{name}` field."
    if not (item.get("html") or item.get("text") or item.get("template")):
        return "missing_required_field", 422, "Missing `html` or `text` field."
    named = _NAMED.fullmatch(str(item["from"]))
    sender = _ADDRESS.fullmatch(named[1] if named else str(item["from"]))
    if sender is None:
        return (
            "invalid_from_address",
            422,
            "Invalid `from` field. The email address needs to follow the format.",
        )
    if account.domain is not None and sender[1] != account.domain:
        return "validation_error", 403, f"The {sender[1]} domain is not verified."
    recipients = item["to"] if isinstance(item["to"], list) else [item["to"]]
    if len(recipients) > 50 or not all(_ADDRESS.fullmatch(str(each)) for each in recipients):  # noqa: PLR2004 - Resend's own bound
        return "validation_error", 422, "Invalid `to` field."
    for tag in item.get("tags") or []:
        if not (_TAG.fullmatch(str(tag.get("name", ""))) and _TAG.fullmatch(str(tag.get("value", "")))):
            return (
                "validation_error",
                422,
                "Tags should only contain ASCII letters, numbers, underscores, or dashes.",
            )
    if batch and (item.get("attachments") or item.get("scheduled_at")):
        return "validation_error", 422, "attachments and scheduled_at are not supported in a batch"
    return None


def _object(request: Request) -> dict[str, Any]:
    document = json.loads(request.body)
    if not isinstance(document, dict):
        raise ValueError("send a JSON object")  # noqa: TRY004 - a bad request, not a bad call
    return document
