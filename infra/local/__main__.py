"""`make up` and `make down`: `python -m infra.local up [--domains a,b] [--authorize]`, `down`, `status`."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from typing import NoReturn, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from infra.local import cloud, instructions, paths
from infra.local.paths import NotInstalledError
from infra.local.progress import Step, StepState
from infra.local.state import State

INTERRUPTED = 130


class Progress:
    """Shows the steps of starting: live on a terminal, a line for each finished step elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._steps: dict[str, Step] = {}
        self._live = (
            Live(console=console, transient=False, refresh_per_second=8) if console.is_terminal else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, step: Step) -> None:
        """Take a step's news."""
        self._steps[step.name] = step
        if self._live is not None:
            self._live.update(self._table())
        elif step.state is StepState.DONE:
            self._console.print(f"  {step.name:<18}{step.seconds:6.1f} s")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for step in self._steps.values():
            if step.state is StepState.DONE:
                table.add_row("  [green]done[/]", step.name, f"{step.seconds:.1f} s")
            else:
                table.add_row(Spinner("dots", "  "), step.name, step.detail)
        return table


def up(console: Console, domains: Sequence[str] | None, *, authorize: bool) -> int:
    """Start the local cloud, or say that it runs; returns the exit code."""
    running = cloud.find_running()
    if running is not None:
        console.print("The local cloud already runs. `make down` stops it.\n")
        _print_state(console, running)
        return 0
    if paths.STATE.exists():
        console.print("The last local cloud was killed; what it left is removed.")
    started = time.monotonic()
    console.print("Starting the local cloud (Ctrl-C stops it again)")
    try:
        with Progress(console) as progress:
            own = cloud.start_cloud(domains, progress.show, authorize=authorize)
        own.let_go()
    except cloud.StartError as failure:
        _print_plain(
            console, f"\nThe local cloud did not start; everything has been stopped again.\n\n{failure}"
        )
        return 1
    console.print(
        f"\nThe local cloud runs, after {time.monotonic() - started:.0f} s. `make down` stops it.\n"
    )
    _print_state(console, own.state)
    return 0


def down(console: Console) -> int:
    """Stop the local cloud; returns the exit code."""
    if cloud.stop_cloud():
        console.print("The local cloud has been stopped.")
        return 0
    console.print("No local cloud runs.")
    if paths.FAILURE.exists():
        _print_plain(console, f"The last one ended by itself:\n\n{paths.FAILURE.read_text()}")
        paths.FAILURE.unlink()
    paths.STATE.unlink(missing_ok=True)
    return 0


def status(console: Console) -> int:
    """Print the addresses of the local cloud that runs; exit code 1 if none does."""
    running = cloud.find_running()
    if running is None:
        console.print("No local cloud runs. `make up` starts it.")
        return 1
    _print_state(console, running)
    return 0


def _print_state(console: Console, state: State) -> None:
    _print_plain(console, instructions.addresses(state))
    console.print("\nA first webhook:\n")
    _print_plain(console, instructions.first_webhook(state))


def _print_plain(console: Console, text: str) -> None:
    """Print without markup, highlighting or folding, so that it can be copied."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Run a command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.local", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status"))
    parser.add_argument("--domains", help="deploy the stacks of these domains only, comma-separated")
    parser.add_argument(
        "--authorize", action="store_true", help="check every AWS call against the IAM policies"
    )
    arguments = parser.parse_args()
    console = Console()
    # Set by hand: who is started in the background of a script inherits that Ctrl-C be ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        if arguments.command == "up":
            domains = arguments.domains.split(",") if arguments.domains else None
            return up(console, domains, authorize=arguments.authorize)
        return down(console) if arguments.command == "down" else status(console)
    except KeyboardInterrupt:
        console.print("\nStopped; nothing of the local cloud runs any more.")
        return INTERRUPTED
    except (NotInstalledError, cloud.StopError) as failure:
        _print_plain(console, str(failure))
        return 1


if __name__ == "__main__":
    sys.exit(main())
