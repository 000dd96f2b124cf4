"""``POST /ab/events``, ``GET`` and ``POST /ab/assignments``: the edge of A/B tests, open to storefronts' pages.

no key, or one that may not collect              401
a tenant that uninstalled                        403
a field that cannot be                           400, with its path; nothing of the batch is kept
too much at once                                 413; 429 with Retry-After
Postgres does not answer                         503: send the same again
anything else                                    202 once every event is kept, 200 for assignments

An event is kept in Postgres before it is answered for; Valkey's counters follow, and what they miss is counted again at
night from what was kept. The same event (its id, on its day) is kept and counted once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from http import HTTPStatus
from typing import Any, Protocol
from uuid import UUID

from ingress.experiments_api.directory import Directory
from ingress.experiments_api.requests import (
    AssignmentRequest,
    Event,
    read_assignment_query,
    read_assignment_request,
    read_events,
)
from ingress.pages import Words, answer_page, read_body, token_of
from ingress.platform_api.answers import RefusedError, answer
from tradewind.aws.client import AwsClient
from tradewind.contracts.experiments import Decision, LiveTest, Reason, decide
from tradewind.errors import RateLimitedError, RetryableError
from tradewind.loglines import count_line, log_line
from tradewind.settings import current_settings
from tradewind.tenancy.database import Connections, Jsonb, Session, Transaction
from tradewind.tenancy.secrets import database_url

SCOPE = "ab:collect"
PATIENCE = timedelta(seconds=3)
"""How long Postgres has; a page does not wait longer."""
_WORDS = Words("ab request refused", "ab request not kept, caller must ask again", "AbRequestNotKept")
_RECORD = "SELECT * FROM record_ab_events(%(events)s)"
_ASSIGN = """
WITH at AS MATERIALIZED (SELECT clock_timestamp() AS now)
SELECT a.*, at.now FROM at, assign_ab_visitors(%(asked)s, at.now) a
"""
_STANDING = "SELECT test_id, variant_id FROM ab_test_assignments WHERE visitor_id = %(visitor)s"


class Edge(Protocol):
    """Limits and counters, both in Valkey; neither stands in the way of an event where Valkey is away."""

    def admit(self, tenant_id: UUID, events: int) -> timedelta:
        """Zero where as many events may pass now, else the wait."""

    def count(self, tenant_id: UUID, hour: datetime, amounts: Mapping[str, int]) -> None:
        """Add to the hour's counters. Raises RetryableError."""


def handle(event: Mapping[str, Any], context: object) -> dict[str, Any]:
    """Lambda's entry."""
    return _door().answer(event)


@cache
def _door() -> Door:
    from ingress.experiments_api.edge import ValkeyEdge  # noqa: PLC0415 - Valkey's client takes longest to import

    settings = current_settings()
    aws = AwsClient(settings.region, settings.endpoint_url)
    connections = Connections(database_url(settings, aws), patience=PATIENCE)
    return Door(connections, ValkeyEdge(settings, "events"))


class Door:
    """Answers HTTP API events of the A/B routes."""

    def __init__(self, connections: Connections, edge: Edge) -> None:
        self._connections = connections
        self._edge = edge
        self._directory = Directory(SCOPE)

    def answer(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Answer one request; a batch that is refused leaves nothing."""
        route = str(event.get("routeKey", ""))
        return answer_page(
            self._connections, _WORDS, lambda session: self._by_route(route, event, session), route=route
        )

    def _by_route(self, route: str, event: Mapping[str, Any], session: Session) -> dict[str, Any]:
        match route:
            case "POST /ab/events":
                return self._take(event, session)
            case "POST /ab/assignments":
                content = read_body(event)
                return self._assign(event, content, read_assignment_request(content), session)
            case "GET /ab/assignments":
                query = event.get("queryStringParameters") or {}
                return self._assign(event, query, read_assignment_query(query), session)
            case _:
                raise RefusedError(HTTPStatus.NOT_FOUND, "no such route")

    def _take(self, event: Mapping[str, Any], session: Session) -> dict[str, Any]:
        content = read_body(event)
        tenant_id = self._directory.tenant_of(token_of(event, content), session)
        events = read_events(content, datetime.now(UTC))
        self._admit(tenant_id, len(events))
        with session.transaction(tenant_id) as transaction:
            tests = self._directory.tests_of(tenant_id, transaction)
            rows = [told.row(_claimed(told, tests)) for told in events]
            kept = transaction.fetch_one(_RECORD, {"events": Jsonb(rows)})
        session.settle()
        assert kept is not None  # noqa: S101 - the function answers with one row
        self._count(tenant_id, kept["received_at"], kept["counts"])
        accepted, again = kept["accepted"], kept["duplicates"]
        log_line("info", "ab events kept", tenant_id=tenant_id, accepted=accepted, duplicates=again)
        left_out = len(events) - accepted - again
        return answer(HTTPStatus.ACCEPTED, {"accepted": accepted, "duplicates": again, "left_out": left_out})

    def _assign(
        self, event: Mapping[str, Any], content: Mapping[str, Any], asked: AssignmentRequest, session: Session
    ) -> dict[str, Any]:
        tenant_id = self._directory.tenant_of(token_of(event, content), session)
        self._admit(tenant_id, 1)
        visitor = asked.visitor
        now = datetime.now(UTC)
        new: list[Mapping[str, Any]] = []
        with session.transaction(tenant_id) as transaction:
            tests = list(self._directory.tests_of(tenant_id, transaction).values())
            found = transaction.fetch_all(_STANDING, {"visitor": visitor.visitor_id})
            standing = {row["test_id"]: row["variant_id"] for row in found}
            decisions = decide(tests, visitor.visitor_id, visitor.context, standing)
            chosen = [each for each in decisions if asked.tests is None or each.test_id in asked.tests]
            fresh = [each for each in chosen if each.variant_id and each.reason is not Reason.STANDING]
            if fresh:
                new = _store(transaction, fresh, {**visitor.row(), "occurred_at": now.isoformat()})
                standing |= {row["test_id"]: row["variant_id"] for row in new}
        session.settle()
        for row in new[:1]:
            self._count(tenant_id, row["now"], [_first_seen(each) for each in new if each["is_new"]])
        log_line("info", "ab assignments told", tenant_id=tenant_id, tests=len(chosen), new=len(new))
        return answer(
            HTTPStatus.OK,
            {"assignments": [_told(each, standing) for each in chosen]},
            **{"cache-control": "no-store"},
        )

    def _admit(self, tenant_id: UUID, events: int) -> None:
        wait = self._edge.admit(tenant_id, events)
        if wait:
            raise RateLimitedError("ab events of a tenant", wait)

    def _count(self, tenant_id: UUID, at: datetime, counts: Sequence[Mapping[str, Any]]) -> None:
        """Counters follow what is kept. Where they cannot, the night's rebuild counts it."""
        amounts = {
            f"{each['day']}:{each['test']}:{each['variant']}:{each['metric']}": int(each["amount"])
            for each in counts
        }
        if not amounts:
            return
        try:
            self._edge.count(tenant_id, at, amounts)
        except RetryableError as error:
            log_line("warning", "ab events kept and not counted", tenant_id=tenant_id, error=repr(error))
            count_line("AbEventsNotCounted", sum(amounts.values()))


def _claimed(told: Event, tests: Mapping[str, LiveTest]) -> str | None:
    """The variant that a visitor without an assignment gets: what the storefront showed, else what is decided here.

    None leaves the visitor out. Of a test in a group only the storefront or ``/ab/assignments`` can decide: what else
    the visitor sees is not known here.
    """
    test = tests.get(told.test_id)
    if test is None:
        return None
    if told.variant_id is not None:
        return told.variant_id if told.variant_id in test.variant_ids else None
    if test.exclusion_group is not None:
        return None
    [decision] = decide([test], told.visitor.visitor_id, told.visitor.context, {})
    return decision.variant_id


def _store(
    transaction: Transaction, fresh: Sequence[Decision], visitor: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    asked = [{**visitor, "test_id": each.test_id, "variant_id": each.variant_id} for each in fresh]
    return list(transaction.fetch_all(_ASSIGN, {"asked": Jsonb(asked)}))


def _first_seen(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "day": row["seen_on"].isoformat(),
        "test": row["test_id"],
        "variant": row["variant_id"],
        "metric": "visitors",
        "amount": 1,
    }


def _told(decision: Decision, standing: Mapping[str, str]) -> dict[str, Any]:
    """What is stored is what counts: a test that has just ended has no new visitors."""
    variant = standing.get(decision.test_id)
    reason = Reason.NOT_RUNNING if decision.variant_id and not variant else decision.reason
    return {"test_id": decision.test_id, "variant_id": variant, "reason": reason}
