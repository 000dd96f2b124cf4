"""Whose key this is, and which tests the tenant has live: asked of Postgres, kept by the process for a moment."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from ingress.platform_api.answers import RefusedError
from tradewind.contracts.experiments import Action, Condition, LiveTest, Logic, Operator, Rule, Share
from tradewind.tenancy.database import Session, Transaction

KEY_LIFE = timedelta(seconds=60)
"""How long a revoked key may still be taken by a process that knows it."""
TESTS_LIFE = timedelta(seconds=5)
"""How long a process may give by old weights, or to a test that has ended: its assignment then is not stored."""
_MOST = 10_000
_TOKEN = re.compile(r"twk_([0-9a-f]{32})_([A-Za-z0-9_-]{43})", re.ASCII)

_FIND_KEY = "SELECT * FROM find_collecting_key(%(key)s, %(secret)s, %(scope)s)"
_LIST_TESTS = """
SELECT t.test_id, t.status, t.exclusion_group, t.forced_variant_id,
       (SELECT jsonb_agg(jsonb_build_array(v.variant_id, v.weight_basis_points) ORDER BY v.place, v.variant_id)
        FROM ab_variants v WHERE v.test_id = t.test_id) AS shares,
       (SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY r.priority), '[]')
        FROM ab_targeting_rules r WHERE r.test_id = t.test_id) AS rules
FROM ab_tests t WHERE t.status IN ('running', 'paused') ORDER BY t.test_id
"""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: Any
    until: float


@dataclass(slots=True)
class Directory:
    """What a process remembers of keys with a scope, and of tests."""

    scope: str
    clock: Callable[[], float] = time.monotonic
    _keys: dict[str, _Kept] = field(default_factory=dict)
    _tests: dict[UUID, _Kept] = field(default_factory=dict)

    def tenant_of(self, token: str, session: Session) -> UUID:
        """The tenant of a collecting key. Raises RefusedError: 401 for none, 403 where the tenant has uninstalled."""
        kept = self._keys.get(token)
        if kept is not None and kept.until > self.clock():
            return UUID(str(kept.value))
        match = _TOKEN.fullmatch(token)
        secret = hashlib.sha256(match[2].encode()).digest() if match else b""
        rows = (
            session.call(_FIND_KEY, {"key": UUID(match[1]), "secret": secret, "scope": self.scope})
            if match
            else []
        )
        if not rows:
            raise RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "no collecting key, or one that is unknown, expired or revoked",
                "key",
                f"send a key with the scope {self.scope} as 'Authorization: Bearer', in the body or in the address",
            )
        if rows[0]["tenant_status"] == "uninstalled":
            raise RefusedError(HTTPStatus.FORBIDDEN, "the tenant has uninstalled", None, "register it again")
        self._keep(self._keys, token, rows[0]["tenant_id"], KEY_LIFE)
        return UUID(str(rows[0]["tenant_id"]))

    def tests_of(self, tenant_id: UUID, transaction: Transaction) -> Mapping[str, LiveTest]:
        """The tenant's tests that run or are paused, by id."""
        kept = self._tests.get(tenant_id)
        if kept is None or kept.until <= self.clock():
            tests = {row["test_id"]: _test(row) for row in transaction.fetch_all(_LIST_TESTS)}
            kept = self._keep(self._tests, tenant_id, tests, TESTS_LIFE)
        found: Mapping[str, LiveTest] = kept.value
        return found

    def _keep(self, where: dict[Any, _Kept], name: Any, value: Any, life: timedelta) -> _Kept:
        if len(where) >= _MOST:
            where.clear()
        where[name] = _Kept(value, self.clock() + life.total_seconds())
        return where[name]


def _test(row: Mapping[str, Any]) -> LiveTest:
    return LiveTest(
        test_id=row["test_id"],
        running=row["status"] == "running",
        shares=tuple(Share(variant_id, weight) for variant_id, weight in row["shares"] or ()),
        rules=tuple(_rule(each) for each in row["rules"]),
        exclusion_group=row["exclusion_group"],
        forced_variant_id=row["forced_variant_id"],
    )


def _rule(row: Mapping[str, Any]) -> Rule:
    return Rule(
        priority=row["priority"],
        logic=Logic(row["logic"]),
        action=Action(row["action"]),
        conditions=tuple(_condition(each) for each in row["conditions"]),
        variant_id=row["variant_id"],
    )


def _condition(row: Mapping[str, Any]) -> Condition:
    value = row.get("value")
    return Condition(
        attribute=row["attribute"],
        operator=Operator(row["operator"]),
        value=tuple(value) if isinstance(value, list) else value,
    )
