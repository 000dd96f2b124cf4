"""The ports of the local cloud, all on the loopback interface."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

HOST = "127.0.0.1"
UNPRIVILEGED_PORTS = range(1024, 65536)

_given: set[int] = set()
"""What this process has been given: the system may name a port again before its program listens on it."""


class PortTakenError(Exception):
    """A port that a variable asks for is in use; the message names both."""

    def __init__(self, variable: str, port: int) -> None:
        super().__init__(
            f"port {port}, which {variable} asks for, is in use by another program.\n"
            f"Choose another one, or unset {variable}: a free port is then found."
        )
        self.variable = variable
        self.port = port


class PortInvalidError(Exception):
    """A variable that should hold a port holds something else."""

    def __init__(self, variable: str, value: str) -> None:
        super().__init__(f"{variable} is {value!r}; set a port from 1024 to 65535, or unset it")
        self.variable = variable


def free_port() -> int:
    """A port that nothing listens on at the moment, another one at each call."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


def choose_port(variable: str, environment: Mapping[str, str] = os.environ) -> int:
    """The port the variable asks for, or a free one. Raises PortTakenError and PortInvalidError."""
    value = environment.get(variable, "")
    if not value:
        return free_port()
    if not value.isdigit() or int(value) not in UNPRIVILEGED_PORTS:
        raise PortInvalidError(variable, value)
    port = int(value)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port in TIME_WAIT from the last run counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise PortTakenError(variable, port) from error
    return port


def accepts_connections(port: int) -> bool:
    """Whether something listens on the port."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((HOST, port)) == 0
