"""Slack's Web API under one bot's token: one call each, no retry of its own."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from tradewind.errors import InvalidPayloadError, ProviderUnavailableError
from tradewind.integrations.slack.answers import PROVIDER, read_answer
from tradewind.integrations.transport import Transport
from tradewind.ports import Note, Picture

MOST_BLOCKS, LONGEST_SECTION = 50, 3000
_EVENT = "tradewind_note"
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}


class SlackClient:
    """``channel`` is a channel's id."""

    def __init__(self, base_url: str, transport: Transport, token: str, channel: str) -> None:
        self._base_url = base_url.rstrip("/")
        self._transport = transport
        self._headers = {"Authorization": f"Bearer {token}"}
        self._channel = channel

    def post(self, key: str, note: Note) -> str:
        """Post a message; returns its ``ts``. The key goes with it as metadata, so that it can be found again."""
        body = {
            "channel": self._channel,
            "text": note.text,
            "blocks": blocks_of(note),
            "unfurl_links": False,
            "metadata": {"event_type": _EVENT, "event_payload": {"key": key}},
        }
        answer = self._transport.post_json(
            PROVIDER, f"{self._base_url}/chat.postMessage", body, self._headers
        )
        return str(read_answer(answer).get("ts", ""))

    def find(self, key: str) -> str | None:
        """The ``ts`` of the message with this key among the channel's latest hundred; None where there is none."""
        asked = {"channel": self._channel, "limit": "100", "include_all_metadata": "true"}
        found = self._form("conversations.history", asked)
        for message in found.get("messages") or []:
            payload = (message.get("metadata") or {}).get("event_payload") or {}
            if payload.get("key") == key:
                return str(message.get("ts", ""))
        return None

    def upload(self, picture: Picture) -> str:
        """Share a picture in the channel; returns its file's id."""
        length = str(len(picture.content))
        place = self._form("files.getUploadURLExternal", {"filename": picture.name, "length": length})
        headers = {"Content-Type": "application/octet-stream"}
        sent = self._transport.post_content(PROVIDER, str(place["upload_url"]), picture.content, headers)
        if sent.status != HTTPStatus.OK:
            raise ProviderUnavailableError(PROVIDER, f"upload answered {sent.status}")
        body = {
            "files": [{"id": place["file_id"], "title": picture.title}],
            "channel_id": self._channel,
            "initial_comment": picture.title,
        }
        url = f"{self._base_url}/files.completeUploadExternal"
        read_answer(self._transport.post_json(PROVIDER, url, body, self._headers))
        return str(place["file_id"])

    def _form(self, method: str, fields: Mapping[str, str]) -> Mapping[str, Any]:
        content, headers = urlencode(fields).encode(), {**self._headers, **_FORM}
        url = f"{self._base_url}/{method}"
        return read_answer(self._transport.post_content(PROVIDER, url, content, headers))


def blocks_of(note: Note) -> list[dict[str, Any]]:
    """A header and a section for each text. Raises InvalidPayloadError where Slack would not take them."""
    if len(note.sections) + 1 > MOST_BLOCKS:
        raise InvalidPayloadError("sections", f"are {len(note.sections)}", f"{MOST_BLOCKS - 1} at most")
    if any(not 0 < len(section) <= LONGEST_SECTION for section in note.sections):
        raise InvalidPayloadError("sections", f"have 1 to {LONGEST_SECTION} characters each")
    header = {"type": "header", "text": {"type": "plain_text", "text": note.text[:150]}}
    sections = [{"type": "section", "text": {"type": "mrkdwn", "text": each}} for each in note.sections]
    return [header, *sections]
