"""Start MiniStack with six of its properties changed. Run by path with the emulator environment's Python.

1. Its Lambda Runtime API answers in two small writes. With Nagle's algorithm the second waits for the peer's
   delayed acknowledgement, 40 ms for every invocation; Lambda itself has no such wait.
2. It works one batch at a time for a FIFO queue, while Lambda works as many as there are message groups, up
   to the mapping's concurrency. Its receive locks groups as SQS does, so a standard queue's limit is right.
3. With authorization on, a policy that denies requests without TLS denies all of them, since it listens on
   plain HTTP. Nothing leaves the machine: its requests count as secured.
4. It keeps an HTTP API's CORS rules as CloudFormation spells them (AllowOrigins), and looks for them as the API's own
   calls do (allowOrigins): every page would be refused.
5. A state that waits for a task token knows no HeartbeatSeconds, and would never see that a container is gone.
6. Whenever a message is sent it takes every mapping in hand, twenty microseconds and a lock each, most of them for an
   empty queue. With a hundred queues that is a quarter of what it does; only those that hold something are left.

What depends on this is checked by tests/e2e/test_emulator_conformance.py; the version is pinned.
"""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from typing import Any

from ministack import app
from ministack.services import apigateway, lambda_svc, sqs, stepfunctions

standard_queue_concurrency = lambda_svc._sqs_esm_concurrency  # noqa: SLF001 - what this module is for
pin_request_origin = app.pin_request_origin
cors_headers = apigateway._cors_response_headers  # noqa: SLF001 - the same
cors_preflight = apigateway._cors_preflight_response  # noqa: SLF001 - the same

all_mappings = lambda_svc._iter_all_esms  # noqa: SLF001 - the same
wait_for_callback = stepfunctions._invoke_with_callback  # noqa: SLF001 - the same

Record = dict[str, Any]


def concurrency(
    mapping: Record,
    function: Record,
    configuration: Record,
    queue: Record | None = None,  # noqa: ARG001 - the caller passes it; a FIFO queue is treated as a standard one
) -> int:
    """The batches in flight that one mapping may have: its MaximumConcurrency, whatever the kind of queue."""
    return int(standard_queue_concurrency(mapping, function, configuration, None))


def pin_secured_origin(source_address: str, _secured: bool) -> None:
    """Note where a request comes from, as one that came over TLS."""
    pin_request_origin(source_address, secure_transport=True)


def mappings_with_messages() -> Iterator[tuple[str, str, Record]]:
    """Account, region and mapping, but for those of an empty queue."""
    queues = list(sqs._queues._data.values())  # noqa: SLF001 - the same
    holding = {queue["attributes"]["QueueArn"] for queue in queues if queue["messages"]}
    for account, region, mapping in all_mappings():
        source = mapping.get("EventSourceArn", "")
        if source in holding or ":sqs:" not in source:
            yield account, region, mapping


def callback_with_heartbeat(resource: str, content: Any, token: str, state: Record) -> Any:
    """Wait for a token's answer, and fail the state when no heartbeat has come for as long as it allows."""
    allowed = state.get("HeartbeatSeconds")
    if not allowed:
        return wait_for_callback(resource, content, token, state)
    answered = threading.Event()
    threading.Thread(target=watch_heartbeat, args=(token, float(allowed), answered), daemon=True).start()
    try:
        return wait_for_callback(resource, content, token, state)
    finally:
        answered.set()


def watch_heartbeat(token: str, allowed: float, answered: threading.Event) -> None:
    """Fail the token whose last heartbeat is the one that was the last ``allowed`` seconds ago."""
    last: object = "none yet"
    while not answered.wait(allowed):
        waiting = stepfunctions._task_tokens.get(token)  # noqa: SLF001 - the same
        if waiting is None:
            return
        if waiting["heartbeat"] in {last, None} and not waiting["event"].is_set():
            waiting["error"] = {
                "Error": "States.HeartbeatTimeout",
                "Cause": f"no heartbeat for {allowed:g} s",
            }
            waiting["event"].set()
            return
        last = waiting["heartbeat"]


def as_the_api_spells(rules: Record) -> Record:
    return {name[:1].lower() + name[1:]: value for name, value in rules.items()}


def page_headers(rules: Record, origin: str) -> Record:
    """What an answer says to a page of this origin."""
    return dict(cors_headers(as_the_api_spells(rules), origin))


def page_preflight(rules: Record, origin: str) -> Any:
    """The answer to a browser that asks first."""
    return cors_preflight(as_the_api_spells(rules), origin)


if __name__ == "__main__":
    apigateway._cors_response_headers = page_headers  # noqa: SLF001 - the same
    apigateway._cors_preflight_response = page_preflight  # noqa: SLF001 - the same
    socketserver.StreamRequestHandler.disable_nagle_algorithm = True
    lambda_svc._sqs_esm_concurrency = concurrency  # noqa: SLF001 - the same
    lambda_svc._iter_all_esms = mappings_with_messages  # noqa: SLF001 - the same
    app.pin_request_origin = pin_secured_origin
    stepfunctions._invoke_with_callback = callback_with_heartbeat  # noqa: SLF001 - the same
    app.main()
