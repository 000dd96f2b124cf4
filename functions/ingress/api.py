"""The platform's own API: ``POST /events/{type}``, ``POST /tasks/{id}/runs``, ``GET /runs/{id}`` and its description.

nobody, or an unknown, expired or revoked key        401
a key without the scope; a tenant that uninstalled   403
an event type or task that is not there              404, and which are
no idempotency key, or one that cannot be            400
a body that is too large, no JSON, not as asked for  413, 415, 400 with the field and the remedy
a key that was used with another body                409
Postgres or the payload store do not answer          503: ask again
anything else                                        202 with the run's id, once it is kept

A tenant's applications come with an API key. The platform's own services come by IAM, below ``/platform``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, cached_property
from http import HTTPStatus
from typing import Any
from uuid import UUID

from ingress.manifest import Manifest, load_manifest, load_payload_schemas
from ingress.platform_api.acceptance import Acceptance, Asked, Begun, Payloads
from ingress.platform_api.answers import RefusedError, answer, answer_text, refusal
from ingress.platform_api.bodies import read_body, read_idempotency_key
from ingress.platform_api.callers import PUBLISH, READ, RUN, TENANT_HEADER, Caller, find_caller
from ingress.platform_api.document import describe_api
from ingress.platform_api.validation import check_event, check_payload
from tradewind.aws.client import AwsClient
from tradewind.aws.objects import PayloadStore
from tradewind.aws.queues import Queues
from tradewind.errors import RateLimitedError, RetryableError
from tradewind.loglines import log_line
from tradewind.settings import Settings, current_settings
from tradewind.tasks.dispatch import Dispatcher
from tradewind.tasks.message import Source
from tradewind.tenancy.database import Connections, Session
from tradewind.tenancy.secrets import database_url
from tradewind.tenancy.tenant import PLATFORM_TENANT

_FIND_RUN = "SELECT find_run(%(tenant)s, %(run)s) AS run"


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry."""
    return _api().answer(event)


@cache
def _api() -> Api:
    settings = current_settings()
    aws = AwsClient(settings.region, settings.endpoint_url)
    return Api(
        settings,
        Connections(database_url(settings, aws), connect_timeout=2),
        Dispatcher(Queues(aws, settings.queue_prefix), settings.stage),
        PayloadStore(aws, settings.payload_bucket, settings.region),
        load_manifest(),
    )


class Api:
    """Answers HTTP API events of every route."""

    def __init__(
        self,
        settings: Settings,
        connections: Connections,
        dispatcher: Dispatcher,
        payloads: Payloads,
        manifest: Manifest,
    ) -> None:
        self._limit = settings.max_body_bytes
        self._connections = connections
        self._acceptance = Acceptance(settings, dispatcher, payloads, manifest)
        self._manifest = manifest

    @cached_property
    def _document(self) -> str:
        return json.dumps(describe_api(self._manifest, load_payload_schemas()), separators=(",", ":"))

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; what is refused leaves nothing."""
        route = str(event.get("routeKey", "")).replace(" /platform/", " /")
        headers = {name.lower(): str(value) for name, value in (event.get("headers") or {}).items()}
        path = event.get("pathParameters") or {}
        session = Session(self._connections)
        try:
            match route:
                case "POST /events/{type}":
                    return self._publish(event, headers, str(path.get("type")), session)
                case "POST /tasks/{id}/runs":
                    return self._run(event, headers, str(path.get("id")), session)
                case "GET /runs/{id}":
                    return self._look_up(event, headers, str(path.get("id")), session)
                case "GET /openapi.json":
                    return answer_text(self._document)
                case _:
                    raise RefusedError(HTTPStatus.NOT_FOUND, "no such route", None, "see GET /openapi.json")
        except RefusedError as error:
            log_line(
                "warning", "api request refused", route=route, status=int(error.status), field=error.field
            )
            return refusal(error)
        except (RetryableError, RateLimitedError) as error:
            log_line("error", "api request not kept, caller must ask again", route=route, error=repr(error))
            return refusal(
                RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "not available at the moment", None, "ask again")
            )
        finally:
            session.close()

    def _publish(
        self, event: Mapping[str, Any], headers: Mapping[str, str], kind: str, session: Session
    ) -> dict[str, Any]:
        caller = find_caller(event, headers, session)
        caller.require(PUBLISH, kind)
        tasks = self._manifest.events.get(kind)
        if tasks is None:
            raise _unknown("event type", kind, self._manifest.events)
        _require_tenant(caller)
        key = read_idempotency_key(headers)
        body = read_body(event, headers, self._limit)
        check_event(kind, body.content)
        asked = Asked("events", kind, key, body, tasks, Source.EVENT, datetime.now(UTC))
        begun = self._accept(session, caller, asked)
        runs = [{"task": task, "run_id": str(run_id)} for task, run_id in sorted(begun.runs.items())]
        return answer(HTTPStatus.ACCEPTED, {"event": kind, "runs": runs, "duplicate": begun.again})

    def _run(
        self, event: Mapping[str, Any], headers: Mapping[str, str], task: str, session: Session
    ) -> dict[str, Any]:
        caller = find_caller(event, headers, session)
        caller.require(RUN, task)
        about = self._manifest.tasks.get(task)
        if about is None:
            raise _unknown("task", task, self._manifest.tasks)
        if about["scope"] == "tenant":
            _require_tenant(caller)
        elif not (caller.is_platform and caller.tenant_id == PLATFORM_TENANT):
            raise RefusedError(
                HTTPStatus.FORBIDDEN,
                f"{task} belongs to no tenant",
                None,
                "the platform's own services run it",
            )
        key = read_idempotency_key(headers)
        body = read_body(event, headers, self._limit)
        check_payload(task, body.content)
        asked = Asked("tasks", task, key, body, [task], Source.MANUAL, datetime.now(UTC))
        begun = self._accept(session, caller, asked)
        run_id = str(begun.runs[task])
        return answer(HTTPStatus.ACCEPTED, {"task": task, "run_id": run_id, "duplicate": begun.again})

    def _accept(self, session: Session, caller: Caller, asked: Asked) -> Begun:
        begun = self._acceptance.accept(session, caller, asked)
        log_line(
            "info",
            "api request repeated" if begun.again else "api request accepted",
            tenant_id=caller.tenant_id,
            caller=caller.name,
            kind=asked.kind,
            target=asked.target,
            correlation_id=asked.key,
            runs=len(begun.runs),
        )
        return begun

    def _look_up(
        self, event: Mapping[str, Any], headers: Mapping[str, str], run_id: str, session: Session
    ) -> dict[str, Any]:
        caller = find_caller(event, headers, session)
        try:
            wanted = UUID(run_id)
        except ValueError:
            raise RefusedError(
                HTTPStatus.BAD_REQUEST, "is no UUID", "id", "send the run_id of an answer"
            ) from None
        with session.transaction(caller.tenant_id) as transaction:
            row = transaction.fetch_one(_FIND_RUN, {"tenant": caller.tenant_id, "run": wanted})
        session.settle()
        run = None if row is None else row["run"]
        caller.require(READ, "runs" if run is None else run["task"])
        if run is None:
            raise RefusedError(
                HTTPStatus.NOT_FOUND,
                f"no run {wanted}",
                "id",
                "runs are kept for 30 days, each for its tenant",
            )
        return answer(HTTPStatus.OK, run)


def _require_tenant(caller: Caller) -> None:
    if caller.tenant_id == PLATFORM_TENANT:
        raise RefusedError(
            HTTPStatus.BAD_REQUEST, "is missing", TENANT_HEADER, "say for which tenant: its slug or id"
        )


def _unknown(what: str, name: str, known: Mapping[str, Any]) -> RefusedError:
    return RefusedError(
        HTTPStatus.NOT_FOUND,
        f"no {what} {name[:100]!r}",
        None,
        f"known: {', '.join(sorted(known)) or 'none'}",
    )
