"""``python -m infra.doctor``: look at the stage that ``STAGE`` names, else the local one; 1 where it is not well."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra.doctor.account import look_at_account
from infra.doctor.finding import Finding, Verdict, as_table, failed
from infra.doctor.inside import look_inside
from infra.doctor.installation import look_at_installation
from infra.doctor.place import NoStageError, Place, find_place
from infra.doctor.template import SynthError, look_at_difference, look_at_resources, synthesize
from infra.operate import find_stage
from infra.settings import SettingError


def examine(stage: str) -> Iterator[Finding]:
    """Everything, from here outwards; what hangs on something that failed is left out."""
    yield from look_at_installation()
    try:
        place = find_place(stage)
    except (NoStageError, SettingError) as error:
        yield failed("stage", str(error), "set STAGE=local, dev or prod")
        return
    account = list(look_at_account(place))
    yield from account
    if any(each.verdict is Verdict.FAILED for each in account):
        return
    yield from look_inside(find_stage())
    yield from _deployed(place)


def _deployed(place: Place) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory(prefix="tradewind-doctor-") as folder:
        try:
            synthesize(place, Path(folder))
        except SynthError as error:
            yield failed("synth", str(error), "run `make check`")
            return
        yield from look_at_resources(place, Path(folder))
        yield look_at_difference(place, Path(folder))


def main() -> int:
    findings = list(examine(os.environ.get("STAGE") or "local"))
    sys.stdout.write(as_table(findings))
    return int(any(each.verdict is Verdict.FAILED for each in findings))


if __name__ == "__main__":
    sys.exit(main())
