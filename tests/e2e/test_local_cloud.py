"""The local cloud starts, says what it is, and leaves nothing behind, however it ends.

Each test has a checkout of its own with the smallest app, so that it can be killed; the real app is deployed
by the other end-to-end suites.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import redis

from infra.local import paths
from infra.local.deployment import UnknownDomainError, select_stacks

UP_TIMEOUT_S = 90
END_TIMEOUT_S = 25
LISTENING = "0A"
LOOPBACK = "0100007F:"
APP = Path(__file__).with_name("small_app.py")

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="finds what is left behind by way of /proc"
)


class Checkout:
    """A checkout with the local cloud and a small app, beside the installed environments of the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.local = folder / ".tradewind"
        self.state_file = self.local / "state.json"
        shutil.copytree(
            paths.CHECKOUT / "infra/local",
            folder / "infra/local",
            ignore=shutil.ignore_patterns("__pycache__", "sandbox", "demo"),
        )
        (folder / "layers").symlink_to(paths.CHECKOUT / "layers")
        shutil.copy(APP, folder / "small_app.py")
        (folder / "cdk.json").write_text(json.dumps({"app": f"{paths.PYTHON} small_app.py"}))
        self.local.mkdir()
        self.shared_memory = shared_memory()
        for installed in ("venv", "emulator", "node"):
            (self.local / installed).symlink_to(paths.LOCAL / installed)

    def start(self, command: str, **environment: str) -> subprocess.Popen[str]:
        """Begin `python -m infra.local <command>`, as the make targets do."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TRADEWIND_")}
        return subprocess.Popen(
            [str(paths.PYTHON), "-m", "infra.local", command],
            cwd=self.folder,
            env=inherited | {"PYTHONPATH": ".", "COLUMNS": "200"} | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str, **environment: str) -> tuple[int, str]:
        """(exit code, output) of the finished command."""
        process = self.start(command, **environment)
        output, _ = process.communicate(timeout=UP_TIMEOUT_S)
        return process.returncode, output

    def state(self) -> dict[str, Any]:
        return dict(json.loads(self.state_file.read_text()))

    def supervisor(self) -> int:
        return int((self.local / "lock").read_text())

    def processes(self) -> dict[int, str]:
        """Process id -> command line of everything of this checkout that runs."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                environment = (entry / "environ").read_bytes().decode(errors="replace")
                place = str((entry / "cwd").readlink())
            except OSError:
                continue
            # A process that has ended but not been waited for has neither.
            if command and any(str(self.folder) in text for text in (command, environment, place)):
                found[int(entry.name)] = command
        return found

    def wait_for(self, happened: Callable[[], bool], timeout: float = END_TIMEOUT_S) -> None:
        deadline = time.monotonic() + timeout
        while not happened():
            assert time.monotonic() < deadline, f"still running: {self.processes()}"
            time.sleep(0.05)

    def assert_nothing_left(self) -> None:
        self.wait_for(lambda: not self.processes())
        assert not shared_memory() - self.shared_memory
        assert not self.state_file.exists()
        assert not (self.local / "run/cloud").exists()
        kept = {entry.name for entry in self.local.iterdir()}
        assert kept <= {"venv", "emulator", "node", "cache", "logs", "run", "lock", "last-failure.txt"}


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    checkout = Checkout(tmp_path / "checkout")
    yield checkout
    for pid in checkout.processes():
        os.kill(pid, signal.SIGKILL)


def shared_memory() -> set[str]:
    """The ids of System V segments that nobody has attached."""
    rows = [row.split() for row in Path("/proc/sysvipc/shm").read_text().splitlines()]
    return {row[1] for row in rows[1:] if row[6] == "0"}


def taken_port() -> tuple[socket.socket, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    return listener, int(listener.getsockname()[1])


def listening_elsewhere(pids: dict[int, str]) -> list[str]:
    """Addresses other than 127.0.0.1 on which one of the processes listens, as /proc/net writes them."""
    sockets = {
        str(descriptor.readlink())
        for pid in pids
        for descriptor in Path(f"/proc/{pid}/fd").iterdir()
        if descriptor.is_symlink()
    }
    listening = [
        line.split()
        for table in ("tcp", "tcp6")
        if Path(f"/proc/net/{table}").exists()
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
    ]
    own = [row[1] for row in listening if row[3] == LISTENING and f"socket:[{row[9]}]" in sockets]
    assert len(own) >= 4
    return [address for address in own if not address.startswith(LOOPBACK)]


def test_it_runs_until_it_is_stopped_and_a_second_start_only_says_so(checkout: Checkout) -> None:
    code, output = checkout.run("up")
    assert code == 0, output
    state = checkout.state()
    assert state["webhook_url"] in output
    assert "openssl dgst -sha256 -hmac" in output
    assert listening_elsewhere(checkout.processes()) == []

    with psycopg.connect(state["app_database_url"]) as connection:
        role = connection.execute(
            "SELECT rolname, rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user"
        )
        assert role.fetchone() == ("tradewind_app", False)
    with redis.RedisCluster.from_url(state["redis_url"]) as cluster:
        assert cluster.set("{a}:1", "x") is True
    assert "StackPort" in httpx.get(state["console_url"], trust_env=False).text

    again, told = checkout.run("up")
    assert again == 0
    assert "already runs" in told
    assert state["webhook_url"] in told
    assert checkout.state() == state

    assert checkout.run("down") == (0, "The local cloud has been stopped.\n")
    checkout.assert_nothing_left()
    assert checkout.run("down") == (0, "No local cloud runs.\n")


def test_it_ends_when_its_supervisor_is_killed_and_starts_again(checkout: Checkout) -> None:
    code, output = checkout.run("up")
    assert code == 0, output
    first = checkout.state()["pids"]
    os.kill(checkout.supervisor(), signal.SIGKILL)
    checkout.wait_for(lambda: not checkout.processes())
    assert checkout.state_file.exists()

    code, output = checkout.run("up")

    assert code == 0, output
    assert "was killed" in output
    assert checkout.state()["pids"] != first
    assert checkout.run("down")[0] == 0
    checkout.assert_nothing_left()


@pytest.mark.parametrize("program", ["ministack", "postgres"])
def test_it_ends_when_one_of_its_programs_is_killed_and_says_which(checkout: Checkout, program: str) -> None:
    code, output = checkout.run("up")
    assert code == 0, output
    group = checkout.state()["pids"][program]
    for pid in checkout.processes():
        # The program and its workers, not the guardian, which leads the group. Some may have ended by themselves.
        with suppress(ProcessLookupError):
            if pid != group and os.getpgid(pid) == group:
                os.kill(pid, signal.SIGKILL)

    checkout.assert_nothing_left()
    code, output = checkout.run("down")

    assert code == 0
    assert re.search(r"(MiniStack|PostgreSQL) ended with code 137", output)


def test_an_interrupted_start_leaves_nothing_behind(checkout: Checkout) -> None:
    process = checkout.start("up")
    checkout.wait_for((checkout.local / "logs/postgres.log").exists)
    process.send_signal(signal.SIGINT)

    output, _ = process.communicate(timeout=END_TIMEOUT_S)

    assert process.returncode == 130
    assert "nothing of the local cloud runs any more" in output
    checkout.assert_nothing_left()


def test_a_killed_start_leaves_nothing_behind(checkout: Checkout) -> None:
    process = checkout.start("up")
    checkout.wait_for((checkout.local / "logs/cdk-bootstrap.log").exists)
    process.kill()
    process.communicate()

    checkout.assert_nothing_left()


def test_a_taken_port_is_named_and_nothing_is_left_running(checkout: Checkout) -> None:
    listener, port = taken_port()
    with listener:
        code, output = checkout.run("up", TRADEWIND_PORT=str(port))

    assert code == 1
    assert f"port {port}, which TRADEWIND_PORT asks for, is in use" in output
    checkout.assert_nothing_left()


@pytest.mark.parametrize("value", ["80", "abc", "70000"])
def test_an_impossible_port_is_named(checkout: Checkout, value: str) -> None:
    code, output = checkout.run("up", TRADEWIND_DATABASE_PORT=value)

    assert code == 1
    assert f"TRADEWIND_DATABASE_PORT is '{value}'" in output
    checkout.assert_nothing_left()


def test_an_app_that_cannot_be_synthesized_shows_its_last_words(checkout: Checkout) -> None:
    (checkout.folder / "app-fails").touch()

    code, output = checkout.run("up")

    assert code == 1
    assert "cdk synth ended with code 1" in output
    assert "a construct of this app cannot be built" in output
    assert "cdk-synth.log" in output
    checkout.assert_nothing_left()


STACKS = ["tradewind-local-data", "tradewind-local-commerce-orders", "tradewind-local-loyalty-credits"]


@pytest.mark.parametrize(
    ("domains", "chosen"),
    [
        (None, STACKS),
        (["commerce"], STACKS[:2]),
        (["commerce", "loyalty"], STACKS),
        ([], STACKS[:1]),
    ],
)
def test_leaving_out_a_domain_keeps_the_platform(domains: list[str] | None, chosen: list[str]) -> None:
    assert select_stacks(STACKS, domains, ["commerce", "loyalty"]) == chosen


def test_an_unknown_domain_is_refused_by_name() -> None:
    with pytest.raises(UnknownDomainError, match="no domain comerce; the domains are commerce, loyalty"):
        select_stacks(STACKS, ["comerce"], ["commerce", "loyalty"])
