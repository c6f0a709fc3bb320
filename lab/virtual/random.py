"""Random scenarios on all cores: `python -m lab.virtual.random --seeds 300`.

Prints JSON: how many ran, and each failing seed with what did not hold. Exit code 1 if one failed.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import traceback
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

from lab.virtual.faults import BREAKS, broken
from lab.virtual.invariants import STEP_US, Invariants, Violation
from lab.virtual.random_scenario import random_scenario, random_tables
from lab.virtual.run import VirtualOverlay


@dataclass(frozen=True, slots=True)
class SeedResult:
    """One scenario. violations: the first of each invariant."""

    seed: int
    violations: tuple[Violation, ...]
    checks: int
    events: int
    frames: int
    digest: str
    error: str = ""

    @property
    def has_failed(self) -> bool:
        return bool(self.violations or self.error)


def run_seed(seed: int, broken_mechanism: str | None = None) -> SeedResult:
    """To its end, or to the first violation with a mechanism broken on purpose."""
    gc.collect()  # an earlier overlay's engines: large, and in cycles that look small from Python
    overlay = VirtualOverlay(random_scenario(seed), random_tables(seed))
    invariants = Invariants(overlay)
    found: dict[str, Violation] = {}
    error = ""
    with broken(broken_mechanism, overlay):
        try:
            while overlay.world.now_us < overlay.end_us:
                overlay.run_until(min(overlay.world.now_us + STEP_US, overlay.end_us))
                for violation in invariants.check():
                    found.setdefault(violation.invariant, violation)
                if broken_mechanism in found:
                    break
            else:
                for violation in invariants.check_end():
                    found.setdefault(violation.invariant, violation)
        except Exception:  # noqa: BLE001  any failure of any part is a finding, with its seed
            error = traceback.format_exc(limit=-6)
    frames = sum(overlay.world.viewer(w.number).whole for w in overlay.audience.watchers)
    return SeedResult(
        seed=seed,
        violations=tuple(found.values()),
        checks=invariants.checks,
        events=len(overlay.happened),
        frames=frames,
        digest=overlay.world.digest,
        error=error,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=1, help="the first one")
    parser.add_argument("--break", dest="broken", choices=sorted(BREAKS), help="on purpose")
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    # Fresh processes: no state of another scenario's, and no fork of a process with threads.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        results = list(pool.map(partial(run_seed, broken_mechanism=options.broken), seeds))
    failed = [result for result in results if result.has_failed]
    report = {
        "seeds": len(results),
        "first": options.first,
        "broken": options.broken,
        "checks": sum(result.checks for result in results),
        "events": sum(result.events for result in results),
        "frames": sum(result.frames for result in results),
        "failed": [
            {
                "seed": result.seed,
                "violations": [str(violation) for violation in result.violations],
                **({"error": result.error} if result.error else {}),
            }
            for result in failed
        ],
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
