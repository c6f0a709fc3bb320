"""Cases of congestion control as one picture: a row for each case, a column for each controller.

Targets under the capacity, what TCP takes beside them, and below them the queue. matplotlib draws
it, and is an extra of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.support.plot import check_installed
from bench.support.rate_cases import Case

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9"]
COLUMN_IN, TARGETS_IN, QUEUE_IN = 5.2, 1.7, 0.9
STEP_US = 200_000  # of the queue's points: the largest of each
TCP_STEP_S = 2.0
LEGEND = (
    "black: capacity; coloured: target of each flow, also while it pauses; "
    "dotted: what TCP gets; grey: longest wait of a packet"
)


def draw(cases: Mapping[str, Mapping[str, Case]], path: Path) -> None:
    """cases: by case, then by controller. BenchError without matplotlib, OSError if it cannot be
    written."""
    check_installed()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = list(dict.fromkeys(kind for each in cases.values() for kind in each))
    figure = Figure(
        figsize=(COLUMN_IN * len(columns), (TARGETS_IN + QUEUE_IN) * len(cases) + 0.6),
        layout="constrained",
    )
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        2 * len(cases),
        len(columns),
        squeeze=False,
        height_ratios=[TARGETS_IN, QUEUE_IN] * len(cases),
    )
    for row, (name, each) in enumerate(cases.items()):
        for column, kind in enumerate(columns):
            targets, queue = axes[2 * row][column], axes[2 * row + 1][column]
            targets.set_title(f"{name} {each[kind].title}: {kind}", fontsize=9)
            _targets(targets, each[kind])
            _queue(queue, each[kind])
            if row == len(cases) - 1:
                queue.set_xlabel("s", fontsize=8)
    figure.suptitle(LEGEND, fontsize=9)
    figure.savefig(path, dpi=110)


def _targets(axes: Axes, case: Case) -> None:
    trace = [*case.bottleneck.trace, (case.seconds, case.bottleneck.trace[-1][1])]
    axes.step(
        [at for at, _ in trace], [bps / 1e6 for _, bps in trace], where="post", color="black", lw=1
    )
    for flow, colour in zip(case.flows, COLOURS, strict=False):
        points = flow.record.targets
        axes.plot(
            [at / 1e6 for at, _ in points], [bps / 1e6 for _, bps in points], color=colour, lw=0.9
        )
    if case.tcp:
        axes.plot(*_tcp_rate(case), color="#555555", lw=0.9, ls=":")
    axes.set_ylim(0, 1.25 * max(bps for _, bps in trace) / 1e6)
    axes.set_ylabel("Mbit/s", fontsize=8)
    _frame(axes, case)
    axes.set_xticklabels([])


def _tcp_rate(case: Case) -> tuple[list[float], list[float]]:
    """Of all its flows: s, Mbit/s."""
    bits = [0] * (int(case.seconds / TCP_STEP_S) + 1)
    for flow in case.tcp:
        for at_us, size in flow.arrived:
            if at_us < case.seconds * 1e6:
                bits[int(at_us / 1e6 / TCP_STEP_S)] += 8 * size
    rates = [each / TCP_STEP_S / 1e6 for each in bits[:-1]]
    return [(place + 0.5) * TCP_STEP_S for place in range(len(rates))], rates


def _queue(axes: Axes, case: Case) -> None:
    longest: dict[int, int] = {}
    for flow in case.flows:
        for at, wait in flow.record.waits:
            longest[at // STEP_US] = max(longest.get(at // STEP_US, 0), wait)
    places = sorted(longest)
    axes.fill_between(
        [place * STEP_US / 1e6 for place in places],
        [longest[place] / 1e3 for place in places],
        color="#7F7F7F",
        lw=0,
    )
    axes.set_ylim(0, 320)
    axes.set_ylabel("queue, ms", fontsize=8)
    _frame(axes, case)


def _frame(axes: Axes, case: Case) -> None:
    axes.set_xlim(0, case.seconds)
    axes.tick_params(labelsize=7)
    axes.grid(color="#E5E5E5", lw=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
