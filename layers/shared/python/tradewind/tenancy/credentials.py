"""A tenant's secrets at rest: each encrypted with AES-256-GCM under a KMS data key.

The data key's encryption context names the tenant, so that KMS itself refuses to open A's key for B; the tenant,
provider and name are authenticated with the ciphertext, so that a row cannot be moved. Data keys are cached in the
process for a while: one KMS call serves many decryptions.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tradewind.aws.keys import DataKey
from tradewind.errors import CredentialsRejectedError, NotFoundError
from tradewind.tenancy.database import Transaction

_NONCE_BYTES = 12
KEY_LIFE = timedelta(minutes=10)
_MAX_CACHED = 2000

_FIND = """
SELECT encrypted_key, nonce, ciphertext, version, expires_at
FROM credentials WHERE provider = %(provider)s AND app = %(app)s AND name = %(name)s
"""
_UPSERT = """
INSERT INTO credentials AS c (tenant_id, provider, app, name, encrypted_key, nonce, ciphertext, expires_at)
VALUES (%(tenant_id)s, %(provider)s, %(app)s, %(name)s, %(encrypted_key)s, %(nonce)s, %(ciphertext)s, %(expires_at)s)
ON CONFLICT (tenant_id, provider, app, name) DO UPDATE
SET previous_encrypted_key = CASE WHEN %(keep_previous)s THEN c.encrypted_key ELSE c.previous_encrypted_key END,
    previous_nonce = CASE WHEN %(keep_previous)s THEN c.nonce ELSE c.previous_nonce END,
    previous_ciphertext = CASE WHEN %(keep_previous)s THEN c.ciphertext ELSE c.previous_ciphertext END,
    previous_until = CASE WHEN %(keep_previous)s THEN clock_timestamp() + %(previous_life)s ELSE c.previous_until END,
    encrypted_key = excluded.encrypted_key, nonce = excluded.nonce, ciphertext = excluded.ciphertext,
    expires_at = excluded.expires_at, version = c.version + 1, updated_at = clock_timestamp()
RETURNING version
"""


_INSERT = """
INSERT INTO credentials (tenant_id, provider, app, name, encrypted_key, nonce, ciphertext)
VALUES (%(tenant_id)s, %(provider)s, %(app)s, %(name)s, %(encrypted_key)s, %(nonce)s, %(ciphertext)s)
ON CONFLICT (tenant_id, provider, app, name) DO NOTHING
"""


class KeyProvider(Protocol):
    """Makes and opens data keys; KMS in production."""

    def generate(self, context: Mapping[str, str]) -> DataKey: ...

    def decrypt(self, encrypted: bytes, context: Mapping[str, str]) -> bytes: ...


@dataclass(frozen=True, slots=True, repr=False)
class Sealed:
    """A secret as it lies in the database."""

    encrypted_key: bytes
    nonce: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Label:
    """What a secret is called. ``app`` tells a tenant's Shopify apps apart."""

    provider: str
    name: str
    app: str = "default"

    def authenticated(self, tenant_id: UUID) -> bytes:
        return "\x1f".join((str(tenant_id), self.provider, self.app, self.name)).encode()


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """An opened secret with its version, which counts up at each change."""

    secret: str
    version: int
    expires_at: datetime | None


class CredentialVault:
    """Seals and opens secrets. One per process; safe to share between threads."""

    def __init__(self, keys: KeyProvider) -> None:
        self._keys = keys
        self._opened: dict[tuple[UUID, bytes], tuple[float, bytes]] = {}
        self._lock = threading.Lock()

    def seal(self, tenant_id: UUID, label: Label, secret: str) -> Sealed:
        key = self._keys.generate({"tenant": str(tenant_id)})
        nonce = os.urandom(_NONCE_BYTES)
        ciphertext = AESGCM(key.plain).encrypt(nonce, secret.encode(), label.authenticated(tenant_id))
        return Sealed(key.encrypted, nonce, ciphertext)

    def open(self, tenant_id: UUID, label: Label, sealed: Sealed) -> str:
        """The secret. Raises CredentialsRejectedError where it was sealed for another tenant or label."""
        key = self._data_key(tenant_id, sealed.encrypted_key)
        try:
            opened = AESGCM(key).decrypt(sealed.nonce, sealed.ciphertext, label.authenticated(tenant_id))
        except InvalidTag as error:
            raise CredentialsRejectedError(
                f"secret {label.provider}/{label.name} is not this tenant's"
            ) from error
        return opened.decode()

    def _data_key(self, tenant_id: UUID, encrypted: bytes) -> bytes:
        now = time.monotonic()
        with self._lock:
            kept = self._opened.get((tenant_id, encrypted))
        if kept is not None and now - kept[0] < KEY_LIFE.total_seconds():
            return kept[1]
        plain = self._keys.decrypt(encrypted, {"tenant": str(tenant_id)})
        with self._lock:
            if len(self._opened) >= _MAX_CACHED:
                self._opened.clear()
            self._opened[tenant_id, encrypted] = (now, plain)
        return plain


class TenantCredentials:
    """One tenant's secrets through one transaction."""

    def __init__(self, tenant_id: UUID, vault: CredentialVault) -> None:
        self._tenant_id = tenant_id
        self._vault = vault

    def get(self, transaction: Transaction, label: Label) -> Credential:
        """Raises NotFoundError where the tenant has no such secret."""
        row = transaction.fetch_one(_FIND, _columns(label))
        if row is None:
            raise NotFoundError("credential", f"{label.provider}/{label.name}")
        sealed = Sealed(bytes(row["encrypted_key"]), bytes(row["nonce"]), bytes(row["ciphertext"]))
        return Credential(self._vault.open(self._tenant_id, label, sealed), row["version"], row["expires_at"])

    def get_all(
        self, transaction: Transaction, provider: str, needed: Sequence[str], optional: Sequence[str] = ()
    ) -> dict[str, str]:
        """A provider's secrets by name. Raises NotFoundError where the tenant lacks a needed one."""
        found = {name: self.get(transaction, Label(provider, name)).secret for name in needed}
        for name in optional:
            with suppress(NotFoundError):
                found[name] = self.get(transaction, Label(provider, name)).secret
        return found

    def get_or_make(self, transaction: Transaction, label: Label, make: Callable[[], str]) -> Credential:
        """The secret, made at its first use; of two first users the one that comes later takes the other's."""
        try:
            return self.get(transaction, label)
        except NotFoundError:
            sealed = self._vault.seal(self._tenant_id, label, make())
        row = {
            "encrypted_key": sealed.encrypted_key,
            "nonce": sealed.nonce,
            "ciphertext": sealed.ciphertext,
        }
        transaction.execute(_INSERT, {**_columns(label), "tenant_id": self._tenant_id, **row})
        return self.get(transaction, label)

    def put(
        self,
        transaction: Transaction,
        label: Label,
        secret: str,
        *,
        expires_at: datetime | None = None,
        previous_life: timedelta | None = None,
    ) -> int:
        """Store a secret; the one before stays valid for ``previous_life`` where given. Returns the new version."""
        sealed = self._vault.seal(self._tenant_id, label, secret)
        row = transaction.fetch_one(
            _UPSERT,
            {
                **_columns(label),
                "tenant_id": self._tenant_id,
                "encrypted_key": sealed.encrypted_key,
                "nonce": sealed.nonce,
                "ciphertext": sealed.ciphertext,
                "expires_at": expires_at,
                "keep_previous": previous_life is not None,
                "previous_life": previous_life or timedelta(),
            },
        )
        return int(row["version"]) if row else 0


def _columns(label: Label) -> dict[str, Any]:
    return {"provider": label.provider, "app": label.app, "name": label.name}
