"""What a cold start costs: importing each function's module, and its first call, over a bare interpreter.

Each sample is a process of its own with the environment that the deployment gives the function, against the running
local cloud. The order of the processes is shuffled, so that a slow moment of the machine falls on all of them.
"""

from __future__ import annotations

import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.figures import Spread, digits

RUNS = 5
"""Of each function with and without its first call; once without compiled files, which is far slower."""
BUDGET_MS = {"receiver": 200, "task": 300}
AIM_MS = {"receiver": 100, "task": 150}
_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")
_NOT_IN_THE_LAYER = "import sys; sys.modules['rich'] = sys.modules['click'] = None"
"""Tools of the development environment that httpx would import where they are."""
_BARE = "pass"
_IMPORT = f"{_NOT_IN_THE_LAYER}; import importlib; importlib.import_module({{module!r}})"
_LIBRARIES = f"""{_NOT_IN_THE_LAYER}
import importlib, json, site
importlib.import_module({{module!r}})
others = tuple(site.getsitepackages())
path_of = lambda module: getattr(getattr(module, "__spec__", None), "origin", None) or ""
print(json.dumps([name for name, module in sys.modules.items() if path_of(module).startswith(others)]))
"""
_THESE = f"{_NOT_IN_THE_LAYER}; import importlib; [importlib.import_module(name) for name in {{names!r}}]"
_FIRST_CALL = f"""{_NOT_IN_THE_LAYER}
import importlib, json
module = importlib.import_module({{module!r}})
class Context:
    aws_request_id = "bench"
    log_stream_name = "bench"
    def get_remaining_time_in_millis(self): return 45000
answer = getattr(module, {{name!r}})(json.loads({{event!r}}), Context())
if isinstance(answer, dict) and answer.get("statusCode", 200) >= 300: sys.exit(repr(answer))
"""


@dataclass(frozen=True, slots=True)
class Function:
    """A function as it is deployed. ``event`` makes the event of a first call, a new one for each sample."""

    name: str
    handler: str
    environment: Mapping[str, str]
    folder: str
    event: Callable[[], Mapping[str, Any]] | None

    @property
    def module(self) -> str:
        return self.handler.rpartition(".")[0]

    @property
    def attribute(self) -> str:
        return self.handler.rpartition(".")[2]

    @property
    def kind(self) -> str:
        return "receiver" if self.name.endswith("receiver") else "task"


@dataclass(frozen=True, slots=True)
class Sample:
    """One process. Its processor time tells more than its wall time where the machine is shared."""

    wall_s: float
    cpu_s: float


def measure(functions: list[Function], runs: int = RUNS) -> dict[str, Any]:
    """Milliseconds over a bare interpreter, by function; the worst with its heaviest imports.

    Beside them the modules of others that a function brings in, imported without any line of ours: what is left to us
    is the ratio of the two, which tells the same on every machine.
    """
    samples: dict[tuple[str, str], list[Sample]] = {}
    libraries = {function.name: libraries_of(function) for function in functions}
    first_with = {names: function for function in reversed(functions) for names in [libraries[function.name]]}
    with tempfile.TemporaryDirectory(prefix="no-pyc-") as nowhere:
        for run in range(runs):
            plan = [(function, mode) for function in functions for mode in _modes(function, run)]
            plan += [(function, "libraries") for function in first_with.values()]
            plan += [(functions[0], "bare")] * 10
            random.Random(run).shuffle(plan)
            for function, mode in plan:
                names = libraries[function.name]
                samples.setdefault((function.name, mode), []).append(_timed(function, mode, nowhere, names))
    bare = medians(samples[functions[0].name, "bare"])
    told: dict[str, Any] = {}
    for function in functions:
        own = {mode: medians(samples[function.name, mode]) for mode in _modes(function, 0)}
        told[function.name] = {"kind": function.kind}
        for mode, each in own.items():
            told[function.name][f"{mode}_ms"] = digits((each.wall_s - bare.wall_s) * 1000)
            told[function.name][f"{mode}_cpu_ms"] = digits((each.cpu_s - bare.cpu_s) * 1000)
        alone = medians(samples[first_with[libraries[function.name]].name, "libraries"])
        told[function.name]["libraries_cpu_ms"] = digits((alone.cpu_s - bare.cpu_s) * 1000)
        told[function.name]["over_libraries"] = digits(
            (own["import"].cpu_s - bare.cpu_s) / (alone.cpu_s - bare.cpu_s)
        )
    worst = max(functions, key=lambda each: told[each.name]["import_ms"])
    return {
        "bare_interpreter_ms": digits(bare.wall_s * 1000),
        "runs": runs,
        "budget_ms": BUDGET_MS,
        "aim_ms": AIM_MS,
        "functions": told,
        "worst": {"function": worst.name, "heaviest_ms": heaviest(worst)},
    }


def _modes(function: Function, run: int) -> list[str]:
    once = ["import_without_pyc"] if run == 0 else []
    return ["import", *once, *(["import_and_first_call"] if function.event else [])]


def medians(samples: list[Sample]) -> Sample:
    return Sample(
        Spread.of([each.wall_s for each in samples]).median,
        Spread.of([each.cpu_s for each in samples]).median,
    )


def libraries_of(function: Function) -> tuple[str, ...]:
    """All modules of others that a function's own brings in, in the order of their import."""
    ended = subprocess.run(
        [sys.executable, "-c", _LIBRARIES.format(module=function.module)],
        env=_environment(function),
        cwd=function.folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return tuple(json.loads(ended.stdout))


def _timed(function: Function, mode: str, nowhere: str, libraries: tuple[str, ...]) -> Sample:
    code = _BARE if mode == "bare" else _IMPORT.format(module=function.module)
    if mode == "libraries":
        code = _THESE.format(names=libraries)
    if mode == "import_and_first_call" and function.event is not None:
        event = json.dumps(function.event())
        code = _FIRST_CALL.format(module=function.module, name=function.attribute, event=event)
    environment = _environment(function)
    if mode == "import_without_pyc":
        environment |= {"PYTHONPYCACHEPREFIX": nowhere, "PYTHONDONTWRITEBYTECODE": "1"}
    used, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", code],
        env=environment,
        cwd=function.folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Sample(wall, after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime)


def _environment(function: Function) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
    paths = os.pathsep.join((function.folder, function.environment.get("PYTHONPATH", "")))
    own = {"PYTHONPATH": paths, "_HANDLER": function.handler}
    return inherited | dict(function.environment) | own


def heaviest(function: Function, count: int = 8) -> dict[str, float]:
    """Milliseconds by top-level package, of all modules that the function's module brings in."""
    ended = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", _IMPORT.format(module=function.module)],
        env=_environment(function),
        cwd=function.folder,
        check=True,
        capture_output=True,
        text=True,
    )
    own: Counter[str] = Counter()
    for line in ended.stderr.splitlines():
        match = _LINE.match(line)
        if match:
            own[match[4].split(".")[0]] += int(match[1])
    return {name: digits(microseconds / 1000) for name, microseconds in own.most_common(count)}
