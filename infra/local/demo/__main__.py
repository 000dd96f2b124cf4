"""``make demo``: three shops, 1,200 real purchases, and a platform that neither loses nor doubles any of them."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from infra.local import StartError, StopError, local_cloud, paths
from infra.local.__main__ import Progress as StartProgress
from infra.local.cloud import find_running
from infra.local.demo import cast
from infra.local.demo.books import play_books
from infra.local.demo.delivery import Outcome, deliver
from infra.local.demo.expectations import expect
from infra.local.demo.experiment import play_experiment
from infra.local.demo.orders import Story, tell_stories
from infra.local.demo.plan import build_plan
from infra.local.demo.report import gather, show
from infra.local.demo.reviews import play_reviews
from infra.local.demo.training import play_training
from infra.local.demo.verify import verify
from infra.local.demo.watch import NotDrainedError, Standing, Watch
from infra.local.state import State
from tradewind.contracts.shopify import COMPLIANCE_TOPICS
from tradewind.tasks.registry import discover

SEED = 20_261_122
ORDERS = 1200
FAULTS = 0.05
CONNECTIONS = 8
MOST_ON_THE_WAY = 20
"""The shops' webhooks come as fast as the platform works them off, so that latency shows work and not a flood."""
DRAIN_PATIENCE_S = 180.0
INTERRUPTED = 130


def main() -> int:
    """Run the demo; 0 only if everything holds."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--orders", type=int, default=ORDERS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument(
        "--faults", type=float, default=FAULTS, help="share of Shopify's calls that fail on purpose"
    )
    parser.add_argument("--report", type=Path, default=paths.RUN.parent / "demo-report.json")
    arguments = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 140)
    for asked_to_stop in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_stop, signal.default_int_handler)
    if find_running() is not None:
        console.print(
            "A local cloud already runs here; the demo wants one of its own. Stop it with `make down`."
        )
        return 1
    try:
        return run(console, arguments)
    except KeyboardInterrupt:
        console.print("\nStopped; nothing is left running.")
        return INTERRUPTED
    except (StartError, StopError, NotDrainedError, cast.AdminError) as failure:
        console.print(f"\n[bold red]{failure}[/]")
        return 1


def run(console: Console, arguments: argparse.Namespace) -> int:
    """Start, play, verify, report, stop."""
    begun = time.monotonic()
    now = datetime.now(UTC)
    stories = tell_stories(arguments.seed, now, arguments.orders)
    console.print("[bold]Tradewind[/]: starting the local cloud and deploying the app into it")
    with StartProgress(console) as starting:
        cloud = local_cloud(listener=starting.show)
        state = cloud.__enter__()
    try:
        started = time.monotonic()
        report = play(console, arguments, state, stories, now, started - begun)
    finally:
        console.print("Stopping the local cloud")
        cloud.__exit__(None, None, None)
    report["seconds"]["in all"] = round(time.monotonic() - begun, 1)
    arguments.report.write_text(json.dumps(report, indent=1, default=str) + "\n", encoding="utf-8")
    show(console, report)
    console.print(f"The same as JSON: {arguments.report}")
    return 0 if report["passed"] else 1


def play(
    console: Console,
    arguments: argparse.Namespace,
    state: State,
    stories: tuple[Story, ...],
    now: datetime,
    start_seconds: float,
) -> dict[str, Any]:
    """Set the stage, post everything, wait until all is worked off, compare."""
    tenants = cast.register_tenants(state)
    cast.set_plans(state)
    touches = cast.lay_history(state, tenants, stories)
    cast.set_faults(state, arguments.faults, arguments.seed)
    console.print(
        f"Three tenants registered, {touches:,} touchpoints laid, {arguments.faults:.0%} of Shopify's calls fail"
    )
    topics = set(discover(paths.CHECKOUT / "functions").routes()["shopify"]) | COMPLIANCE_TOPICS
    plan = build_plan(stories, arguments.seed, answered_200=topics, now=now)
    begun = time.monotonic()
    with _bars(console) as bars:
        posting = bars.add_task("webhooks posted", total=len(plan), note="")
        syncing = bars.add_task("orders through the chain", total=len(stories), note="")

        def told(standing: Standing) -> None:
            bars.update(syncing, completed=standing.chains, note=f"{standing.on_the_way} on the way")

        with Watch(state.database_url, told) as watch:

            def posted(done: int, _: int, __: Outcome) -> None:
                bars.update(posting, completed=done)
                watch.hold_back(MOST_ON_THE_WAY, patience_s=10)

            outcomes = deliver(plan, state.webhook_url, CONNECTIONS, posted, sandbox_url=state.sandbox_url)
            posted_after = time.monotonic() - begun
            watch.wait_until_idle(DRAIN_PATIENCE_S)
    worked_after = time.monotonic() - begun
    expected = expect(stories, now)
    verdict = verify(state.database_url, expected, outcomes)
    console.print("Each shop's best day as a profit and loss statement")
    books = play_books(state, tenants, stories, verdict)
    console.print("A day of reviews: due e-mails are sent, and what becomes of them comes back")
    reviews = play_reviews(state, tenants, verdict)
    console.print("One A/B test: pages tell of visitors, and its weights follow what they do")
    experiment = play_experiment(state, tenants, stories, expected, arguments.seed, verdict)
    console.print("A fourth shop comes with its past: a container learns what each channel brings")
    cast.set_faults(state, 0, arguments.seed)
    training = play_training(state, arguments.seed, verdict)
    facts = {
        "books": books,
        "reviews": reviews,
        "experiment": experiment,
        "training": training,
        "orders_per_second": round(len(stories) / worked_after, 1),
        "provider_calls": cast.count_calls(state),
        "seconds": {
            "start and deploy": round(start_seconds, 1),
            "posting": round(posted_after, 1),
            "until all was done": round(worked_after, 1),
        },
    }
    return gather(state.database_url, outcomes, verdict, facts)


def _bars(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description:<26}"),
        BarColumn(bar_width=48),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        refresh_per_second=4,
    )


if __name__ == "__main__":
    sys.exit(main())
