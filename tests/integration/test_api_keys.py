"""API keys over their life: made, used, renewed, ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from infra.local.postgres import DatabaseUrls
from ingress import api_keys
from tests.integration.desk import Desk
from tradewind.errors import InvalidPayloadError, NotFoundError


@pytest.fixture
def desk(database: DatabaseUrls) -> Iterator[Desk]:
    built = Desk(database)
    yield built
    built.connections.close()


def id_of(token: str) -> str:
    return str(UUID(token.split("_")[1]))


def status_of(desk: Desk, token: str) -> int:
    return desk.publish(token=token, key=uuid4().hex).status


def act(desk: Desk, action: str, **fields: Any) -> dict[str, Any]:
    done: dict[str, Any] = getattr(api_keys, action)(desk.platform, {"tenant": "acme", **fields})
    return done


def test_secret_is_shown_once_and_kept_as_a_hash(desk: Desk) -> None:
    secret = desk.token.split("_", 2)[2]
    assert len(secret) == 43
    [row] = desk.query("SELECT to_jsonb(k)::text AS row, secret_sha256 FROM api_keys k")
    assert secret not in row["row"]
    assert len(bytes(row["secret_sha256"])) == 32
    [listed] = act(desk, "list_api_keys")["keys"]
    assert set(listed) == {
        "key_id", "name", "scopes", "created_at", "expires_at", "revoked_at", "last_used_at", "replaced_by",
    }  # fmt: skip


def test_rotated_keys_old_secret_stays_valid_for_the_overlap(desk: Desk) -> None:
    made = act(desk, "rotate_api_key", key_id=id_of(desk.token), overlap_hours=1)
    assert made["scopes"] == ["events:publish", "tasks:run", "runs:read"]
    assert (status_of(desk, desk.token), status_of(desk, made["token"])) == (202, 202)
    with psycopg.connect(desk.urls.owner) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now() WHERE replaced_by IS NOT NULL")
    assert (status_of(desk, desk.token), status_of(desk, made["token"])) == (401, 202)


def test_key_is_rotated_once(desk: Desk) -> None:
    old = id_of(desk.token)
    made = act(desk, "rotate_api_key", key_id=old, overlap_hours=0)
    assert status_of(desk, desk.token) == 401
    with pytest.raises(NotFoundError):
        act(desk, "rotate_api_key", key_id=old)
    assert len(desk.query("SELECT 1 AS x FROM api_keys")) == 2
    assert act(desk, "list_api_keys")["keys"][0]["replaced_by"] == made["key_id"]


def test_revoked_key_opens_nothing_from_then_on(desk: Desk) -> None:
    first = act(desk, "revoke_api_key", key_id=id_of(desk.token))
    assert status_of(desk, desk.token) == 401
    assert act(desk, "revoke_api_key", key_id=id_of(desk.token)) == first
    with pytest.raises(NotFoundError):
        act(desk, "rotate_api_key", key_id=id_of(desk.token))


def test_expired_key_opens_nothing(desk: Desk) -> None:
    made = act(desk, "create_api_key", name="short", scopes=["events:publish"], expires_in_days=1)
    assert status_of(desk, made["token"]) == 202
    with psycopg.connect(desk.urls.owner) as connection:
        connection.execute("UPDATE api_keys SET expires_at = now() WHERE name = 'short'")
    assert status_of(desk, made["token"]) == 401


def test_another_tenants_key_is_out_of_reach(desk: Desk) -> None:
    for action in ("rotate_api_key", "revoke_api_key"):
        with pytest.raises(NotFoundError):
            act(desk, action, tenant="bolt", key_id=id_of(desk.token))
    assert act(desk, "list_api_keys", tenant="bolt")["keys"] == []
    assert status_of(desk, desk.token) == 202


def test_keys_and_runs_are_looked_up_by_the_platform_role_alone(desk: Desk) -> None:
    for call in ("find_api_key(gen_random_uuid())", "find_run(gen_random_uuid(), gen_random_uuid())"):
        with psycopg.connect(desk.urls.app) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute(f"SELECT * FROM {call}".encode())


def test_right_id_with_a_wrong_secret_is_nobody(desk: Desk) -> None:
    other = desk.key("events:publish", tenant="bolt")
    mixed = (
        f"{desk.token.rsplit('_', 1)[0].split('_')[0]}_{desk.token.split('_')[1]}_{other.split('_', 2)[2]}"
    )
    assert status_of(desk, mixed) == 401


@pytest.mark.parametrize(
    "scope", ["events:publish:nobody.knows", "tasks:run:nobody", "runs:read:touchpoint.recorded"]
)
def test_scope_for_what_is_not_there_is_refused(desk: Desk, scope: str) -> None:
    with pytest.raises(InvalidPayloadError, match=f"scopes: {scope}: there is no"):
        act(desk, "create_api_key", name="x", scopes=[scope])
    assert len(desk.query("SELECT 1 AS x FROM api_keys")) == 1
