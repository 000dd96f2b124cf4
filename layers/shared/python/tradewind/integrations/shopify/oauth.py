"""Shopify's expiring offline tokens: one call renews the access token and rotates the refresh token.

The access token lives an hour, the refresh token about 90 days. The refresh token that was sent stays valid
until the new one is first used, so a lost answer is repaired by calling again. The caller holds the shop's
lock.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus

from pydantic import Field, SecretStr, ValidationError

from tradewind.contracts.payload import Payload
from tradewind.errors import CredentialsRejectedError, InvalidPayloadError
from tradewind.integrations.shopify.answers import PROVIDER, refuse_status
from tradewind.integrations.transport import Transport


@dataclass(frozen=True, slots=True)
class RenewedTokens:
    """Secrets are kept out of ``repr``. ``refresh_expires_in`` is None where Shopify does not say."""

    access_token: str = field(repr=False)
    expires_in: timedelta
    refresh_token: str = field(repr=False)
    refresh_expires_in: timedelta | None
    scope: str


class _Wire(Payload):
    access_token: SecretStr = Field(min_length=1)
    expires_in: int = Field(gt=0)
    refresh_token: SecretStr = Field(min_length=1)
    refresh_token_expires_in: int | None = Field(default=None, gt=0)
    scope: str = ""


def refresh_access_token(
    transport: Transport, *, shop: str, base_url: str, client_id: str, client_secret: str, refresh_token: str
) -> RenewedTokens:
    """Renew the shop's tokens. Raises CredentialsRejectedError where a person must install the app again,
    ProviderUnavailableError, RateLimitedError, or InvalidPayloadError for an answer without tokens.
    """
    body = {
        "client_id": client_id,
        "client_secret": client_secret,
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
    }
    answer = transport.post_json(PROVIDER, f"{base_url.rstrip('/')}/admin/oauth/access_token", body)
    if answer.status == HTTPStatus.BAD_REQUEST:
        raise CredentialsRejectedError(
            f"{shop} refuses the refresh token; the shop must install the app again"
        )
    if answer.status != HTTPStatus.OK:
        refuse_status(answer, shop, mutates=True)
    try:
        wire = _Wire.model_validate(json.loads(answer.body))
    except (ValidationError, ValueError):
        raise InvalidPayloadError(
            "access_token", "Shopify's answer to the refresh holds no usable tokens"
        ) from None
    expires = wire.refresh_token_expires_in
    return RenewedTokens(
        access_token=wire.access_token.get_secret_value(),
        expires_in=timedelta(seconds=wire.expires_in),
        refresh_token=wire.refresh_token.get_secret_value(),
        refresh_expires_in=timedelta(seconds=expires) if expires is not None else None,
        scope=wire.scope,
    )
