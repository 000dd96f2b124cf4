"""This machine: Python and what is installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from infra.doctor.finding import Finding, failed, fine
from infra.local.paths import NODE, NotInstalledError

OLDEST = (3, 11)


def look_at_installation() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < OLDEST:
        yield failed("python", version, "use Python 3.11 or newer: PYTHON=python3.11 make install")
    else:
        yield fine("python", version)
    checked = subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "check"],
        capture_output=True,
        text=True,
        check=False,
    )
    told = checked.stdout.strip().splitlines()
    if checked.returncode == 0:
        yield fine("packages", "complete")
    else:
        yield failed("packages", told[0] if told else "pip check failed", "run `make install`")
    try:
        yield fine("cdk", f"installed in {NODE.cdk.parents[3].name}/")
    except NotInstalledError as error:
        yield failed("cdk", str(error), "run `make install`")
