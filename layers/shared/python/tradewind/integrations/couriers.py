"""The ``Couriers`` that a task is handed: they bring files to the tenant's own places, under its own secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from tradewind.contracts.exports import PROVIDER, SECRETS
from tradewind.errors import MisconfiguredError, NotFoundError
from tradewind.exporting import (
    PIECE,
    Destination,
    DestinationKind,
    DestinationRefusedError,
    FileToBring,
)
from tradewind.integrations import bucket, sftp
from tradewind.integrations.signed_webhooks import judge, read_secret, sign
from tradewind.integrations.tenant_sender import TenantSender
from tradewind.tasks.scope import Scope
from tradewind.tenancy.credentials import Label

MOST_BYTES = 100 * 1024 * 1024
"""Of a file that is posted to a webhook; a larger one belongs in a bucket or on a server."""


def couriers(scope: Scope) -> TenantCouriers:
    return TenantCouriers.of(scope)


class TenantCouriers(TenantSender):
    """See ``Couriers``. Nothing is kept over a call."""

    def bring(self, destination: Destination, file: FileToBring) -> None:
        secrets = self._secrets(destination)
        match destination.kind:
            case DestinationKind.S3:
                bucket.put_file(self._outward, destination, file, secrets, self._clock.now())
            case DestinationKind.SFTP:
                if not secrets.keys() & {"password", "private_key"}:
                    raise MisconfiguredError(
                        f"export {destination.name} has neither password nor private_key stored"
                    )
                sftp.put_file(self._outward, destination, file, secrets)
            case DestinationKind.WEBHOOK:
                self._post(destination, file, read_secret(secrets["webhook_secret"]))

    def _post(self, destination: Destination, file: FileToBring, key: bytes) -> None:
        if file.size > MOST_BYTES:
            raise DestinationRefusedError(
                f"{file.name} has {file.size} bytes; a webhook is sent at most {MOST_BYTES}: use a bucket or SFTP"
            )
        url, now = destination.address["url"], self._clock.now()
        headers = sign(key, str(file.delivery_id), now, _pieces(file.path))
        headers |= {
            "Content-Type": file.content_type,
            "Content-Disposition": f'attachment; filename="{file.name}"',
            "X-Tradewind-Event": "attribution.exported",
            "X-Tradewind-Export": destination.name,
            "X-Tradewind-Sha256": file.sha256,
        }
        with file.path.open("rb") as body:
            answer = self._outward.send("POST", url, headers, body, file.size)
        judge(str(self._outward.check(url).hostname), answer, now)

    def _secrets(self, destination: Destination) -> Mapping[str, str]:
        needed, optional = SECRETS[destination.kind]
        credentials, found = self._credentials, {}
        with self._session.transaction(self._tenant.id) as transaction:
            for name in needed:
                found[name] = credentials.get(transaction, Label(PROVIDER, name, destination.name)).secret
            for name in optional:
                with suppress(NotFoundError):
                    found[name] = credentials.get(transaction, Label(PROVIDER, name, destination.name)).secret
        self._session.settle()
        return found


def _pieces(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
