"""``make bench-report``: the last bench as one picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

INK, DEEP, PALE, ALARM = "#22303c", "#1f6f8b", "#9fc6d4", "#c8553d"


def draw(result: Path) -> Path:
    """Draw what ``make bench`` has written; returns the picture's path. Raises FileNotFoundError without one."""
    found = json.loads(result.read_text())
    panels = [
        panel for name, panel in (("imports", _imports), ("sustained", _sustained), ("idle", _idle),
                                  ("work", _work)) if name in found
    ]  # fmt: skip
    plt.rcParams.update({"font.size": 9, "axes.edgecolor": INK, "text.color": INK, "axes.titlesize": 11})
    figure, axes = plt.subplots(len(panels), 1, figsize=(9, 3.4 * len(panels)), layout="constrained")
    for axis, panel in zip([axes] if len(panels) == 1 else axes, panels, strict=True):
        panel(axis, found)
        axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Tradewind bench, {found['at']}, commit {found['commit']}, {found['cores']} cores")
    picture = result.with_suffix(".png")
    figure.savefig(picture, dpi=130)
    return picture


def _imports(axis: Axes, found: dict[str, Any]) -> None:
    functions = found["imports"]["functions"]
    names = sorted(functions, key=lambda name: functions[name]["import_cpu_ms"])
    axis.barh(names, [functions[name]["import_cpu_ms"] for name in names], color=PALE, label="import")
    called = [name for name in names if "import_and_first_call_cpu_ms" in functions[name]]
    axis.barh(
        called,
        [functions[name]["import_and_first_call_cpu_ms"] for name in called],
        height=0.35,
        color=DEEP,
        label="import and first call",
    )
    for kind, budget in found["imports"]["budget_ms"].items():
        axis.axvline(budget, color=ALARM, linestyle=":", linewidth=1)
        axis.annotate(f"budget {kind}", (budget, len(names) - 0.4), color=ALARM, fontsize=7, rotation=0)
    axis.set_title("Cold start: processor time over a bare interpreter (ms)")
    axis.legend(frameon=False, loc="lower right")


def _sustained(axis: Axes, found: dict[str, Any]) -> None:
    runs = [run for run in found["sustained"] if "tenants" in run]
    labels = ["one tenant" if run["tenants"] == 1 else f"{run['tenants']} tenants" for run in runs]
    bars = axis.bar(labels, [run["orders_per_second"] for run in runs], color=DEEP, width=0.5)
    axis.bar_label(bars, fmt="%.1f")
    axis.axhline(12, color=ALARM, linestyle=":", linewidth=1)
    axis.set_title("Order sync, whole chain, sustained (orders a second; the line is the aim)")


def _idle(axis: Axes, found: dict[str, Any]) -> None:
    spreads = {
        "webhook to done": found["idle"]["webhook_to_done_s"],
        "enqueue to start": found["idle"]["enqueue_to_start_s"],
    }
    if "receiver" in found:
        spreads["receiver, one client"] = found["receiver"]["one_client_s"]
        spreads[f"receiver, {found['receiver']['clients']} clients"] = found["receiver"]["loaded_s"]
    for at, spread in enumerate(reversed(spreads.values())):
        axis.plot([spread["median"] * 1000, spread["p99"] * 1000], [at, at], color=PALE, linewidth=6)
        axis.plot(spread["median"] * 1000, at, "o", color=DEEP)
        axis.annotate(f"{spread['median'] * 1000:.0f}", (spread["median"] * 1000, at + 0.18), fontsize=7)
        axis.annotate(f"p99 {spread['p99'] * 1000:.0f}", (spread["p99"] * 1000, at - 0.3), fontsize=7)
    axis.set_yticks(range(len(spreads)), list(reversed(spreads)))
    axis.set_ylim(-0.6, len(spreads) - 0.4)
    axis.set_xscale("log")
    axis.set_title("Latency when idle: median to p99 (ms, logarithmic)")


def _work(axis: Axes, found: dict[str, Any]) -> None:
    work = found["work"]["work"]
    names = sorted(work, key=lambda name: float(work[name]["cpu_ms"]) + float(work[name]["database_ms"]))
    cpu = [float(work[name]["cpu_ms"]) for name in names]
    axis.barh(names, cpu, color=DEEP, label="processor")
    axis.barh(
        names, [float(work[name]["database_ms"]) for name in names], left=cpu, color=PALE, label="database"
    )
    axis.set_title("Work of one warm invocation (ms), calls to providers and AWS not included")
    axis.legend(frameon=False, loc="lower right")
