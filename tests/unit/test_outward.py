"""Where tenants' webhooks and files may go: public places alone, whatever a name resolves to."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tradewind.errors import ProviderUnavailableError
from tradewind.exporting import DestinationRefusedError
from tradewind.integrations.outward import Outward, is_public, problem_of

PRIVATE = [
    "127.0.0.1",
    "0.0.0.0",  # noqa: S104 - an address to refuse
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "fe80::1%eth0",
    "fc00::1",
    "fd00:ec2::254",
    "ff02::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:7f00:1::",
    "2001:db8::1",
]


def resolving(*addresses: str) -> Any:
    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    return resolve


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_refused_and_nothing_is_opened(address: str) -> None:
    assert not is_public(address)
    outward = Outward(anywhere=False, resolve=resolving(address))
    with pytest.raises(DestinationRefusedError, match="private network"):
        outward.connect("files.example.com", 443)


@pytest.mark.parametrize("address", ["1.1.1.1", "52.95.110.1", "2606:4700:4700::1111"])
def test_public_address_is_public(address: str) -> None:
    assert is_public(address)


def test_name_with_one_private_address_among_public_ones_is_refused() -> None:
    outward = Outward(anywhere=False, resolve=resolving("1.1.1.1", "10.0.0.1"))
    with pytest.raises(DestinationRefusedError):
        outward.connect("files.example.com", 443)


def test_connection_goes_to_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to a private address a moment later is not asked again."""
    answers = iter([resolving("1.1.1.1"), resolving("127.0.0.1")])
    opened: list[Any] = []

    def resolve(*about: Any, **more: Any) -> list[Any]:
        found: list[Any] = next(answers)(*about, **more)
        return found

    def create(address: Any, timeout: float) -> Any:
        opened.append(address)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", create)
    with pytest.raises(ProviderUnavailableError, match="not reached"):
        Outward(anywhere=False, resolve=resolve).connect("rebound.example.com", 443)
    assert opened == [("1.1.1.1", 443)]


def test_unknown_name_may_be_tried_again() -> None:
    def resolve(*_: Any, **__: Any) -> list[Any]:
        raise socket.gaierror

    with pytest.raises(ProviderUnavailableError, match="its name is not known"):
        Outward(anywhere=False, resolve=resolve).connect("nowhere.example", 443)


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("http://shop.example.com/in", "no https"),
        ("ftp://shop.example.com", "no https"),
        ("https:///in", "no https"),
        ("https://user:pass@shop.example.com/", "a login in it"),
        ("https://127.0.0.1/in", "private network"),
        ("https://[::1]/in", "private network"),
        ("https://[::ffff:10.0.0.1]/in", "private network"),
        ("https://169.254.169.254/latest/meta-data", "private network"),
        ("https://shop.example.com/in\r\nHost: x", "character"),
        ("https://shop.example.com:port/", "no address"),
        ("https://shop.example.com/in?x=1", None),
        ("https://shop.example.com:8443/in", None),
    ],
)
def test_problem_of_an_address(url: str, problem: str | None) -> None:
    found = problem_of(url)
    assert found is None if problem is None else problem in str(found)


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f000001", "127.1"])
def test_other_spellings_of_this_machine_are_refused(host: str) -> None:
    with pytest.raises((DestinationRefusedError, ProviderUnavailableError)) as refused:
        Outward(anywhere=False, resolve=socket.getaddrinfo).connect(host, 1)
    assert "not reached" not in str(refused.value)


def test_local_stage_may_go_anywhere() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        Outward(anywhere=True).connect("127.0.0.1", server.getsockname()[1]).close()
    assert problem_of("http://127.0.0.1:8080/in", anywhere=True) is None
