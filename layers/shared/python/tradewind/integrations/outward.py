"""Connections to addresses that tenants name: checked, pinned, never into the platform's own network.

A name is resolved once; every address that it has must be a public one, and the connection goes to the very address
that was checked: a name that resolves differently a moment later (DNS rebinding) gains nothing. Redirects are not
followed. The local stage may go anywhere, since everything there is local.
"""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, BinaryIO
from urllib.parse import SplitResult, urlsplit

from tradewind.crash import Point, reached
from tradewind.errors import ProviderUnavailableError
from tradewind.exporting import DestinationRefusedError

TIMEOUT = timedelta(seconds=10)
LONGEST_ANSWER = 64 * 1024
"""Of what a stranger's server answers, more is not read."""
_TRANSLATED = (ip_network("64:ff9b::/96"), ip_network("64:ff9b:1::/48"), ip_network("2002::/16"))
"""Networks whose addresses stand for IPv4 ones."""
_PORTS = {"https": 443, "http": 80}
_BLOCK = 64 * 1024

Resolve = Callable[..., list[Any]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def is_public(address: str) -> bool:
    """Whether an address lies in nobody's own network: neither private, loopback, link-local (where clouds tell their
    instances' credentials), shared, reserved, multicast, nor one that stands for another address.
    """
    told: IPv4Address | IPv6Address = ip_address(address.split("%", 1)[0])
    if isinstance(told, IPv6Address):
        if told.ipv4_mapped is not None:
            told = told.ipv4_mapped
        elif any(told in network for network in _TRANSLATED):
            return False
    return told.is_global and not told.is_multicast and not told.is_reserved


class Outward:
    """Opens checked connections. ``anywhere`` lifts the check, for the local stage."""

    def __init__(
        self, *, anywhere: bool, timeout: timedelta = TIMEOUT, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self._anywhere = anywhere
        self._timeout = timeout.total_seconds()
        self._resolve = resolve

    def connect(self, host: str, port: int) -> socket.socket:
        """Raises DestinationRefusedError where the host is not public, ProviderUnavailableError where none answers."""
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ProviderUnavailableError(host, f"its name is not known: {type(error).__name__}") from error
        addresses = [str(each[4][0]) for each in found]
        if not self._anywhere and not all(map(is_public, addresses)):
            raise DestinationRefusedError(
                f"{host} lies in a private network, where nothing is sent; name a public host"
            )
        failure: OSError | None = None
        for address in dict.fromkeys(addresses):
            try:
                return socket.create_connection((address, port), self._timeout)
            except OSError as error:
                failure = error
        raise ProviderUnavailableError(host, f"not reached: {type(failure).__name__}")

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | BinaryIO, size: int
    ) -> Answer:
        """Send ``size`` bytes, from memory or from an open file. Raises what ``connect`` raises."""
        parts = self.check(url)
        host = str(parts.hostname)
        plain = self.connect(host, parts.port or _PORTS[parts.scheme])
        connection = http.client.HTTPConnection(host, timeout=self._timeout, blocksize=_BLOCK)
        try:
            connection.sock = (
                ssl.create_default_context().wrap_socket(plain, server_hostname=host)
                if parts.scheme == "https"
                else plain
            )
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            told = {"Host": parts.netloc, "Content-Length": str(size), "Connection": "close", **headers}
            connection.request(method, target, body, told)
            response = connection.getresponse()
            content = response.read(LONGEST_ANSWER)
        except ssl.SSLCertVerificationError as error:
            raise DestinationRefusedError(
                f"{host}: its certificate is not valid: {error.verify_message}"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            reason = f"no usable answer: {type(error).__name__}"
            raise ProviderUnavailableError(host, reason, outcome_unknown=True) from error
        finally:
            connection.close()
            plain.close()
        reached(Point.PROVIDER_ANSWERED)
        return Answer(response.status, {name.lower(): text for name, text in response.getheaders()}, content)

    def check(self, url: str) -> SplitResult:
        """The URL's parts. Raises DestinationRefusedError for one that nothing is sent to."""
        problem = problem_of(url, anywhere=self._anywhere)
        if problem is not None:
            raise DestinationRefusedError(f"{url.split('?', maxsplit=1)[0][:200]} {problem}")
        return urlsplit(url)


def problem_of(url: str, *, anywhere: bool = False) -> str | None:
    """What is wrong with an address as it stands, before its name is looked up; None where nothing is."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address; send an https:// URL"
    if parts.scheme not in (("https", "http") if anywhere else ("https",)) or not host:
        return "is no https:// URL"
    if parts.username is not None or parts.password is not None:
        return "has a login in it; secrets are stored as credentials"
    if any(each <= " " or each > "~" for each in url):
        return "has a character that no address has"
    try:
        public = is_public(host)
    except ValueError:
        return None
    return None if public or anywhere else "lies in a private network, where nothing is sent"
