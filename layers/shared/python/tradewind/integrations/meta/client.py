"""The Conversions API under one dataset's token: one call, no retry of its own."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from tradewind.advertising import Receipt
from tradewind.errors import ProviderUnavailableError
from tradewind.integrations.meta.answers import PROVIDER, Usage, read_answer, usage_of
from tradewind.integrations.transport import Transport


def proof_of(app_secret: str, token: str) -> str:
    """``appsecret_proof``: that whoever calls knows the app's secret beside the token."""
    return hmac.new(app_secret.encode(), token.encode(), hashlib.sha256).hexdigest()


class MetaEventsClient:
    """``report`` is told what Meta's headers say of its meters, after every answer."""

    def __init__(
        self,
        base_url: str,
        transport: Transport,
        dataset_id: str,
        token: str,
        app_secret: str | None,
        report: Callable[[Usage], None],
    ) -> None:
        self._dataset_url = f"{base_url.rstrip('/')}/{dataset_id}"
        self._url = f"{self._dataset_url}/events"
        self._transport = transport
        self._credentials = {"access_token": token}
        if app_secret:
            self._credentials["appsecret_proof"] = proof_of(app_secret, token)
        self._report = report

    def send(self, event: Mapping[str, Any], test_code: str | None = None) -> Receipt:
        """Send one event: a request of several would be spoiled by one that is too old.

        Raises ProviderUnavailableError where Meta answers well and counts none.
        """
        body: dict[str, Any] = {"data": [event], **self._credentials}
        body |= {"test_event_code": test_code} if test_code else {}
        answer = self._transport.post_json(PROVIDER, self._url, body)
        self._report(usage_of(answer.headers))
        document = read_answer(answer)
        received = document.get("events_received")
        if received != 1:
            raise ProviderUnavailableError(PROVIDER, f"received {received} of 1 event", outcome_unknown=True)
        remarks = tuple(str(each)[:200] for each in document.get("messages") or [])
        return Receipt(answer.status, 1, str(document.get("fbtrace_id", "")), remarks=remarks)

    def look(self) -> dict[str, str]:
        """What Meta tells of the dataset: its name, and when it last took an event."""
        asked = {name: value for name, value in self._credentials.items() if name == "appsecret_proof"}
        query = urlencode({"fields": "name,last_fired_time", **asked})
        headers = {"Authorization": f"Bearer {self._credentials['access_token']}"}
        document = read_answer(self._transport.get(PROVIDER, f"{self._dataset_url}?{query}", headers))
        return {name: str(document[name]) for name in ("name", "last_fired_time") if document.get(name)}
