"""What the report says of a case."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from bench.support.case import Case
from bench.support.measure import Found
from bench.support.relays import OURS, SIZES
from bench.support.rig import Rig, Trial

# A yardstick that costs more beside the bare loop than this is no yardstick.
MAX_PLUS_TO_LOOP = {"gro": 2.1, "plain": 1.25}


def batches(trial: Trial) -> dict[str, object]:
    sent = trial.sent
    return {
        "mean_packets": round(sent.packets / sent.batches, 2) if sent.batches else None,
        "histogram": dict(zip(SIZES, sent.sizes, strict=True)),
    }


def figures(trial: Trial) -> dict[str, object]:
    return {
        "packets_out": trial.packets_out,
        "pps_out": round(trial.pps_out),
        "cpu_us_per_packet_out": round(trial.cpu_us_per_packet_out, 4),
        "cpu_us_range": [round(end, 4) for end in trial.cpu_us_range or ()],
        "cpu_share": round(trial.cpu_share, 3),
        "loss": round(trial.loss, 6),
        "delay_us": trial.delays.figures(),
        "batches": batches(trial),
        "failed_by": trial.limited_by,
    }


def relay_report(found: Found) -> dict[str, object]:
    """At its highest rate if that was searched, else at the given one; and at common rates."""
    trial = found.highest or found.common["given"]
    report = figures(trial)
    del report["failed_by"]
    report["limited_by"] = found.limited_by
    at = found.own or {"given": trial}
    report["delay_us"] = {
        share: {**one.delays.figures(), "pps_out": round(one.pps_out)} for share, one in at.items()
    }
    report["common"] = {which: figures(one) for which, one in found.common.items()}
    return report


def ratio(over: Trial | None, under: Trial | None) -> float | None:
    """Of CPU time per packet out."""
    if over is None or under is None:
        return None
    return round(over.cpu_us_per_packet_out / max(under.cpu_us_per_packet_out, 1e-9), 3)


def ratios(found: dict[str, Found], which: str) -> dict[str, float | None]:
    """Of the engine to each loop, at one common rate."""
    engine = found["engine"].common.get(which)
    return {
        f"ratio_to_{name}": ratio(engine, found[name].common.get(which) if name in found else None)
        for name in ("loop", "loop_plus")
    }


def at_highest_common(found: dict[str, Found]) -> str:
    return "given" if "given" in found["engine"].common else "highest"


def case_warnings(case: Case, found: dict[str, Found]) -> list[str]:
    """What a reader of the figures must know."""
    told = []
    which = at_highest_common(found)
    for name, one in found.items():
        others = sorted({limit for limit in one.limited_by if limit != "relay"})
        if others:
            told.append(
                f"{name}: its highest rate is the {' or '.join(others)}'s limit; compare CPU time"
            )
        for common, trial in one.common.items():
            if not trial.passed and name in OURS:  # a slower peer need not keep it
                told.append(
                    f"{name}: a trial at the {common} common rate failed ({trial.limited_by})"
                )
    if "loop_plus" in found:
        floor = ratio(found["loop_plus"].common[which], found["loop"].common[which])
        most = MAX_PLUS_TO_LOOP[case.receiver]
        if floor is not None and floor > most and case.pacing == "saturated":
            told.append(f"loop_plus costs {floor} times loop; as a yardstick it may cost {most}")
    return told


def case_report(case: Case, found: dict[str, Found], rig: Rig) -> dict[str, object]:
    """ratio_to_...: at the highest common rate, which all pass. delay_us: the engine's at half of
    the lowest highest rate (or at the given rate)."""
    engine = found["engine"]
    shown = engine.highest or engine.common["given"]
    which = at_highest_common(found)
    delays = engine.common.get("half", engine.common[which]).delays.figures()
    half = {f"{name}_at_half": value for name, value in ratios(found, "half").items()}
    return {
        **asdict(case),
        "links": case.link_count,
        "name": case.name,
        "rate": "found" if engine.highest else case.rate_pps,
        "pps_out": round(shown.pps_out),
        "cpu_us_per_packet_out": round(shown.cpu_us_per_packet_out, 4),
        **ratios(found, which),
        **half,
        "common_pps_out": {name: round(one.pps_out) for name, one in engine.common.items()},
        "loop_plus_to_loop": ratio(
            found["loop_plus"].common[which] if "loop_plus" in found else None,
            found["loop"].common[which],
        ),
        "delay_us": delays,
        **{name: relay_report(one) for name, one in found.items()},
        "relays": list(found),
        "repeated_trials": rig.repeated,
        "other_datagrams": rig.sink.other_datagrams,
        "warnings": case_warnings(case, found),
    }


def write_report(report: Mapping[str, object], json_file: str) -> None:
    """As JSON to a file, or to stdout for "-"."""
    text = json.dumps(report, indent=2) + "\n"
    if json_file == "-":
        sys.stdout.write(text)
    else:
        Path(json_file).write_text(text)
