"""The Events API under one pixel's token: one call, no retry of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tradewind.advertising import Receipt
from tradewind.errors import InvalidPayloadError
from tradewind.integrations.tiktok.answers import PARTLY, PROVIDER, read_answer
from tradewind.integrations.transport import Transport


class TikTokEventsClient:
    """``pixel_id`` is the event source of the shop's website."""

    def __init__(self, base_url: str, transport: Transport, pixel_id: str, token: str) -> None:
        self._url = f"{base_url.rstrip('/')}/event/track/"
        self._transport = transport
        self._pixel_id = pixel_id
        self._headers = {"Access-Token": token}

    def send(self, event: Mapping[str, Any], test_code: str | None = None) -> Receipt:
        """Send one event. A partial success names those that failed: where ours is among them, it is refused."""
        body: dict[str, Any] = {
            "event_source": "web",
            "event_source_id": self._pixel_id,
            "data": [event],
        }
        body |= {"test_event_code": test_code} if test_code else {}
        answer = self._transport.post_json(PROVIDER, self._url, body, self._headers)
        document = read_answer(answer)
        data = document.get("data")
        failed = data.get("failed_events") if isinstance(data, dict) else None
        if document["code"] == PARTLY and failed:
            first = failed[0] if isinstance(failed[0], dict) else {}
            why = str(first.get("error_message") or "no reason given")[:200]
            raise InvalidPayloadError("event", f"{PROVIDER} refuses it: {why}")
        remarks = (str(document.get("message") or "")[:200],) if document["code"] == PARTLY else ()
        return Receipt(answer.status, 1, str(document.get("request_id", "")), document["code"], remarks)
