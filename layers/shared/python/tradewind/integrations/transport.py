"""The one door to providers over HTTP, and the only module that knows the HTTP library.

A transport never retries: whether a call may be repeated is the task's decision. Every request has time-outs.
What goes wrong below HTTP becomes ProviderUnavailableError, which says whether the request may have taken
effect.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import httpx

from tradewind.crash import Point, reached
from tradewind.errors import MisconfiguredError, ProviderUnavailableError

_CONNECT_TIMEOUT = timedelta(seconds=2)
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
_UNUSABLE_REQUEST = (httpx.UnsupportedProtocol, httpx.InvalidURL, httpx.LocalProtocolError)


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer of any status. Header names are in lower case; the body is decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport:
    """Posts to providers over a pool of kept connections.

    One pool serves a whole process; ``bound_to`` gives a view on it with a hook of its own. The kernel's hook
    settles the open transaction, so that none is held while a provider thinks.
    """

    def __init__(self, http: httpx.Client, before_request: Callable[[], None] | None = None) -> None:
        self._http = http
        self._before_request = before_request

    @classmethod
    def open(
        cls, timeout: timedelta, *, connections: int = 16, wire: httpx.BaseTransport | None = None
    ) -> Transport:
        """A transport with a new pool. ``timeout`` bounds each wait; ``wire`` replaces the network."""
        seconds = timeout.total_seconds()
        if seconds <= 0:
            raise MisconfiguredError(f"the provider time-out is {seconds} s; it must be positive")
        return cls(
            httpx.Client(
                timeout=httpx.Timeout(seconds, connect=min(seconds, _CONNECT_TIMEOUT.total_seconds())),
                limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
                follow_redirects=False,
                trust_env=False,
                transport=wire,
            )
        )

    def bound_to(self, before_request: Callable[[], None]) -> Transport:
        """The same pool with another hook."""
        return Transport(self._http, before_request)

    def close(self) -> None:
        """Close the pool, for every view on it."""
        self._http.close()

    def post_json(
        self,
        provider: str,
        url: str,
        body: Mapping[str, Any] | Sequence[Any],
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Post ``body`` as JSON. Raises ProviderUnavailableError, or MisconfiguredError for an unusable
        URL.
        """
        content = json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
        sent_headers = {"Content-Type": "application/json", "Accept": "application/json", **(headers or {})}
        return self._send(provider, "POST", url, sent_headers, content)

    def post_content(self, provider: str, url: str, content: bytes, headers: Mapping[str, str]) -> Answer:
        """Post bytes as they are, such as a form or a file. Raises what ``post_json`` raises."""
        return self._send(provider, "POST", url, headers, content)

    def get(self, provider: str, url: str, headers: Mapping[str, str]) -> Answer:
        """Get a document. Raises what ``post_json`` raises."""
        return self._send(provider, "GET", url, {"Accept": "application/json", **headers}, None)

    def get_range(self, provider: str, url: str, offset: int, length: int) -> Answer:
        """Get ``length`` bytes from ``offset`` on, fewer at the end. Raises what ``post_json`` raises."""
        sent_headers = {"Range": f"bytes={offset}-{offset + length - 1}", "Accept-Encoding": "identity"}
        return self._send(provider, "GET", url, sent_headers, None)

    def _send(
        self, provider: str, method: str, url: str, headers: Mapping[str, str], content: bytes | None
    ) -> Answer:
        if self._before_request is not None:
            self._before_request()
        try:
            response = self._http.request(method, url, content=content, headers=headers)
        except _UNUSABLE_REQUEST as error:
            raise MisconfiguredError(
                f"{provider}: unusable request to {url}: {type(error).__name__}"
            ) from error
        except _NEVER_SENT as error:
            raise ProviderUnavailableError(provider, f"not reached: {type(error).__name__}") from error
        except httpx.HTTPError as error:
            reason = f"no usable answer: {type(error).__name__}"
            raise ProviderUnavailableError(provider, reason, outcome_unknown=True) from error
        reached(Point.PROVIDER_ANSWERED)
        names_in_lower_case = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, names_in_lower_case, response.content)


@cache
def shared_transport(timeout: timedelta) -> Transport:
    """The process's pool, whatever provider it is for: connections are kept by their address."""
    return Transport.open(timeout)
