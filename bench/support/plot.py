"""A report as one picture: a line for each case, a column for each question.

Rate, CPU time, what the engine costs beside the others, delay, and the engine's batches. matplotlib
draws it and is an extra of its own: a node does not need it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.support.native import BenchError
from bench.support.reading import LOOPS, Row, rows

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INSTALL = "pip install 'overlane[plot]'"
# Of Okabe and Ito's palette: told apart by those who do not see all colours, and by their markers.
STYLES = {
    "engine": ("#0072B2", "o"),
    "loop": ("#7F7F7F", "|"),
    "loop_plus": ("#000000", "d"),
    "rtpengine": ("#D55E00", "s"),
    "coturn": ("#009E73", "^"),
    "nginx": ("#CC79A7", "v"),
}
OTHER_STYLES = [("#56B4E9", "P"), ("#E69F00", "X")]
WIDTHS = [3.0, 3.0, 2.6, 3.0, 2.6]
LEFT_IN, TOP_IN, BOTTOM_IN = 2.0, 0.95, 1.05
CASE_IN, RELAY_IN = 0.12, 0.15  # height of a case's line: this, and this for each relay
NAME_CHARACTERS = 24
SPREAD = 0.72  # of a line's height that its relays take
DPI = 130
TEXT_ON_DARK = 0.55  # a batch share from which its number is white

MARKER: dict[str, Any] = {"markersize": 6.5, "markeredgewidth": 1.8}
Value = Callable[[Row], float | None]


def check_installed() -> None:
    """Raises BenchError, with what installs it, where there is no matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise BenchError(f"--plot needs matplotlib: {INSTALL}") from None


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the picture; its kind is that of the path's suffix. OSError if that cannot be."""
    check_installed()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cases: Sequence[Mapping[str, Any]] = report["cases"]
    found = [rows(case) for case in cases]
    line_in = CASE_IN + RELAY_IN * max((len(each) for each in found), default=0)
    height_in = TOP_IN + BOTTOM_IN + line_in * max(len(cases), 1)
    figure = Figure(figsize=(sum(WIDTHS) + LEFT_IN, height_in))
    FigureCanvasAgg(figure)
    columns = figure.subplots(1, len(WIDTHS), sharey=True, width_ratios=WIDTHS)
    styles = _styles(found)
    _points(columns[0], found, styles, lambda row: row.pps_out)
    _points(columns[1], found, styles, lambda row: row.cpu_us_per_packet_out)
    _points(columns[2], found, styles, _loop_ratio)
    _delays(columns[3], found, styles)
    _batches(columns[4], found)
    _label(columns, [str(case["name"]) for case in cases])
    _frame(figure, report, styles)
    figure.savefig(path, dpi=DPI)


def _styles(found: Sequence[Sequence[Row]]) -> dict[str, tuple[str, str]]:
    names = dict.fromkeys(row.relay for each in found for row in each)
    others = iter(OTHER_STYLES * len(names))
    return {name: STYLES.get(name) or next(others) for name in names}


def _loop_ratio(row: Row) -> float | None:
    return row.engine_to_it if row.relay in LOOPS else None


def _places(line: int, count: int) -> list[float]:
    """Heights of the relays of a case, the first on top; the axis points down."""
    return [line + SPREAD * ((i + 0.5) / count - 0.5) for i in range(count)]


def _points(
    axes: Axes, found: Sequence[Sequence[Row]], styles: Mapping[str, tuple[str, str]], value: Value
) -> None:
    for line, each in enumerate(found):
        for row, place in zip(each, _places(line, len(each)), strict=True):
            shown = value(row)
            if shown is not None:
                colour, marker = styles[row.relay]
                axes.plot(shown, place, marker, color=colour, **MARKER)


def _delays(
    axes: Axes, found: Sequence[Sequence[Row]], styles: Mapping[str, tuple[str, str]]
) -> None:
    """From the median to the 99th percentile."""
    for line, each in enumerate(found):
        for row, place in zip(each, _places(line, len(each)), strict=True):
            colour, marker = styles[row.relay]
            if row.p50_us is not None:
                axes.plot(row.p50_us, place, marker, color=colour, **MARKER)
            if row.p50_us is not None and row.p99_us is not None:
                axes.plot(
                    [row.p50_us, row.p99_us], [place, place], "-", color=colour, linewidth=1.6
                )


def _batches(axes: Axes, found: Sequence[Sequence[Row]]) -> None:
    """The share of the engine's system calls that sent so many packets each."""
    told = [each[0].batches for each in found]
    sizes = next((list(one) for one in told if one), [])
    for line, histogram in enumerate(told):
        total = sum(histogram.values()) if histogram else 0
        for place, size in enumerate(sizes):
            share = histogram[size] / total if histogram and total else 0.0
            axes.barh(line, 1, left=place - 0.5, height=0.8, color="#0072B2", alpha=share)
            if share >= 0.005:
                colour = "white" if share > TEXT_ON_DARK else "black"
                text = f"{100 * share:.0f}"
                axes.text(place, line, text, ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(sizes)), sizes, fontsize=8)
    axes.set_xlim(-0.5, max(len(sizes), 1) - 0.5)


def _label(columns: Sequence[Axes], names: Sequence[str]) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    labels = [
        ("packets out", "packets/s, < 0.1 % lost"),
        ("CPU time", "µs of a core per packet out"),
        ("engine beside C loops", "its CPU time per packet / theirs"),
        ("one-way delay", "µs at half its rate or the given, p50 to p99"),
        ("engine's batches", "packets per system call, in % of calls"),
    ]
    for axes, (title, unit) in zip(columns, labels, strict=True):
        axes.set_title(title, fontsize=10, fontweight="bold")
        axes.set_xlabel(unit, fontsize=9)
        axes.tick_params(axis="x", labelsize=8)
        axes.tick_params(axis="y", length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        for line in range(1, len(names)):
            axes.axhline(line - 0.5, color="#D9D9D9", linewidth=0.6, zorder=0)
    lines = [textwrap.fill(name, NAME_CHARACTERS) for name in names]
    columns[0].set_yticks(range(len(names)), lines, fontsize=9)
    columns[0].set_ylim(len(names) - 0.5, -0.5)
    for axes in (columns[0], columns[1], columns[3]):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(_short))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(axis="x", color="#E5E5E5", linewidth=0.6)
        axes.margins(x=0.08)
        _thin(axes)
    columns[2].axvline(1, color="#7F7F7F", linewidth=0.8)
    columns[2].set_xlim(0, 1.08 * max(columns[2].get_xlim()[1], 1.0))
    columns[2].grid(axis="x", color="#E5E5E5", linewidth=0.6)


def _thin(axes: Axes) -> None:
    """Fewer numbers where many powers of ten would write over each other."""
    from matplotlib.ticker import LogLocator

    low, high = axes.get_xlim()
    if high / low > 200:
        axes.xaxis.set_major_locator(LogLocator())


def _short(value: float, _place: object = None) -> str:
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if value >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _frame(
    figure: Figure,
    report: Mapping[str, Any],
    styles: Mapping[str, tuple[str, str]],
) -> None:
    """Legend, and of which host and version this is."""
    from matplotlib.lines import Line2D

    host = report["environment"]
    figure.suptitle(
        f"overlane {host['overlane']}: one core of {host['cpu']}, Linux {host['kernel']}, loopback",
        fontsize=11,
        y=1 - 0.15 / figure.get_figheight(),
        va="top",
    )
    handles = [
        Line2D([], [], linestyle="none", color=colour, marker=marker, label=name, **MARKER)
        for name, (colour, marker) in styles.items()
    ]
    height_in = figure.get_figheight()
    bottom = 0.1 / height_in
    figure.legend(
        handles=handles,
        loc="lower center",
        bbox_to_anchor=(0.5, bottom),
        ncols=len(handles),
        frameon=False,
    )
    figure.subplots_adjust(
        left=LEFT_IN / figure.get_figwidth(),
        right=0.99,
        top=1 - TOP_IN / height_in,
        bottom=BOTTOM_IN / height_in,
        wspace=0.08,
    )
    warned = len(report["warnings"])
    if warned:
        text = f"{warned} warning{'s' if warned > 1 else ''} in the report"
        figure.text(0.99, bottom, text, ha="right", fontsize=9, color="#D55E00")
