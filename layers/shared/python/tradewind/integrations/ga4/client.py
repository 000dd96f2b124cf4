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

from tradewind.advertising import Checked, Receipt
from tradewind.errors import InvalidPayloadError, MisconfiguredError, ProviderUnavailableError
from tradewind.integrations.transport import Answer, Transport

PROVIDER = "ga4"
LARGEST_BODY = 130_000
_SUCCESS = range(200, 300)


class Ga4Client:
    """``measurement_id`` is the stream's (``G-...``)."""

    def __init__(self, base_url: str, transport: Transport, measurement_id: str, api_secret: str) -> None:
        query = urlencode({"measurement_id": measurement_id, "api_secret": api_secret})
        self._url = f"{base_url.rstrip('/')}/mp/collect?{query}"
        self._debug_url = f"{base_url.rstrip('/')}/debug/mp/collect?{query}"
        self._transport = transport

    def send(self, body: Mapping[str, Any]) -> Receipt:
        """Tell the property; that Google says nothing of it is all that is ever known."""
        size = len(json.dumps(body))
        if size > LARGEST_BODY:
            raise InvalidPayloadError("event", f"has {size} bytes", f"GA4 takes {LARGEST_BODY}")
        answer = self._post(self._url, body)
        return Receipt(answer.status)

    def check(self, body: Mapping[str, Any]) -> Checked:
        """What Google objects to; it counts nothing, and does not look at the secret."""
        answer = self._post(self._debug_url, body)
        try:
            messages = json.loads(answer.body)["validationMessages"]
            faults = [f"{each['validationCode']}: {each['description']}"[:300] for each in messages]
        except (ValueError, KeyError, TypeError) as error:
            raise ProviderUnavailableError(PROVIDER, "answered without validationMessages") from error
        return Checked(tuple(faults))

    def _post(self, url: str, body: Mapping[str, Any]) -> Answer:
        """An answer of success. Raises the error that another means."""
        answer = self._transport.post_json(PROVIDER, url, body)
        if answer.status in _SUCCESS:
            return answer
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status == HTTPStatus.REQUEST_TIMEOUT:
            raise ProviderUnavailableError(PROVIDER, f"answered {answer.status}", outcome_unknown=True)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            raise ProviderUnavailableError(PROVIDER, "answered 429")
        if answer.status < HTTPStatus.BAD_REQUEST:
            raise MisconfiguredError(f"{PROVIDER} answers with a redirect; check TRADEWIND_GA4_URL")
        raise InvalidPayloadError("event", f"{PROVIDER} answered {answer.status}")
