"""The Measurement Protocol under one property's stream: one call, no retry of its own.

It answers 2xx to anything, a wrong secret included. The secret is part of the address, so that addresses are never
logged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from tradewind.advertising import Receipt
from tradewind.errors import InvalidPayloadError, MisconfiguredError, ProviderUnavailableError
from tradewind.integrations.transport import Transport

PROVIDER = "ga4"
LARGEST_BODY = 130_000
_SUCCESS = range(200, 300)


class Ga4Client:
    """``measurement_id`` is the stream's (``G-...``)."""

    def __init__(self, base_url: str, transport: Transport, measurement_id: str, api_secret: str) -> None:
        query = urlencode({"measurement_id": measurement_id, "api_secret": api_secret})
        self._url = f"{base_url.rstrip('/')}/mp/collect?{query}"
        self._transport = transport

    def send(self, body: Mapping[str, Any]) -> Receipt:
        """Tell the property; that Google says nothing of it is all that is ever known."""
        size = len(json.dumps(body))
        if size > LARGEST_BODY:
            raise InvalidPayloadError("event", f"has {size} bytes", f"GA4 takes {LARGEST_BODY}")
        answer = self._transport.post_json(PROVIDER, self._url, body)
        if answer.status in _SUCCESS:
            return Receipt(answer.status)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.REQUEST_TIMEOUT:
            raise ProviderUnavailableError(PROVIDER, f"answered {answer.status}", outcome_unknown=True)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise ProviderUnavailableError(PROVIDER, "answered 429")
        if answer.status < HTTPStatus.BAD_REQUEST:
            raise MisconfiguredError(f"{PROVIDER} answers with a redirect; check TRADEWIND_GA4_URL")
        raise InvalidPayloadError("event", f"{PROVIDER} answered {answer.status}")
