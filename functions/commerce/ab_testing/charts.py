"""Charts of tests as PNG: what each variant is worth over time, with how sure that is, or the weights it had.

A panel for each test; a variant keeps its colour, which also people tell apart who see no red or green
(Okabe and Ito, "Color Universal Design", 2008), and is named at the end of its line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

from matplotlib.dates import AutoDateLocator, DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

COLOURS = ("#5f6368", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""The control is grey; from the eighth variant on colours come again."""
MOST_PANELS = 4
WIDTH, HEIGHT, DPI = 9.0, 3.1, 130
_INK, _FAINT = "#202124", "#dadce0"


@dataclass(frozen=True, slots=True)
class Line:
    """A variant's values over time; ``low`` and ``high`` are empty where there is no band. The control comes first."""

    name: str
    at: tuple[datetime, ...]
    value: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    stepped: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """One test. ``unit`` is ``%``, or a currency."""

    title: str
    subtitle: str
    unit: str
    lines: tuple[Line, ...]


def draw(panels: Sequence[Panel]) -> bytes:
    """The first panels, one below the other. Raises ValueError without any."""
    shown = [panel for panel in panels if any(line.at for line in panel.lines)][:MOST_PANELS]
    if not shown:
        raise ValueError("no panel has a point to draw")
    figure = Figure(figsize=(WIDTH, HEIGHT * len(shown)), dpi=DPI, facecolor="white")
    axes = figure.subplots(len(shown), 1, squeeze=False)
    for at, panel in enumerate(shown):
        _draw_panel(axes[at][0], panel)
    figure.tight_layout(h_pad=2.2)
    written = BytesIO()
    figure.savefig(written, format="png")
    return written.getvalue()


def _draw_panel(axes: Any, panel: Panel) -> None:
    for at, line in enumerate(panel.lines):
        _draw_line(axes, line, COLOURS[at % len(COLOURS)])
    _focus(axes, panel)
    _name_lines(axes, panel)
    axes.set_title(panel.title, loc="left", fontsize=12, fontweight="bold", color=_INK, pad=20)
    axes.text(0, 1.03, panel.subtitle, transform=axes.transAxes, fontsize=9, color="#5f6368", va="bottom")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, panel.unit)))
    locator = AutoDateLocator(minticks=3, maxticks=8)
    axes.xaxis.set_major_locator(locator)
    hours = all(line.at[-1] - line.at[0] <= timedelta(days=2) for line in panel.lines if line.at)
    axes.xaxis.set_major_formatter(DateFormatter("%d %b %H:%M" if hours else "%d %b"))
    axes.tick_params(labelsize=8.5, colors="#5f6368", length=0, labelbottom=True)
    axes.grid(axis="y", color=_FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(_FAINT)
    axes.margins(x=0.01)


def _draw_line(axes: Any, line: Line, colour: str) -> None:
    if not line.at:
        return
    style = "steps-post" if line.stepped else "default"
    axes.plot(line.at, line.value, color=colour, linewidth=2, drawstyle=style, solid_capstyle="round")
    axes.plot(line.at[-1:], line.value[-1:], "o", color=colour, markersize=5)
    if line.low:
        axes.fill_between(line.at, line.low, line.high, color=colour, alpha=0.14, linewidth=0)


def _name_lines(axes: Any, panel: Panel) -> None:
    """Names at the lines' ends, pushed apart where they would lie on each other."""
    ends = sorted((line.value[-1], at, line) for at, line in enumerate(panel.lines) if line.at)
    roomy = len(ends) <= 3  # noqa: PLR2004 - a name and its value in two rows
    places = _spread([value for value, _, _ in ends], axes.get_ylim(), 0.2 if roomy else 0.1)
    last = max(line.at[-1] for _, _, line in ends)
    for place, (value, at, line) in zip(places, ends, strict=True):
        axes.annotate(
            f"{_short(line.name)}\n{_tick(value, panel.unit)}" if roomy else _short(line.name),
            (last, place),
            xytext=(10, 0),
            textcoords="offset points",
            fontsize=9,
            fontweight="bold",
            color=COLOURS[at % len(COLOURS)],
            va="center",
            annotation_clip=False,
        )


def _spread(values: Sequence[float], limits: tuple[float, float], share: float) -> list[float]:
    """Places at least a share of the axis apart, around the values; ``values`` ascend."""
    gap, places = (limits[1] - limits[0]) * share, list(values)
    for at in range(1, len(places)):
        places[at] = max(places[at], places[at - 1] + gap)
    shift = sum(place - value for place, value in zip(places, values, strict=True)) / len(places)
    return [place - shift for place in places]


def _focus(axes: Any, panel: Panel) -> None:
    """Bands of the first points, when little was known, may leave the picture: what is known now fills it."""
    seen = [
        each
        for line in panel.lines
        for part in (line.value, line.low, line.high)
        for each in part[len(part) // 4 :]
    ]
    room = max((max(seen) - min(seen)) * 0.08, abs(max(seen)) * 0.01, 1e-9)
    axes.set_ylim(min(seen) - room, max(seen) + room)


def _short(name: str) -> str:
    return name if len(name) <= 16 else f"{name[:15]}…"  # noqa: PLR2004 - what the margin holds


def _tick(value: float, unit: str) -> str:
    if unit == "%":
        return f"{value:.1f} %" if abs(value) < 10 else f"{value:.0f} %"  # noqa: PLR2004 - two digits are enough
    return f"{value:,.2f} {unit}"
