"""``make bench``: measure, write one JSON, and say where. Takes some minutes; asserts nothing.

Every figure is a median or a percentile of several runs in one session on this machine. Compare ratios within one
file, not figures between machines.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.local import local_cloud, paths, postgres_server
from infra.local.postgres import DatabaseUrls, PostgresServer
from ingress.migrate import migrate
from tests.bench import (
    attribution,
    backfill,
    experiments,
    full_load,
    imports,
    kernel,
    mail,
    metrics,
    training,
    work,
)
from tests.bench import cloud as over_cloud
from tests.bench.report import draw
from tests.e2e.cloud import Cloud
from tests.integration.harness import House, add_tenant, local_settings
from tradewind.tasks.registry import REGISTRY, discover

RESULT = paths.LOCAL / "bench.json"
OFFLINE = (
    "kernel",
    "work",
    "backfill",
    "mail",
    "full_load",
    "experiments",
    "attribution",
    "metrics",
    "training",
)
ONLINE = ("imports", "receiver", "idle", "sustained")


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("--only", help="comma-separated sections", default=",".join((*OFFLINE, *ONLINE)))
    parser.add_argument("--write-measured", action="store_true", help="renew infra/cost/measured.json")
    parser.add_argument("--report", action="store_true", help="draw what the last bench has written")
    asked = parser.parse_args()
    if asked.report:
        sys.stdout.write(f"{draw(RESULT)}\n")
        return 0
    os.environ.setdefault("AWS_ACCESS_KEY_ID", "bench")
    os.environ.setdefault("AWS_SECRET_ACCESS_KEY", "bench")
    discover(Path("functions").resolve())
    wanted = set(asked.only.split(","))
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    result = {**kept, **about()}
    if wanted & set(OFFLINE):
        with postgres_server() as server:
            result |= offline(server, wanted)
    if wanted & set(ONLINE):
        with local_cloud() as state:
            result |= online(Cloud(state, authorizes=False), wanted)
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    if asked.write_measured and "work" in wanted:
        work.MEASURED.write_text(json.dumps(result["work"], indent=2) + "\n")
    sys.stdout.write(f"written to {RESULT}\n")
    return 0


def about() -> dict[str, Any]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit.stdout.strip(),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
    }


def fresh(server: PostgresServer, name: str) -> DatabaseUrls:
    urls = server.create_database(name)
    migrate(urls.owner)
    return urls


def section(name: str, wanted: set[str], measure: Callable[[], Any]) -> dict[str, Any]:
    if name not in wanted:
        return {}
    sys.stderr.write(f"{name} ...\n")
    return {name: measure()}


def offline(server: PostgresServer, wanted: set[str]) -> dict[str, Any]:
    def of_kernel() -> dict[str, Any]:
        urls = fresh(server, "kernel")
        return kernel.measure(House(urls, local_settings(urls), add_tenant(urls, "acme")))

    def of_backfill() -> dict[str, Any]:
        urls = fresh(server, "backfill")
        return backfill.measure(House(urls, local_settings(urls), add_tenant(urls, "acme")))

    def of_full_load() -> dict[str, Any]:
        urls = fresh(server, "full_load")
        tenants = [add_tenant(urls, slug) for slug in ("acme", "bolt", "cosy", "dune", "echo")]
        return full_load.measure([House(urls, local_settings(urls), tenant) for tenant in tenants])

    return (
        section("kernel", wanted, of_kernel)
        | section("work", wanted, lambda: work.measure(fresh(server, "work")))
        | section("backfill", wanted, of_backfill)
        | section("mail", wanted, lambda: mail.measure(fresh(server, "mail")))
        | section("full_load", wanted, of_full_load)
        | section("experiments", wanted, lambda: experiments.measure(fresh(server, "experiments")))
        | section("attribution", wanted, lambda: attribution.measure(fresh(server, "attribution")))
        | section("metrics", wanted, lambda: metrics.measure(fresh(server, "metrics")))
        | section("training", wanted, lambda: training.measure(fresh(server, "training")))
    )


def online(cloud: Cloud, wanted: set[str]) -> dict[str, Any]:
    tenants = over_cloud.register(cloud, 100 if "sustained" in wanted else 10)
    one = tenants[:1]
    post, order_id = over_cloud.new_order(one[0])
    over_cloud.post_all(cloud, [post], 1)
    over_cloud.ended(cloud, "commerce-order-created", [post.event])
    order_payload = {"order_id": order_id}

    def of_imports() -> dict[str, Any]:
        called = {
            "commerce-order-created",
            *(step.task for flow in REGISTRY.workflows for step in flow.steps),
        }
        payloads = {task.id: order_payload if task.id in called else None for task in REGISTRY}
        return imports.measure(over_cloud.functions(cloud, one[0], payloads))

    def of_sustained() -> list[dict[str, Any]]:
        over_cloud.sustained(cloud, tenants[:4], 40)  # starts the functions
        runs = [over_cloud.sustained(cloud, tenants[:count]) for count in (1, 10, 100) for _ in range(3)]
        best: dict[int, list[dict[str, Any]]] = {}
        for run in runs:
            best.setdefault(run["tenants"], []).append(run)
        medians = [sorted(each, key=lambda run: float(run["orders_per_second"]))[1] for each in best.values()]
        return [*medians, over_cloud.empty_chain(cloud, one[0])]

    return (
        section("idle", wanted, lambda: over_cloud.idle(cloud, one[0]))
        | section("receiver", wanted, lambda: over_cloud.receiver(cloud, tenants[:10]))
        | section("sustained", wanted, of_sustained)
        | section("imports", wanted, of_imports)
    )


if __name__ == "__main__":
    sys.exit(main())
