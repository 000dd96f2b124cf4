"""Signed addresses that a recipient of an e-mail may use without logging in.

A token names the tenant, the order and the e-mail's number, and carries no address; its signature is HMAC-SHA256 under
a key of the tenant's own, which lies sealed among its credentials.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from uuid import UUID

from tradewind.errors import InvalidPayloadError, MisconfiguredError
from tradewind.tenancy.credentials import CredentialVault, Label, TenantCredentials
from tradewind.tenancy.database import Session
from tradewind.tenancy.tenant import Tenant

KEY = Label("tradewind", "link_key")
_MAC_BYTES = 16
_LONGEST = 200
_LIFE = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class LinkSubject:
    """Whose e-mail a link stands in."""

    tenant_id: UUID
    order_id: int
    sequence: int

    @property
    def text(self) -> str:
        return f"{self.tenant_id.hex}-{self.order_id}-{self.sequence}"


def make_token(subject: LinkSubject, key: str) -> str:
    """``{tenant}-{order}-{number}-{signature}``: letters, digits, hyphens and underscores alone."""
    return f"{subject.text}-{_signature(subject, key)}"


def read_subject(token: str) -> LinkSubject:
    """What a token claims, before its signature is looked at. Raises InvalidPayloadError."""
    parts = token.split("-", 3) if len(token) <= _LONGEST else []
    try:
        tenant, order, sequence, _ = parts
        if not (order.isascii() and order.isdigit() and sequence.isascii() and sequence.isdigit()):
            raise ValueError("numbers are expected")
        subject = LinkSubject(UUID(hex=tenant), int(order), int(sequence))
    except ValueError as error:
        raise InvalidPayloadError("token", "is none of ours") from error
    if subject.order_id >= 2**63 or subject.sequence >= 2**31:
        raise InvalidPayloadError("token", "is none of ours")
    return subject


def is_signed(token: str, subject: LinkSubject, key: str) -> bool:
    """Whether a token carries its subject's signature, compared in constant time."""
    return hmac.compare_digest(token.encode(), make_token(subject, key).encode())


def _signature(subject: LinkSubject, key: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(key)
    except (binascii.Error, ValueError) as error:
        raise MisconfiguredError("the tenant's link key is unusable") from error
    mac = hmac.digest(raw, f"unsubscribe:{subject.text}".encode(), hashlib.sha256)[:_MAC_BYTES]
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


@cache
def _kept() -> dict[UUID, tuple[float, str]]:
    """Keys that this process has read lately, by tenant."""
    return {}


class TenantLinks:
    """A tenant's links; its key is kept in the process for a while."""

    def __init__(self, tenant: Tenant, session: Session, vault: CredentialVault) -> None:
        self._tenant = tenant
        self._session = session
        self._credentials = TenantCredentials(tenant.id, vault)

    def signer(self) -> Callable[[int, int], str]:
        """Raises MisconfiguredError where the tenant was registered without the deployment's address."""
        base = self._tenant.settings.get("webhook_url")
        if not base:
            raise MisconfiguredError(f"tenant {self._tenant.slug} has no webhook_url; register it again")
        key = self._own_key()

        def sign(order_id: int, sequence: int) -> str:
            token = make_token(LinkSubject(self._tenant.id, order_id, sequence), key)
            return f"{str(base).rstrip('/')}/unsubscribe/{token}"

        return sign

    def _own_key(self) -> str:
        kept = _kept().get(self._tenant.id)
        if kept is not None and time.monotonic() - kept[0] < _LIFE.total_seconds():
            return kept[1]
        with self._session.transaction(self._tenant.id) as transaction:
            key = self._credentials.get_or_make(transaction, KEY, new_key).secret
        self._session.settle()
        _kept()[self._tenant.id] = (time.monotonic(), key)
        return key
