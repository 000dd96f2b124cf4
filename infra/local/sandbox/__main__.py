"""``python -m infra.local.sandbox --port N [--state-dir DIR]``: the provider sandbox as a process of its own.

Plays Shopify at ``/shopify/{shop}/...``, is steered below ``/_sandbox/`` and shows what it received at ``/``.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from infra.local.sandbox.application import Sandbox
from infra.local.sandbox.wire import listen

_STATE_FILE = "sandbox.json"


async def _serve(sandbox: Sandbox, port: int) -> None:
    server = await listen(sandbox.handle, port)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    bound = server.sockets[0].getsockname()[1]
    print(f"sandbox ready at http://127.0.0.1:{bound}", flush=True)  # noqa: T201 - tells where it is
    await stop.wait()
    server.close()


def main() -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.local.sandbox", description="Plays the providers over HTTP."
    )
    parser.add_argument("--port", type=int, required=True, help="port on 127.0.0.1; 0 takes a free one")
    parser.add_argument("--state-dir", type=Path, help="keeps orders and subscriptions over a restart")
    arguments = parser.parse_args()
    state = arguments.state_dir / _STATE_FILE if arguments.state_dir else None
    sandbox = Sandbox()
    try:
        if state is not None and state.exists():
            sandbox.load(state.read_text(encoding="utf-8"))
        asyncio.run(_serve(sandbox, arguments.port))
        if state is not None:
            state.parent.mkdir(parents=True, exist_ok=True)
            state.write_text(sandbox.save(), encoding="utf-8")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        message = f"the sandbox cannot listen on port {arguments.port}: {reason}; choose another"
        print(message, file=sys.stderr)  # noqa: T201 - tells why it ends
        return 1
    except (ValueError, KeyError, TypeError) as error:
        message = f"the sandbox's state in {state} cannot be read ({error}); delete the file"
        print(message, file=sys.stderr)  # noqa: T201 - tells why it ends
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
