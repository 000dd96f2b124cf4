"""``make cost``: dollars per million orders and per idle month of a stage. No credentials, no network."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from infra import bundles
from infra.app import build, new_app
from infra.cost.data import CostDataError, load_measured, load_prices, load_traffic
from infra.cost.estimate import Estimate, Line, Paths
from infra.cost.inventory import Inventory, read_templates, take_inventory
from infra.cost.report import as_json, table
from infra.settings import StageSettings, stage_settings
from tradewind.tasks.registry import Registry, discover


def synthesized(settings: StageSettings, registry: Registry) -> Inventory:
    """The stage's inventory, from templates that are made for this."""
    bundles.BUILD.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=bundles.BUILD, prefix=".cost-") as scratch:
        app = new_app(scratch)
        build(app, settings, registry, bundles.FUNCTIONS)
        app.synth()
        return take_inventory(read_templates(Path(scratch)), settings.names.of(""))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table or the JSON; returns the exit code."""
    parser = argparse.ArgumentParser(prog="cost", description=__doc__)
    parser.add_argument("--stage", choices=("dev", "prod"), default="dev")
    parser.add_argument(
        "--assembly", type=Path, help="a folder of synthesized templates; default: synthesize"
    )
    parser.add_argument("--lean", action="store_true", help="as if the stage were lean")
    parser.add_argument("--quiet", action="store_true", help="as if the stage were quiet")
    parser.add_argument("--tenants", type=int, default=10, help="tenants that an idle month keeps")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args(argv)
    settings = stage_settings(asked.stage, {})
    settings = replace(settings, lean=settings.lean or asked.lean, quiet=settings.quiet or asked.quiet)
    registry = discover(bundles.FUNCTIONS)
    prices, traffic = load_prices(), load_traffic()
    try:
        inventory = (
            synthesized(settings, registry)
            if asked.assembly is None
            else take_inventory(read_templates(asked.assembly), settings.names.of(""))
        )
        paths = Paths.of(registry, traffic.provider)
        estimate = Estimate(inventory, paths, traffic, load_measured(), prices)
        lines: list[Line] = estimate.lines(asked.tenants)
    except (CostDataError, FileNotFoundError) as error:
        sys.stderr.write(f"cost: {error}\n")
        return 1
    told = as_json if asked.json else table
    sys.stdout.write(told(lines, asked.stage, asked.tenants, prices))
    return 0


if __name__ == "__main__":
    sys.exit(main())
