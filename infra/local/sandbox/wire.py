"""A small HTTP/1.1 server on asyncio and h11 that can also misbehave: hold, reset or drop an answer."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from urllib.parse import parse_qsl, unquote

import h11

MAX_BODY_BYTES = 64 * 1024 * 1024
_READ_BYTES = 256 * 1024
_IDLE_SECONDS = 120.0


class Delivery(StrEnum):
    """What becomes of an answer on its way back."""

    SENT = "sent"
    HELD = "held"
    RESET = "reset"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Request:
    """A request. ``path`` is decoded and split; header names are in lower case."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    def document(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer and its fate. ``remark`` is for the record: what a status of 200 does not tell."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = Delivery.SENT
    hold_seconds: float = 0.0
    remark: str = ""


def json_reply(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Reply:
    body = json.dumps(document, separators=(",", ":")).encode()
    return Reply(status, body, {"content-type": "application/json; charset=utf-8", **(headers or {})})


def refusal(status: int, message: str) -> Reply:
    """The control API's answer to a request it cannot follow."""
    return json_reply(status, {"error": message})


def html_reply(text: str) -> Reply:
    return Reply(200, text.encode(), {"content-type": "text/html; charset=utf-8"})


Handler = Callable[[Request], Reply]


class Connection:
    """One client's connection, request after request."""

    def __init__(self, handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._handler = handler
        self._reader = reader
        self._writer = writer
        self._state = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        try:
            while await self._serve_one():
                self._state.start_next_cycle()
        except (h11.RemoteProtocolError, ConnectionError, TimeoutError):
            pass  # the client broke off; there is nobody to tell
        except asyncio.CancelledError:
            pass  # the sandbox stops
        finally:
            self._writer.close()

    async def _serve_one(self) -> bool:
        """Answer one request; whether the connection may carry another."""
        received = await self._receive()
        if received is None:
            return False
        reply = self._handler(received) if isinstance(received, Request) else received
        if reply.hold_seconds:
            await asyncio.sleep(reply.hold_seconds)
        if reply.delivery is Delivery.RESET:
            self._reset()
        if reply.delivery is not Delivery.SENT:
            return False
        headers = [*reply.headers.items(), ("content-length", str(len(reply.body)))]
        head = h11.Response(status_code=reply.status, headers=headers)
        pieces = (self._state.send(head), self._state.send(h11.Data(data=reply.body)))
        end = self._state.send(h11.EndOfMessage())
        self._writer.write(b"".join(piece for piece in (*pieces, end) if piece))
        await self._writer.drain()
        return self._state.our_state is h11.DONE and self._state.their_state is h11.DONE

    async def _receive(self) -> Request | Reply | None:
        head: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._state.next_event()
            if event is h11.NEED_DATA:
                self._state.receive_data(
                    await asyncio.wait_for(self._reader.read(_READ_BYTES), _IDLE_SECONDS)
                )
            elif isinstance(event, h11.Request):
                head = event
                if self._state.they_are_waiting_for_100_continue:
                    go_on = self._state.send(h11.InformationalResponse(status_code=100, headers=[]))
                    self._writer.write(go_on or b"")
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    return refusal(413, f"body is over {MAX_BODY_BYTES} bytes")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return _request(head, bytes(body))
            else:
                return None

    def _reset(self) -> None:
        """Close with RST instead of FIN, as a broken network does."""
        raw = self._writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


def _request(head: h11.Request, body: bytes) -> Request:
    target = head.target.decode("latin-1")
    path, _, query = target.partition("?")
    return Request(
        method=head.method.decode("latin-1"),
        path=tuple(unquote(part) for part in path.split("/") if part),
        query=dict(parse_qsl(query, keep_blank_values=True)),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
        body=body,
    )


async def listen(handler: Handler, port: int) -> asyncio.Server:
    """Serve on 127.0.0.1. Raises OSError where the port is taken."""

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(handler, reader, writer).serve()

    return await asyncio.start_server(on_connection, "127.0.0.1", port, limit=_READ_BYTES, backlog=256)
