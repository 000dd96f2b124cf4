"""One signed HTTP client for the services of the hot path, with kept-alive connections per thread."""

from __future__ import annotations

import http.client
import json
import os
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from tradewind.aws.signing import Keys, sign
from tradewind.crash import Point, reached
from tradewind.errors import MisconfiguredError, RateLimitedError, RetryableError, TerminalError

_THROTTLES = frozenset(
    {
        "ThrottlingException",
        "TooManyRequestsException",
        "RequestThrottled",
        "SlowDown",
        "KMS.ThrottlingException",
    }
)
_TOO_MANY_REQUESTS = 429
_SERVER_FAULT = 500
_OK = 200


class AwsUnavailableError(RetryableError):
    """AWS gave no answer or a server fault; the call may have taken effect."""


class AwsRefusedError(TerminalError):
    """AWS refuses the request. ``code`` is its error code."""

    def __init__(self, service: str, code: str, message: str) -> None:
        super().__init__(f"{service}: {code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class FileBody:
    """An open file as a request's body, sent piece by piece. ``sha256`` in hexadecimal, ``size`` in bytes."""

    file: BinaryIO
    size: int
    sha256: str


class AwsClient:
    """Signs and sends requests. ``endpoint`` is the local cloud's address, or None for AWS itself."""

    def __init__(self, region: str, endpoint: str | None, timeout: timedelta = timedelta(seconds=5)) -> None:
        self._region = region
        self._endpoint = endpoint
        self._timeout = timeout
        self._local = threading.local()

    def json_call(
        self,
        service: str,
        target: str,
        body: Mapping[str, Any],
        *,
        version: str = "1.0",
        host: str | None = None,
    ) -> dict[str, Any]:
        """Call an operation of AWS's JSON protocol and return its answer.

        Raises AwsUnavailableError, RateLimitedError (throttled) or AwsRefusedError.
        """
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        answer = self.send(service, "POST", "/", headers, json.dumps(body).encode(), host=host)
        if answer.status != _OK:
            raise _refusal(service, answer)
        parsed: dict[str, Any] = json.loads(answer.body or b"{}")
        return parsed

    def send(
        self,
        service: str,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | FileBody,
        *,
        host: str | None = None,
        query: str = "",
    ) -> Answer:
        """Send one signed request. A kept-alive connection that the other side has closed is opened once more."""
        url = urlsplit(self._endpoint or f"https://{host or f'{service}.{self._region}.amazonaws.com'}")
        signed = sign(
            method=method,
            host=url.netloc,
            path=path,
            headers=headers,
            body=body if isinstance(body, bytes) else b"",
            service=service.removeprefix("sync-"),
            region=self._region,
            keys=read_keys(),
            at=datetime.now(UTC),
            query=query,
            digest=None if isinstance(body, bytes) else body.sha256,
        )
        path = f"{path}?{query}" if query else path
        del signed["host"]
        connection, kept = self._connection(url.scheme, url.netloc)
        try:
            return _exchange(connection, method, path, body, signed)
        except (ConnectionError, http.client.BadStatusLine) as error:
            self._forget(url.netloc)
            if not kept:
                raise AwsUnavailableError(f"{service}: {error!r}") from error
        except (OSError, http.client.HTTPException) as error:
            self._forget(url.netloc)
            raise AwsUnavailableError(f"{service}: {error!r}") from error
        return self._once_more(service, url.scheme, url.netloc, method, path, body, signed)

    def _once_more(
        self,
        service: str,
        scheme: str,
        netloc: str,
        method: str,
        path: str,
        body: bytes | FileBody,
        signed: dict[str, str],
    ) -> Answer:
        if not isinstance(body, bytes):
            body.file.seek(0)
        connection, _ = self._connection(scheme, netloc)
        try:
            return _exchange(connection, method, path, body, signed)
        except (OSError, http.client.HTTPException) as error:
            self._forget(netloc)
            raise AwsUnavailableError(f"{service}: {error!r}") from error

    def _connection(self, scheme: str, netloc: str) -> tuple[http.client.HTTPConnection, bool]:
        kept: dict[str, http.client.HTTPConnection] = self._local.__dict__.setdefault("kept", {})
        if netloc in kept:
            return kept[netloc], True
        seconds = self._timeout.total_seconds()
        kept[netloc] = (
            http.client.HTTPSConnection(netloc, timeout=seconds, context=ssl.create_default_context())
            if scheme == "https"
            else http.client.HTTPConnection(netloc, timeout=seconds)
        )
        return kept[netloc], False

    def _forget(self, netloc: str) -> None:
        connection = self._local.__dict__.get("kept", {}).pop(netloc, None)
        if connection is not None:
            connection.close()


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    body: bytes | FileBody,
    headers: dict[str, str],
) -> Answer:
    if isinstance(body, bytes):
        connection.request(method, path, body, headers)
    else:
        connection.request(method, path, body.file, {**headers, "content-length": str(body.size)})
    response = connection.getresponse()
    content = response.read()
    reached(Point.AWS_ANSWERED)
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def read_keys() -> Keys:
    """The function's own credentials, as Lambda sets them in the environment (and renews them)."""
    access, secret = os.environ.get("AWS_ACCESS_KEY_ID"), os.environ.get("AWS_SECRET_ACCESS_KEY")
    if not access or not secret:
        raise MisconfiguredError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set in this process")
    return Keys(access, secret, os.environ.get("AWS_SESSION_TOKEN") or None)


def _refusal(service: str, answer: Answer) -> Exception:
    try:
        parsed = json.loads(answer.body)
    except ValueError:
        parsed = {}
    if not isinstance(parsed, dict):
        parsed = {}
    raw = str(
        parsed.get("__type") or parsed.get("code") or answer.headers.get("x-amzn-errortype") or answer.status
    )
    code = raw.rsplit("#", 1)[-1].split(":", 1)[0]
    message = str(
        parsed.get("message") or parsed.get("Message") or answer.body[:200].decode(errors="replace")
    )
    if code in _THROTTLES or answer.status == _TOO_MANY_REQUESTS:
        return RateLimitedError(f"aws {service}", timedelta(seconds=1))
    if answer.status >= _SERVER_FAULT:
        return AwsUnavailableError(f"{service}: {code}: {message}")
    return AwsRefusedError(service, code, message)
