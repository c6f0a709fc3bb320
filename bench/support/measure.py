"""What one case finds out about its relays, in turns so that a drift of the machine meets all.

First the highest rate of each, several searches; then all of them at rates they have in common
(CPU and delay can be compared there); then the delay of each at shares of its own highest rate.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from bench.support.case import Case as Case
from bench.support.case import Plan as Plan
from bench.support.delay import together
from bench.support.native import BenchError
from bench.support.relays import OURS, Sent
from bench.support.rig import PATIENCE_S, Rig, Trial
from bench.support.search import RateSearch

GROWTH = 2.0
REFINEMENT = 1.1  # a later search starts at what the first found
SHORT = 0.3  # length of a trial while the first search still grows
GIVEN = 2.0  # length of a trial where only one rate is measured
# Of the lowest of the highest rates: what passed once may not pass again.
COMMON_SHARES = {"highest": 0.93, "half": 0.5}
COMMON_TRIES, COMMON_STEP = 3, 0.85
COMMON_ROUNDS = 5  # what is compared, so more of them than searches
OWN_SHARES = {"10%": 0.1, "50%": 0.5, "90%": 0.9}
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """Of one relay in one case."""

    highest: Trial | None = None  # None: not searched
    limited_by: list[str] = field(default_factory=list)  # what stopped each search
    common: dict[str, Trial] = field(default_factory=dict)  # "highest", "half", or "given"
    own: dict[str, Trial] = field(default_factory=dict)  # at shares of its highest rate


@dataclass(frozen=True)
class Highest:
    """Where one search of one relay ended."""

    passed: Trial
    limited_by: str


def search_in_turns(
    rig: Rig, starts: dict[str, float], factor: float, plan: Plan, tell: Tell
) -> dict[str, Highest]:
    """One search for each relay, a trial of the one and a trial of the next. A peer no rate of
    which passes is not in the result."""
    searches = {name: RateSearch(start, factor) for name, start in starts.items()}
    best: dict[str, Trial] = {}
    worst: dict[str, Trial] = {}
    while any(search.rate is not None for search in searches.values()):
        for name, search in searches.items():
            if search.rate is None:
                continue
            tell(f"{name} at {search.rate / 1000:,.0f} k/s")
            grows = factor == GROWTH and not search.is_bracketed
            trial = rig.trial(name, search.rate, plan.trial_s * (SHORT if grows else 1))
            (best if trial.passed else worst)[name] = trial
            search.on_result(trial.passed)
    for name in OURS:
        if name in searches and searches[name].found is None:
            raise BenchError(f"{name}: no rate passed; the last trial was {worst[name]}")
    return {
        name: Highest(best[name], worst[name].limited_by or "")
        for name, search in searches.items()
        if search.found is not None
    }


def median(trials: list[Trial]) -> Trial:
    """Of each figure by itself; delays and batches of all together. What failed counts only
    where half did: else the others tell what the relay can, and these what disturbed it."""
    failed = [trial for trial in trials if not trial.passed]
    if 2 * len(failed) < len(trials):
        trials = [trial for trial in trials if trial.passed]
    costs = [trial.cpu_us_per_packet_out for trial in trials]
    sizes = tuple(sum(column) for column in zip(*(t.sent.sizes for t in trials), strict=True))
    return Trial(
        packets_out=round(statistics.median(t.packets_out for t in trials)),
        pps_out=statistics.median(t.pps_out for t in trials),
        cpu_us_per_packet_out=statistics.median(costs),
        loss=statistics.median(t.loss for t in trials),
        sent=Sent(sum(t.sent.packets for t in trials), sum(t.sent.batches for t in trials), sizes),
        cpu_share=statistics.median(t.cpu_share for t in trials),
        limited_by=next((t.limited_by for t in trials if not t.passed), None),
        delays=together(t.delays for t in trials),
        cpu_us_range=(min(costs), max(costs)),
    )


def measure_at(
    rig: Rig, pps_out: float, trial_s: float, plan: Plan, tell: Tell
) -> dict[str, Trial]:
    """All at the same rate, in turns; medians."""
    taken: dict[str, list[Trial]] = {name: [] for name in rig.relays}
    for _ in range(COMMON_ROUNDS if plan.searches > 1 else 1):
        for name, trials in taken.items():
            tell(f"{name} at {pps_out / 1000:,.0f} k/s, as the others")
            trials.append(rig.trial(name, pps_out, trial_s, PATIENCE_S))
    return {name: median(trials) for name, trials in taken.items()}


def measure_common(
    rig: Rig, pps_out: float, plan: Plan, tell: Tell, compared: Collection[str]
) -> dict[str, Trial]:
    """At this rate, or the highest one a little below that all those compared pass."""
    for _ in range(COMMON_TRIES - 1):
        trials = measure_at(rig, pps_out, plan.trial_s, plan, tell)
        if all(trials[name].passed for name in compared if name in trials):
            return trials
        pps_out *= COMMON_STEP
    return measure_at(rig, pps_out, plan.trial_s, plan, tell)


def measure_given(rig: Rig, pps_out: float, plan: Plan, tell: Tell) -> dict[str, Found]:
    """At one given rate only: nothing is searched."""
    trials = measure_at(rig, pps_out, GIVEN * plan.trial_s, plan, tell)
    return {name: Found(common={"given": trial}) for name, trial in trials.items()}


def measure(
    rig: Rig,
    start_pps: float,
    plan: Plan,
    tell: Tell,
    compared: Collection[str] = OURS,
) -> dict[str, Found]:
    """All searches of a case, then the common rates, then the delays. compared: whose highest rates
    set the common ones (slower peers would only lower them)."""
    ends: dict[str, list[Highest]] = {name: [] for name in rig.relays}
    starts, factor = dict.fromkeys(rig.relays, start_pps), GROWTH
    for _ in range(plan.searches):
        found = search_in_turns(rig, starts, factor, plan, tell)
        for name, end in found.items():
            ends[name].append(end)
        starts = {name: end.passed.pps_out for name, end in found.items()}
        factor = REFINEMENT
    highest = {name: median([end.passed for end in each]) for name, each in ends.items() if each}
    lowest = min(trial.pps_out for name, trial in highest.items() if name in compared)
    common = {
        which: measure_common(rig, share * lowest, plan, tell, compared)
        for which, share in COMMON_SHARES.items()
    }
    own: dict[str, dict[str, Trial]] = {name: {} for name in highest}
    for which, share in OWN_SHARES.items():
        for name, trial in highest.items():
            tell(f"{name} at {which} of its rate")
            own[name][which] = rig.trial(name, share * trial.pps_out, plan.trial_s)
    return {
        name: Found(
            trial,
            [end.limited_by for end in ends[name]],
            {which: trials[name] for which, trials in common.items()},
            own[name],
        )
        for name, trial in highest.items()
    }
