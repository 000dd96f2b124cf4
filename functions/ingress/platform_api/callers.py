"""Who calls: a tenant's application by its API key, or one of the platform's own services by IAM.

A key's token is ``twk_<key id>_<secret>``. Its secret is kept as a hash and compared in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from uuid import UUID

from ingress.platform_api.answers import RefusedError
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import PLATFORM_TENANT

TOKEN_PREFIX = "twk"  # noqa: S105 - how a token begins
PUBLISH, RUN, READ = "events:publish", "tasks:run", "runs:read"
COLLECT = frozenset({"ab:collect", "touchpoints:collect"})
"""For a storefront's page, where everybody can read the key: one with either may do nothing else."""
SCOPES = (PUBLISH, RUN, READ, *sorted(COLLECT))
TENANT_HEADER = "x-tradewind-tenant"
_BEARER = re.compile(rf"Bearer {TOKEN_PREFIX}_([0-9a-f]{{32}})_([A-Za-z0-9_-]{{43}})", re.ASCII)

_FIND_KEY = "SELECT * FROM find_api_key(%(key)s)"
_USED = "UPDATE api_keys SET last_used_at = now() WHERE key_id = %(key)s"
_FIND_TENANT = """
SELECT t.tenant_id, t.slug, t.status AS tenant_status FROM tenants t
WHERE t.slug = %(tenant)s OR t.tenant_id::text = %(tenant)s
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and for which tenant. ``scopes`` is None for the platform's own services, which may do everything."""

    name: str
    tenant_id: UUID
    scopes: tuple[str, ...] | None = None

    @property
    def is_platform(self) -> bool:
        return self.scopes is None

    def require(self, scope: str, target: str) -> None:
        """Refuse (403) where no scope allows this; ``events:publish`` is also narrowed as ``events:publish:<type>``."""
        if self.scopes is None or scope in self.scopes or f"{scope}:{target}" in self.scopes:
            return
        raise RefusedError(
            HTTPStatus.FORBIDDEN,
            f"this key may not {scope} {target[:100]}",
            "authorization",
            f"use a key with the scope {scope} or {scope}:{target[:100]}",
        )


def token_of(key_id: UUID, secret: str) -> str:
    return f"{TOKEN_PREFIX}_{key_id.hex}_{secret}"


def hash_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def find_caller(event: Mapping[str, Any], headers: Mapping[str, str], session: Session) -> Caller:
    """The caller of an HTTP API event. Raises RefusedError: 401 for nobody, 403 for a tenant that is gone."""
    if " /platform/" in str(event.get("routeKey", "")):
        return _by_iam(event, headers, session)
    return _by_key(headers, session)


def _by_key(headers: Mapping[str, str], session: Session) -> Caller:
    match = _BEARER.fullmatch(headers.get("authorization", ""))
    rows = session.call(_FIND_KEY, {"key": UUID(match[1])}) if match else []
    row = rows[0] if rows else None
    expected = b"" if row is None else bytes(row["secret_sha256"])
    fits = match is not None and hmac.compare_digest(hash_of(match[2]), expected)
    if match is None or row is None or not fits or row["ended"]:
        raise RefusedError(
            HTTPStatus.UNAUTHORIZED,
            "no API key, or one that is unknown, expired or revoked",
            "authorization",
            f"send 'Bearer {TOKEN_PREFIX}_...' with a key of the tenant",
        )
    _check_installed(row)
    if not row["used_lately"]:
        with session.transaction(row["tenant_id"]) as transaction:
            transaction.execute(_USED, {"key": UUID(match[1])})
        session.settle()
    return Caller(f"key:{UUID(match[1])}", row["tenant_id"], tuple(row["scopes"]))


def _by_iam(event: Mapping[str, Any], headers: Mapping[str, str], session: Session) -> Caller:
    """API Gateway has checked the signature; without its word nobody is believed."""
    authorizer = (event.get("requestContext") or {}).get("authorizer") or {}
    arn = (authorizer.get("iam") or {}).get("userArn")
    if not arn:
        raise RefusedError(
            HTTPStatus.UNAUTHORIZED, "not signed with AWS credentials", "authorization", "sign with SigV4"
        )
    asked = headers.get(TENANT_HEADER, "")
    if not asked:
        return Caller(str(arn), PLATFORM_TENANT)
    rows = session.call(_FIND_TENANT, {"tenant": asked.replace("\x00", "\ufffd")})
    if not rows:
        raise RefusedError(
            HTTPStatus.NOT_FOUND, f"no tenant {asked[:100]!r}", TENANT_HEADER, "send a tenant's slug or id"
        )
    _check_installed(rows[0])
    return Caller(str(arn), rows[0]["tenant_id"])


def _check_installed(row: Mapping[str, Any]) -> None:
    if row["tenant_status"] == "uninstalled":
        raise RefusedError(
            HTTPStatus.FORBIDDEN, "the tenant has uninstalled", None, "register the tenant again"
        )
