"""Files that leave for a place of the tenant's own, and the port through which they are brought there."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol
from uuid import UUID

from tradewind.errors import TerminalError

PIECE = 1024 * 1024
"""Bytes of a file that are held at a time."""


class DestinationKind(StrEnum):
    S3 = "s3"
    """A bucket at AWS, or wherever S3's API is spoken: Google Cloud Storage, R2, MinIO."""
    WEBHOOK = "webhook"
    SFTP = "sftp"


class DestinationRefusedError(TerminalError):
    """The place does not take the file, or must not be given any; a person has to change something first."""


class DestinationGoneError(DestinationRefusedError):
    """The place says that it exists no more."""


@dataclass(frozen=True, slots=True)
class Destination:
    """Where files go. ``name`` is what its secrets are stored under; ``address`` holds what is no secret.

    s3        bucket, region, prefix ("" or "a/b/"), endpoint (https URL, absent for AWS)
    webhook   url
    sftp      host, port, username, folder
    """

    kind: DestinationKind
    name: str
    address: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FileToBring:
    """A file as it lies on this machine. ``delivery_id`` is the same for each attempt at bringing it."""

    path: Path
    name: str
    content_type: str
    sha256: str
    size: int
    delivery_id: UUID


class Couriers(Protocol):
    """Bring files to places outside. Bringing one again replaces it; it never lies there twice."""

    def bring(self, destination: Destination, file: FileToBring) -> None:
        """Raises ProviderUnavailableError, RateLimitedError, CredentialsRejectedError, NotFoundError (no secret is
        stored), DestinationRefusedError or MisconfiguredError.
        """


class WebhookSender(Protocol):
    """Post signed webhooks to addresses that a tenant names."""

    def post(self, name: str, url: str, delivery_id: UUID, body: bytes) -> None:
        """Post JSON, signed with the secret stored under ``name``; ``delivery_id`` is the same for each attempt.

        Raises ProviderUnavailableError, RateLimitedError, NotFoundError (no secret is stored), DestinationGoneError,
        DestinationRefusedError or MisconfiguredError.
        """


def sha256_of(path: Path) -> str:
    """A file's digest, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            digest.update(piece)
    return digest.hexdigest()
