"""A process dies exactly where and as often as it is ordered to, however many processes share the orders."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.local.crashing import EXIT_CODE, Obedience
from infra.local.crashing import __file__ as program
from tests.conftest import ROOT
from tradewind.crash import Point, install, reached

PASSING = """
import sys
from pathlib import Path
from infra.local.crashing import Obedience
from tradewind.crash import Point, install, reached
install(Obedience(Path(sys.argv[1])))
for _ in range(int(sys.argv[2])):
    reached(Point.RUN_CLAIMED)
"""


def run(folder: Path, passes: int) -> int:
    path = os.pathsep.join([str(ROOT / "layers/shared/python"), str(ROOT)])
    command = [sys.executable, "-c", PASSING, str(folder), str(passes)]
    return subprocess.run(command, env={"PYTHONPATH": path}, check=False).returncode


def test_without_orders_every_point_is_passed(tmp_path: Path) -> None:
    remove = install(Obedience(tmp_path))
    try:
        for point in Point:
            reached(point)
    finally:
        remove()
    assert list(tmp_path.iterdir()) == []


def test_dies_after_the_passes_that_all_processes_share_and_only_as_often_as_ordered(tmp_path: Path) -> None:
    (tmp_path / "run.claimed").write_text("3 1 2")  # three pass, one dies; one passes, one dies
    codes = [run(tmp_path, passes) for passes in (2, 2, 2, 2)]
    assert codes == [0, EXIT_CODE, EXIT_CODE, 0]
    assert (tmp_path / "run.claimed").read_text() == "0 1 0"
    lines = (tmp_path / "crashes.log").read_text().splitlines()
    assert [line.split()[1] for line in lines] == ["run.claimed", "run.claimed"]


def test_an_order_for_one_point_leaves_the_others_alone(tmp_path: Path) -> None:
    (tmp_path / "run.finished").write_text("0 0 1")
    assert run(tmp_path, 5) == 0


@pytest.mark.parametrize("point", list(Point))
def test_a_point_s_name_is_a_file_s_name(point: Point) -> None:
    assert Path(point).name == point


def test_nothing_of_the_product_installs_a_hook() -> None:
    installing = [
        path.relative_to(ROOT)
        for folder in ("layers/shared/python", "functions", "infra")
        for path in (ROOT / folder).rglob("*.py")
        if "install(" in path.read_text() and "tradewind.crash" in path.read_text()
    ]
    assert installing == [Path(program).relative_to(ROOT)]
