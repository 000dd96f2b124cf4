"""A server that follows a script in AWS's place, and clients that close what they open."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from tradewind.aws.client import AwsClient
from tradewind.aws.queues import Entry, Queues

REGION = "us-east-1"
QUEUE = "tradewind-test-orders.fifo"


class Clients:
    """Makes clients, and closes what they keep open."""

    def __init__(self) -> None:
        self._made: list[tuple[AwsClient, str]] = []

    def at(self, endpoint: str, **about: Any) -> AwsClient:
        client = AwsClient(REGION, endpoint, **about)
        self._made.append((client, urlsplit(endpoint).netloc))
        return client

    def queues_at(self, endpoint: str) -> Queues:
        return Queues(self.at(endpoint), f"{endpoint}/123456789012/")

    def close(self) -> None:
        for client, netloc in self._made:
            client._forget(netloc)


def entry(number: int, group: str = "acme#1", size: int = 10) -> Entry:
    body = json.dumps({"n": number, "pad": "x" * size})
    return Entry(f"key-{number}", QUEUE, body, group, f"key-{number}-0")


@dataclass
class Script:
    """What a server does with each request in turn, and what it was asked."""

    turns: list[Callable[[BaseHTTPRequestHandler], None]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    connections: set[tuple[str, int]] = field(default_factory=set)
    endpoint: str = ""


def answers(
    status: int, body: Any = b"", headers: Mapping[str, str] = MappingProxyType({}), *, close: bool = False
) -> Callable[[BaseHTTPRequestHandler], None]:
    """Answer; ``close`` then ends the connection without having said so."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()

    def turn(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)
        handler.close_connection = close

    return turn


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
