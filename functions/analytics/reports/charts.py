"""The reports' two pictures as PNG: a week's sales by day, and the way from net revenue to net profit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from io import BytesIO
from typing import TYPE_CHECKING, Any

from analytics.reports.model import Day, Step
from tradewind.money import minor_digits

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, HEIGHT, DPI = 7.2, 3.0, 150
_INK, _QUIET, _FAINT = "#26241f", "#8a8375", "#e3dfd5"
_NOW, _BEFORE, _COST, _LOSS = "#0072b2", "#cbd8e2", "#d9a441", "#b3261e"
_HEADROOM = 0.16
_THOUSAND, _MILLION = 1_000, 1_000_000


def draw_week(monday: date, days: Sequence[Day], before: Sequence[Day], currency: str) -> bytes:
    """Net sales of seven days as bars, those of the week before behind them."""
    scale = 10 ** minor_digits(currency)
    figure, axes = _sheet()
    for drawn, start, colour, width, label in (
        (before, monday - timedelta(days=7), _BEFORE, 0.78, "Week before"),
        (days, monday, _NOW, 0.5, "This week"),
    ):
        by_day = {day.starts_on: day.net_sales_cents / scale for day in drawn}
        heights = [by_day.get(start + timedelta(days=at), 0.0) for at in range(7)]
        axes.bar(range(7), heights, width=width, color=colour, label=label)
    names = [(monday + timedelta(days=at)).strftime("%a %-d") for at in range(7)]
    axes.set_xticks(range(7), names)
    axes.legend(
        frameon=False, fontsize=8.5, labelcolor=_QUIET, loc="upper left", bbox_to_anchor=(0, 1.16), ncols=2
    )
    axes.set_title(f"Net sales, {currency}", loc="right", fontsize=9, color=_QUIET)
    return _png(figure)


def draw_waterfall(steps: Sequence[Step], currency: str) -> bytes:
    """Each group of costs hangs where the one before it has ended."""
    scale = 10 ** minor_digits(currency)
    figure, axes = _sheet()
    for at, step in enumerate(steps):
        colour = (_LOSS if step.cents < 0 else _NOW) if step.total else (_COST if step.cents < 0 else _NOW)
        axes.bar(at, step.cents / scale, bottom=step.base / scale, width=0.62, color=colour)
        top = max(step.base, step.base + step.cents) / scale
        axes.annotate(
            _tick(step.cents / scale), (at, top), xytext=(0, 4), textcoords="offset points", ha="center",
            fontsize=8.5, color=_INK, fontweight="bold" if step.total else "normal",
        )  # fmt: skip
        if at:
            level = steps[at - 1].base + steps[at - 1].cents
            axes.plot([at - 0.69, at - 0.31], [level / scale] * 2, color=_QUIET, linewidth=0.8)
    axes.axhline(0, color=_INK, linewidth=0.8)
    ends = [end / scale for step in steps for end in (step.base, step.base + step.cents)]
    room = (max(ends) - min(ends)) * _HEADROOM or 1.0
    axes.set_ylim(min(0.0, *ends) - (room if min(ends) < 0 else 0), max(0.0, *ends) + room)
    axes.set_xticks(range(len(steps)), [step.label for step in steps])
    axes.set_title(f"From revenue to profit, {currency}", loc="left", fontsize=9, color=_QUIET)
    return _png(figure)


def _sheet() -> tuple[Figure, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415 - of a layer that only tasks which draw have
    from matplotlib.ticker import FuncFormatter  # noqa: PLC0415

    figure = Figure(figsize=(WIDTH, HEIGHT), dpi=DPI, facecolor="white")
    axes = figure.subplots()
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.tick_params(labelsize=8.5, colors=_QUIET, length=0)
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    return figure, axes


def _tick(value: float) -> str:
    if abs(value) >= _MILLION:
        return f"{value / _MILLION:,.1f}m"
    if abs(value) >= 10 * _THOUSAND:
        return f"{value / _THOUSAND:,.0f}k"
    return f"{value:,.0f}"


def _png(figure: Figure) -> bytes:
    figure.tight_layout()
    written = BytesIO()
    figure.savefig(written, format="png", metadata={"Software": None})
    return written.getvalue()
