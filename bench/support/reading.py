"""A report as rows: of each case, what each relay did. For the table and the plot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LOOPS = ("loop", "loop_plus")


@dataclass(frozen=True)
class Row:
    """At its highest rate, or at the given one; delays at half of that, or at the given one."""

    relay: str
    pps_out: float
    media_bps_out: float  # RTP packets, without headers below them
    cpu_us_per_packet_out: float
    # CPU time per packet, engine's to its: at a rate both keep for the loops, at the highest of
    # each for peers. None for the engine.
    engine_to_it: float | None
    p50_us: float | None  # None: too few packets were timed
    p99_us: float | None
    limited_by: tuple[str, ...]  # empty: its highest rate was not searched
    batches: Mapping[str, int] | None  # system calls by the packets they sent; None: not told


def _engine_to(case: Mapping[str, Any], name: str) -> float | None:
    if name in LOOPS:
        found = case[f"ratio_to_{name}"]
        return None if found is None else float(found)
    its, engines = (case[one]["cpu_us_per_packet_out"] for one in (name, "engine"))
    return None if name == "engine" or not its else float(engines / its)


def _row(case: Mapping[str, Any], name: str) -> Row:
    found = case[name]
    given = found["common"].get("given")
    delays = found["delay_us"]["50%"] if given is None else given["delay_us"]
    histogram = found["batches"]["histogram"]
    return Row(
        relay=name,
        pps_out=found["pps_out"],
        media_bps_out=8.0 * found["pps_out"] * case["payload_bytes"],
        cpu_us_per_packet_out=found["cpu_us_per_packet_out"],
        engine_to_it=_engine_to(case, name),
        p50_us=delays["p50"],
        p99_us=delays["p99"],
        limited_by=tuple(dict.fromkeys(found["limited_by"])),
        batches=histogram if any(histogram.values()) else None,
    )


def rows(case: Mapping[str, Any]) -> list[Row]:
    """The engine first, then what it is compared with."""
    return [_row(case, name) for name in case["relays"]]
