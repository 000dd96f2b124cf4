"""What Tradewind keeps of the places to which a tenant's exports are brought."""

from __future__ import annotations

from collections.abc import Mapping

PROVIDER = "export"
"""Secrets are stored under this provider, and under an export's name as its app."""
WEBHOOKS_PROVIDER, WEBHOOK_SECRET = "webhook", "webhook_secret"
"""The same for subscriptions to webhooks, which have this one secret."""
CREDENTIALS: tuple[str, ...] = (
    "access_key_id",
    "secret_access_key",
    "webhook_secret",
    "host_key",
    "password",
    "private_key",
)
SECRETS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "s3": (("access_key_id", "secret_access_key"), ()),
    "webhook": (("webhook_secret",), ()),
    "sftp": (("host_key",), ("password", "private_key")),
}
"""What a destination needs, and what it takes beside it."""
