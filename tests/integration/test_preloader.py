"""Functions forked from the preloader: real processes, as a bundle's bootstrap starts them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from infra.local import paths
from infra.local.preloading import WARM_START, Preloading
from infra.local.processes import Launcher, is_alive

pytestmark = pytest.mark.skipif(not Preloading.is_possible(), reason="only Linux has abstract sockets")
Start = Callable[[str, Mapping[str, str]], "subprocess.Popen[str]"]
PATIENCE_S = 20.0
# Python itself sets LC_CTYPE where there is none.
TELLS = """
import os, sys
sys.stderr.write("told")
names = sorted(name for name in os.environ if name != "LC_CTYPE")
print(sys.argv[1], os.getcwd(), os.environ.get("MARK"), "psycopg" in sys.modules, names)
sys.exit(7)
"""
SLEEPS = """
import os, time
print(os.getpid(), flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def preloading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preloading]:
    folder, own = tmp_path_factory.mktemp("preloader"), Preloading()
    process = own.start(folder, folder / "preloader.log", Launcher())
    yield own
    process.stop()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a runtime client of this text as a bootstrap does, in a folder and an environment of its own."""
    started: list[subprocess.Popen[str]] = []

    def begin(client: str, environment: Mapping[str, str]) -> subprocess.Popen[str]:
        program = tmp_path / f"client-{len(started)}.py"
        program.write_text(client)
        variables = {"TRADEWIND_PYTHON": str(paths.PYTHON), "TRADEWIND_RUNTIME_CLIENT": str(program)}
        command = [sys.executable, "-I", "-S", str(WARM_START), "commerce.tasks.handler"]
        process = subprocess.Popen(
            command,
            cwd=tmp_path,
            env={**variables, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_function_has_its_own_environment_folder_streams_and_exit_code(
    preloading: Preloading, start: Start, tmp_path: Path
) -> None:
    given = {**preloading.environment(), "MARK": "line\nand = sign"}
    process = start(TELLS, given)
    out, err = process.communicate(timeout=PATIENCE_S)
    names = sorted([*given, "TRADEWIND_PYTHON", "TRADEWIND_RUNTIME_CLIENT"])
    assert out == f"commerce.tasks.handler {tmp_path} {given['MARK']} True {names}\n"
    assert (err, process.returncode) == ("told", 7)


def test_function_that_fails_tells_why(preloading: Preloading, start: Start) -> None:
    process = start("raise ValueError('no such table')", preloading.environment())
    _, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 1
    assert err.endswith("ValueError: no such table\n")


def test_function_dies_with_the_process_that_stands_for_it(preloading: Preloading, start: Start) -> None:
    process = start(SLEEPS, preloading.environment())
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert pid != process.pid
    process.kill()
    wait_until(lambda: not is_alive(pid))


def test_process_ends_when_its_function_was_killed(preloading: Preloading, start: Start) -> None:
    process = start(SLEEPS, preloading.environment())
    assert process.stdout is not None
    os.kill(int(process.stdout.readline()), 9)
    assert process.wait(PATIENCE_S) == 256 - 9


def test_functions_do_not_wait_for_each_other(preloading: Preloading, start: Start) -> None:
    lasting = start(SLEEPS, preloading.environment())
    assert start(TELLS, preloading.environment()).wait(PATIENCE_S) == 7
    assert lasting.poll() is None


@pytest.mark.parametrize("name", ["", "tradewind-nobody-listens"])
def test_function_starts_by_itself_without_a_preloader(start: Start, name: str) -> None:
    process = start(TELLS, {"TRADEWIND_PRELOADER": name})
    out, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 7
    assert "None False" in out


def test_half_a_request_harms_no_one(preloading: Preloading, start: Start) -> None:
    code = f"import socket; s = socket.socket(socket.AF_UNIX); s.connect(chr(0) + '{preloading.name}'); s.send(b'abc')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert start(TELLS, preloading.environment()).wait(PATIENCE_S) == 7


def wait_until(fulfilled: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not fulfilled():
        assert time.monotonic() < end
        time.sleep(0.02)
