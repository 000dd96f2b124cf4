"""API keys: an operator makes, renews and revokes them. A secret is shown once and kept as a hash."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import Field, StringConstraints

from ingress.manifest import load_manifest
from ingress.operators import Request, Slug, find_tenant
from ingress.platform import Platform
from ingress.platform_api.callers import COLLECT, PUBLISH, READ, RUN, SCOPES, hash_of, token_of
from tradewind.errors import InvalidPayloadError, NotFoundError
from tradewind.loglines import log_line

_CREATE = """
INSERT INTO api_keys (key_id, name, secret_sha256, scopes, expires_at)
VALUES (%(key_id)s, %(name)s, %(hash)s, %(scopes)s, %(expires_at)s)
"""
_RENEW = """
WITH old AS (
    SELECT tenant_id, key_id, name, scopes, expires_at FROM api_keys
    WHERE tenant_id = current_tenant() AND key_id = %(old)s AND revoked_at IS NULL AND replaced_by IS NULL
          AND coalesce(expires_at > now(), true)
    FOR UPDATE
)
INSERT INTO api_keys (key_id, name, secret_sha256, scopes, expires_at)
SELECT %(key_id)s, name, %(hash)s, scopes, expires_at FROM old
RETURNING name, scopes, expires_at
"""
_REPLACE = """
UPDATE api_keys SET replaced_by = %(key_id)s, expires_at = least(expires_at, now() + %(overlap)s)
WHERE tenant_id = current_tenant() AND key_id = %(old)s RETURNING expires_at
"""
_REVOKE = """
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now())
WHERE tenant_id = current_tenant() AND key_id = %(key_id)s RETURNING revoked_at
"""
_LIST = """
SELECT key_id, name, scopes, created_at, expires_at, revoked_at, last_used_at, replaced_by
FROM api_keys WHERE tenant_id = current_tenant() ORDER BY created_at, key_id LIMIT 1000
"""

Scope = Annotated[
    str, StringConstraints(pattern=rf"^({'|'.join(SCOPES)})(:[A-Za-z0-9][A-Za-z0-9.-]{{0,127}})?$")
]


class CreateKey(Request):
    """A key of a tenant. ``expires_in_days`` None: until it is revoked."""

    tenant: Slug
    name: Annotated[str, StringConstraints(min_length=1, max_length=80, pattern=r"^[ -~]+$")]
    scopes: list[Scope] = Field(min_length=1, max_length=50)
    expires_in_days: int | None = Field(default=None, ge=1, le=3650)


class RotateKey(Request):
    """A new secret with the same name and scopes; the old one stays valid for ``overlap_hours``."""

    tenant: Slug
    key_id: UUID
    overlap_hours: int = Field(default=24, ge=0, le=24 * 30)


class RevokeKey(Request):
    tenant: Slug
    key_id: UUID


class ListKeys(Request):
    tenant: Slug


def create_api_key(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Make a key; ``token`` is shown this once."""
    asked = CreateKey.model_validate(fields)
    for scope in asked.scopes:
        _check_target(scope)
    collecting = COLLECT & set(asked.scopes)
    if collecting and not COLLECT.issuperset(asked.scopes):
        raise InvalidPayloadError(
            "scopes", f"{min(collecting)} stands alone", "it is for pages that everybody can read"
        )
    key_id, secret = uuid4(), secrets.token_urlsafe(32)
    life = None if asked.expires_in_days is None else timedelta(days=asked.expires_in_days)
    expires_at = None if life is None else datetime.now(UTC) + life
    with platform.session() as session:
        tenant = find_tenant(session, asked.tenant)
        with session.transaction(tenant.id) as transaction:
            transaction.execute(
                _CREATE,
                {
                    "key_id": key_id,
                    "name": asked.name,
                    "hash": hash_of(secret),
                    "scopes": asked.scopes,
                    "expires_at": expires_at,
                },
            )
    log_line("info", "api key made", tenant_id=tenant.id, key_id=key_id, scopes=asked.scopes)
    return {
        "tenant": tenant.slug,
        "key_id": str(key_id),
        "name": asked.name,
        "scopes": asked.scopes,
        "expires_at": _iso(expires_at),
        "token": token_of(key_id, secret),
    }


def rotate_api_key(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Replace a key by one with a new secret. Raises NotFoundError for one that has ended or was replaced."""
    asked = RotateKey.model_validate(fields)
    key_id, secret = uuid4(), secrets.token_urlsafe(32)
    about = {"old": asked.key_id, "key_id": key_id, "hash": hash_of(secret)}
    with platform.session() as session:
        tenant = find_tenant(session, asked.tenant)
        with session.transaction(tenant.id) as transaction:
            made = transaction.fetch_one(_RENEW, about)
            if made is None:
                raise NotFoundError("valid API key", asked.key_id)
            overlap = timedelta(hours=asked.overlap_hours)
            old = transaction.fetch_one(_REPLACE, {**about, "overlap": overlap})
    log_line("info", "api key rotated", tenant_id=tenant.id, key_id=key_id, replaces=asked.key_id)
    return {
        "tenant": tenant.slug,
        "key_id": str(key_id),
        "name": made["name"],
        "scopes": made["scopes"],
        "expires_at": _iso(made["expires_at"]),
        "replaces": str(asked.key_id),
        "old_valid_until": _iso(old["expires_at"]) if old else None,
        "token": token_of(key_id, secret),
    }


def revoke_api_key(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """End a key at once."""
    asked = RevokeKey.model_validate(fields)
    with platform.session() as session:
        tenant = find_tenant(session, asked.tenant)
        with session.transaction(tenant.id) as transaction:
            row = transaction.fetch_one(_REVOKE, {"key_id": asked.key_id})
        if row is None:
            raise NotFoundError("API key", asked.key_id)
    log_line("info", "api key revoked", tenant_id=tenant.id, key_id=asked.key_id)
    return {"tenant": tenant.slug, "key_id": str(asked.key_id), "revoked_at": _iso(row["revoked_at"])}


def list_api_keys(platform: Platform, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A tenant's keys, without their secrets."""
    asked = ListKeys.model_validate(fields)
    with platform.session() as session:
        tenant = find_tenant(session, asked.tenant)
        with session.transaction(tenant.id) as transaction:
            rows = transaction.fetch_all(_LIST)
    return {"tenant": tenant.slug, "keys": [{name: _plain(row[name]) for name in row} for row in rows]}


def _check_target(scope: str) -> None:
    """A scope for something that is not there would never allow anything."""
    action, target = ":".join(scope.split(":")[:2]), ":".join(scope.split(":")[2:])
    manifest = load_manifest()
    known = {PUBLISH: manifest.events, RUN: manifest.tasks, READ: manifest.tasks}.get(action, {})
    if target and target not in known:
        raise InvalidPayloadError("scopes", f"{scope}: there is no {target}", f"known: {', '.join(known)}")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
