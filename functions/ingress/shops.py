"""Whose a delivery is and which secrets may have signed it: one look-up, kept for a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from ingress.deliveries import PROVIDERS
from tradewind.tenancy.credentials import CredentialVault, Label, Sealed
from tradewind.tenancy.database import Connections, Row, Session

_FIND_SHOP = "SELECT * FROM find_shop(%(provider)s, %(app)s, %(shop)s)"
LIFE_SECONDS = 60.0
_MAX_KEPT = 5000


@dataclass(frozen=True, slots=True, repr=False)
class Shop:
    """A shop as the receiver sees it. ``tenant_id`` is None for a shop that no tenant has."""

    tenant_id: UUID | None
    slug: str | None
    installed: bool
    secrets: tuple[bytes, ...]


class ShopDirectory:
    """Looks shops up in Postgres and keeps the answers for ``LIFE_SECONDS``.

    A known shop may be signed with its own secrets or its app's; an unknown one with any secret of the app, which
    proves only that the app's deliveries reach us and gives access to no tenant.
    """

    def __init__(self, connections: Connections, vault: CredentialVault) -> None:
        self._connections = connections
        self._vault = vault
        self._kept: dict[tuple[str, str, str], tuple[float, Shop]] = {}
        self._lock = threading.Lock()

    def find(self, provider: str, app: str, account: str, *, fresh: bool = False) -> Shop:
        """``fresh`` passes over what is kept: a secret may have been rotated a moment ago."""
        key = (provider, app, account)
        with self._lock:
            kept = self._kept.get(key)
        if kept is not None and not fresh and time.monotonic() - kept[0] < LIFE_SECONDS:
            return kept[1]
        session = Session(self._connections)
        try:
            rows = session.call(_FIND_SHOP, {"provider": provider, "app": app, "shop": account})
        finally:
            session.close()
        shop = self._shop(provider, app, rows)
        with self._lock:
            if len(self._kept) >= _MAX_KEPT:
                self._kept.clear()
            self._kept[key] = (time.monotonic(), shop)
        return shop

    def kept(self, provider: str, app: str, account: str) -> Shop | None:
        """The last answer, however old; None where there is none. For when Postgres gives no other."""
        with self._lock:
            kept = self._kept.get((provider, app, account))
        return None if kept is None else kept[1]

    def _shop(self, provider: str, app: str, rows: Sequence[Row]) -> Shop:
        secrets = tuple(secret for row in rows for secret in self._secrets(provider, app, row))
        if not rows or rows[0]["tenant_id"] is None:
            return Shop(None, None, installed=False, secrets=secrets)
        first = rows[0]
        installed = (
            first["tenant_status"] in ("active", "paused") and first["installation_status"] != "uninstalled"
        )
        return Shop(first["tenant_id"], first["slug"], installed=installed, secrets=secrets)

    def _secrets(self, provider: str, app: str, row: Row) -> list[bytes]:
        name, owner_app = PROVIDERS[provider].secret_label(app)
        label = Label(provider, name, owner_app)
        owner = row["secret_tenant_id"]
        sealed = [Sealed(bytes(row["encrypted_key"]), bytes(row["nonce"]), bytes(row["ciphertext"]))]
        if row["previous_until"] is not None and row["previous_until"] > datetime.now(UTC):
            previous = (row["previous_encrypted_key"], row["previous_nonce"], row["previous_ciphertext"])
            sealed.append(Sealed(*(bytes(part) for part in previous)))
        return [self._vault.open(owner, label, item).encode() for item in sealed]
