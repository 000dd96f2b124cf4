"""A function's process that lets ``infra/local/preloader.py`` do its work, and ends when that has ended.

Run by path with ``python -I -S`` by a bundle's ``bootstrap``; standard library only, and little of it: this is what is
left of a start. Where nobody answers at the socket ``TRADEWIND_PRELOADER``, it becomes what the bootstrap would run.
"""

import _socket  # `socket` would cost more than all the rest
import os
import sys

SOL_SOCKET, SCM_RIGHTS = _socket.SOL_SOCKET, _socket.SCM_RIGHTS


def main(handler: str) -> int:
    """The exit code of the function's process."""
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        connection.connect("\0" + os.environ["TRADEWIND_PRELOADER"])
    except OSError:
        alone(handler)
    variables = [name + b"=" + value for name, value in os.environb.items()]
    folder = os.getcwdb()  # noqa: PTH109 - pathlib would cost as much again
    body = b"\0".join([handler.encode(), folder, *variables])
    streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
    connection.sendmsg([len(body).to_bytes(4, "big")], [(SOL_SOCKET, SCM_RIGHTS, streams)])
    while body:
        body = body[connection.send(body) :]
    code = connection.recv(1)
    return code[0] if code else 1


def alone(handler: str) -> None:
    """Go on as the bootstrap would without a preloader."""
    python, client = os.environ["TRADEWIND_PYTHON"], os.environ.get("TRADEWIND_RUNTIME_CLIENT")
    rest = ["-P", client, handler] if client else ["-m", "awslambdaric", handler]
    os.execv(python, [python, *rest])  # noqa: S606 - the program is the deployment's own


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
