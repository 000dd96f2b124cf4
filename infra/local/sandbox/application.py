"""Routes a request to a provider, the control API or the page; draws faults and records every call."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from infra.local.sandbox.calls import Call, CallLog
from infra.local.sandbox.faults import Fault, FaultPlan, read_plan
from infra.local.sandbox.page import render
from infra.local.sandbox.provider import Provider
from infra.local.sandbox.providers import PROVIDERS
from infra.local.sandbox.wire import Delivery, Reply, Request, html_reply, json_reply, refusal

_CONTROL = "_sandbox"
_MOST_CALLS = 5_000


class Sandbox:
    """The whole sandbox without its socket: a request in, a reply out."""

    def __init__(self) -> None:
        self.providers: Mapping[str, Provider] = {name: build() for name, build in PROVIDERS.items()}
        self.calls = CallLog()
        self.faults: dict[str, FaultPlan] = {}
        self.started_at = datetime.now(UTC)

    def handle(self, request: Request) -> Reply:
        """Answer any request; a fault of the sandbox itself is told as a 500 with its reason."""
        try:
            if not request.path:
                return html_reply(render(self.providers, self.calls, self.faults.values(), self.started_at))
            if request.path[0] == _CONTROL:
                return self._control(request, request.path[1:])
            provider = self.providers.get(request.path[0])
            if provider is None:
                return refusal(
                    404, f"no provider {request.path[0]!r}; played are {', '.join(self.providers)}"
                )
            return self._call(request.path[0], provider, request, request.path[1:])
        except ValueError as error:
            return refusal(400, str(error))

    def _call(self, name: str, provider: Provider, request: Request, rest: tuple[str, ...]) -> Reply:
        begun = time.perf_counter()
        target = provider.target(request, rest)
        plan = self.faults.get(name)
        fault = plan.draw(target.account, target.operation) if plan else None
        reply, cost = self._carry_out(provider, request, rest, fault)
        if plan is not None and fault is Fault.TIMEOUT:
            reply = Reply(0, delivery=Delivery.HELD, hold_seconds=plan.hold_seconds)
        if plan is not None and fault is Fault.SLOW:
            reply = replace(reply, hold_seconds=plan.hold_seconds)
        self.calls.record(
            Call(
                number=self.calls.next_number(),
                at=datetime.now(UTC),
                provider=name,
                account=target.account,
                operation=target.operation,
                subject=target.subject,
                status=reply.status,
                remark=reply.remark,
                fault=None if fault in (None, Fault.SLOW) else fault.value,
                cost=cost,
                duration_ms=round((time.perf_counter() - begun) * 1000, 3),
            )
        )
        return reply

    def _carry_out(
        self, provider: Provider, request: Request, rest: tuple[str, ...], fault: Fault | None
    ) -> tuple[Reply, float]:
        """The answer, or what the fault makes of it. Only a lost answer is preceded by the effect."""
        if fault is None or fault is Fault.SLOW:
            return provider.answer(request, rest)
        if fault is Fault.LOST_ANSWER:
            reply, cost = provider.answer(request, rest)
            return Reply(reply.status, delivery=Delivery.LOST), cost
        if fault is Fault.RESET:
            return Reply(0, delivery=Delivery.RESET), 0.0
        if fault is Fault.TIMEOUT:
            return Reply(0, delivery=Delivery.HELD), 0.0
        return provider.fail(fault, request, rest), 0.0

    def _control(self, request: Request, rest: tuple[str, ...]) -> Reply:
        if rest and rest[0] in self.providers:
            return self.providers[rest[0]].control(request, rest[1:])
        handlers = {
            ("GET", "health"): self._health,
            ("POST", "faults"): self._set_faults,
            ("GET", "faults"): self._list_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("GET", "calls"): self._list_calls,
            ("DELETE", "calls"): self._clear_calls,
            ("POST", "reset"): self._reset,
        }
        handler = handlers.get((request.method, "/".join(rest)))
        if handler is None:
            known = ", ".join(f"{method} {path}" for method, path in handlers)
            return refusal(404, f"{request.method} {'/'.join(rest)} is unknown; known are {known}")
        return handler(request)

    def _health(self, _: Request) -> Reply:
        return json_reply(200, {"status": "ok", "providers": [*self.providers]})

    def _set_faults(self, request: Request) -> Reply:
        plan = read_plan(request.document(), [*self.providers])
        self.faults[plan.provider] = plan
        return json_reply(200, plan.document())

    def _list_faults(self, _: Request) -> Reply:
        return json_reply(200, {"faults": [plan.document() for plan in self.faults.values()]})

    def _clear_faults(self, request: Request) -> Reply:
        provider = request.query.get("provider")
        for name in [provider] if provider else [*self.faults]:
            self.faults.pop(name, None)
        return json_reply(200, {"faults": len(self.faults)})

    def _list_calls(self, request: Request) -> Reply:
        query = request.query
        after, limit = _whole(query, "after", 0), _whole(query, "limit", 1_000)
        found = self.calls.list_after(
            after, min(limit, _MOST_CALLS), query.get("provider"), query.get("shop")
        )
        last = found[-1].number if found else after
        document = {"calls": [call.document() for call in found], "last": last, "totals": self._totals()}
        return json_reply(200, document)

    def _totals(self) -> list[Mapping[str, Any]]:
        return [
            {
                "provider": name,
                "shop": account,
                "calls": tally.calls,
                "faults": tally.faults,
                "cost": tally.points,
            }
            for (name, account), tally in self.calls.tallies.items()
        ]

    def _clear_calls(self, _: Request) -> Reply:
        self.calls.clear()
        return json_reply(200, {"calls": 0})

    def _reset(self, _: Request) -> Reply:
        self.calls.clear()
        self.faults.clear()
        for provider in self.providers.values():
            provider.reset()
        return json_reply(200, {"status": "reset"})

    def save(self) -> str:
        """The providers' state as JSON text."""
        return json.dumps({name: provider.save() for name, provider in self.providers.items()})

    def load(self, text: str) -> None:
        """Take over saved state. Raises ValueError for text that is none."""
        state = json.loads(text)
        for name, provider in self.providers.items():
            if name in state:
                provider.load(state[name])


def _whole(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if not text.isdigit():
        raise ValueError(f"{name} is {text!r}; send a whole number")
    return int(text)
