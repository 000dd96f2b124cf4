"""Secrets at rest: whose they are, who can open them, and what a rotation leaves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from infra.local.postgres import DatabaseUrls
from tests.integration.harness import add_tenant
from tests.integration.sealing import ContextKeys
from tradewind.aws.keys import DataKey
from tradewind.errors import CredentialsRejectedError, NotFoundError
from tradewind.tenancy.credentials import Credential, CredentialVault, Label, Sealed, TenantCredentials
from tradewind.tenancy.database import Connections, Session

TOKEN = Label("shopify", "access_token")


class CountedKeys:
    """Data keys that open for their own context only, and how often they were asked for."""

    def __init__(self) -> None:
        self.decrypted = 0

    def generate(self, context: Mapping[str, str]) -> DataKey:
        return DataKey(b"k" * 32, context["tenant"].encode())

    def decrypt(self, encrypted: bytes, context: Mapping[str, str]) -> bytes:
        self.decrypted += 1
        if encrypted.decode() != context["tenant"]:
            raise CredentialsRejectedError("EncryptionContext does not match")
        return b"k" * 32


@pytest.fixture(params=["app", "platform"])
def session(database: DatabaseUrls, request: pytest.FixtureRequest) -> Iterator[Session]:
    connections = Connections(getattr(database, request.param))
    opened = Session(connections)
    yield opened
    opened.close()
    connections.close()


@pytest.fixture
def tenants(database: DatabaseUrls) -> tuple[UUID, UUID]:
    return add_tenant(database, "acme"), add_tenant(database, "bolt")


def put(session: Session, tenant_id: UUID, vault: CredentialVault, secret: str) -> None:
    with session.transaction(tenant_id) as tx:
        TenantCredentials(tenant_id, vault).put(tx, TOKEN, secret, previous_life=timedelta(hours=1))


def get(session: Session, tenant_id: UUID, vault: CredentialVault) -> Credential:
    with session.transaction(tenant_id) as tx:
        return TenantCredentials(tenant_id, vault).get(tx, TOKEN)


def test_each_tenant_reads_its_own_secret_in_either_role(
    session: Session, tenants: tuple[UUID, UUID]
) -> None:
    vault = CredentialVault(CountedKeys())
    for tenant_id, secret in zip(tenants, ("of-acme", "of-bolt"), strict=True):
        put(session, tenant_id, vault, secret)
    assert [get(session, tenant_id, vault).secret for tenant_id in tenants] == ["of-acme", "of-bolt"]


def test_tenant_without_the_secret_is_told_so(session: Session, tenants: tuple[UUID, UUID]) -> None:
    vault = CredentialVault(CountedKeys())
    put(session, tenants[0], vault, "of-acme")
    with pytest.raises(NotFoundError, match="shopify/access_token"):
        get(session, tenants[1], vault)


def test_stolen_row_opens_for_nobody_else(database: DatabaseUrls, tenants: tuple[UUID, UUID]) -> None:
    vault = CredentialVault(CountedKeys())
    sealed = vault.seal(tenants[0], TOKEN, "of-acme")
    with pytest.raises(CredentialsRejectedError):
        vault.open(tenants[1], TOKEN, sealed)
    moved = Sealed(str(tenants[1]).encode(), sealed.nonce, sealed.ciphertext)
    with pytest.raises(CredentialsRejectedError, match="not this tenant's"):
        vault.open(tenants[1], TOKEN, moved)
    with pytest.raises(CredentialsRejectedError, match="not this tenant's"):
        vault.open(tenants[0], Label("shopify", "refresh_token"), sealed)


def test_data_key_is_opened_once_for_many_reads(session: Session, tenants: tuple[UUID, UUID]) -> None:
    keys = CountedKeys()
    vault = CredentialVault(keys)
    put(session, tenants[0], vault, "x")
    for _ in range(20):
        get(session, tenants[0], vault)
    assert keys.decrypted == 1


def test_rotation_counts_up_and_keeps_the_previous_secret_for_its_time(
    session: Session, database: DatabaseUrls, tenants: tuple[UUID, UUID]
) -> None:
    vault = CredentialVault(CountedKeys())
    put(session, tenants[0], vault, "old")
    put(session, tenants[0], vault, "new")
    found = get(session, tenants[0], vault)
    session.settle()
    assert (found.secret, found.version) == ("new", 2)
    with psycopg.connect(database.reader) as connection:
        row = connection.execute(
            "SELECT previous_ciphertext IS NOT NULL, previous_until > now() FROM credentials"
        ).fetchone()
    assert row == (True, True)


def test_nothing_readable_lies_in_the_database(
    session: Session, database: DatabaseUrls, tenants: tuple[UUID, UUID]
) -> None:
    put(session, tenants[0], CredentialVault(CountedKeys()), "very-secret-token")
    session.settle()
    with psycopg.connect(database.reader) as connection:
        rows = connection.execute("SELECT credentials::text FROM credentials").fetchall()
    assert len(rows) == 1
    assert "very-secret-token" not in rows[0][0]
    assert b"very-secret-token".hex() not in rows[0][0]


def test_row_of_one_tenant_opens_for_no_other_with_every_data_key_in_memory(
    session: Session, database: DatabaseUrls, tenants: tuple[UUID, UUID]
) -> None:
    """KMS refuses the context; where a data key is opened already, the cipher refuses whose the text is."""
    acme, bolt = tenants
    keys = ContextKeys()
    vault = CredentialVault(keys)
    for tenant_id, secret in zip(tenants, ("of-acme", "of-bolt"), strict=True):
        put(session, tenant_id, vault, secret)
        assert get(session, tenant_id, vault).secret == secret
    session.settle()
    assert keys.opened == 2
    with psycopg.connect(database.reader) as connection:
        rows = connection.execute(
            "SELECT tenant_id, encrypted_key, nonce, ciphertext FROM credentials"
        ).fetchall()
    sealed = {row[0]: Sealed(*(bytes(part) for part in row[1:])) for row in rows}
    with pytest.raises(CredentialsRejectedError, match="kms"):
        vault.open(acme, TOKEN, sealed[bolt])
    assert keys.opened == 3
    mixed = Sealed(sealed[acme].encrypted_key, sealed[bolt].nonce, sealed[bolt].ciphertext)
    with pytest.raises(CredentialsRejectedError, match="not this tenant's"):
        vault.open(acme, TOKEN, mixed)
    vault._opened[acme, sealed[bolt].encrypted_key] = vault._opened[bolt, sealed[bolt].encrypted_key]
    with pytest.raises(CredentialsRejectedError, match="not this tenant's"):
        vault.open(acme, TOKEN, sealed[bolt])
    assert keys.opened == 3
    assert vault.open(bolt, TOKEN, sealed[bolt]) == "of-bolt"
