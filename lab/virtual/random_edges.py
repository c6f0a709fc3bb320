"""What a random scenario has at its edges: encoders, viewers, the paths between them and their
nodes, what shares those, and what people do while they watch.

Each kind draws for itself, so that the same seed is the same trouble between nodes whatever is
added here. Narrow paths are wide again by the time that trouble ends, and other traffic has ended.
"""

from __future__ import annotations

from random import Random
from typing import Any, TypeAlias

Table: TypeAlias = dict[str, Any]

CODECS = ("H264", "H264", "H264", "H265", "VP8", "VP9", "AV1")
BROWSER = ("reports", "nack", "transport_cc", "pli")
FEEDBACKS: tuple[tuple[str, ...], ...] = (
    *([BROWSER] * 4),
    ("reports", "nack", "pli"),
    ("reports", "nack"),
    ("nack", "transport_cc"),
    ("reports",),
    (),
)
NARROW_BPS = (150_000, 400_000)
SHARED_BPS = 20_000_000


def encode(seed: int, broadcasts: list[Table]) -> None:
    """What encoders make beside one stream of P frames of H.264."""
    rng = Random(f"encoders {seed}")
    own = Random(f"codecs {seed}")
    codec = own.choice(CODECS)
    for broadcast in broadcasts:
        if rng.random() < 0.3:
            broadcast["b_frames"] = rng.choice([1, 3])
        if rng.random() < 0.3:
            best = broadcast["bitrate_bps"]
            broadcast["versions"] = [best, best // 2]
        # Mostly of one kind, so that viewers can go from one to another.
        broadcast["codec"] = codec if own.random() < 0.8 else own.choice(CODECS)
        if own.random() < 0.25 and "versions" not in broadcast:
            lag_ms = own.choice([20.0, 100.0])
            broadcast["adaptive"] = {"min_bps": 100_000, "max_bps": 700_000, "lag_ms": lag_ms}


def uplinks(seed: int, broadcasts: list[Table]) -> list[Table]:
    """Access paths of some encoders: these hear when a key frame is asked for."""
    rng = Random(f"uplinks {seed}")
    return [
        {
            "broadcast": broadcast["name"],
            "delay_ms": round(rng.uniform(1, 40), 1),
            "jitter_ms": rng.choice([0.0, 2.0]),
            "loss": rng.choice([0.0, 0.0, 0.002]),
        }
        for broadcast in broadcasts
        if rng.random() < 0.4
    ]


def access(seed: int, viewers: list[Table], trouble_s: float, quiet_s: float) -> list[list[Table]]:
    """Which viewers are premium; the access paths of some, and times at which these are narrow.
    Otherwise they have several times the rate that a viewer needs."""
    rng = Random(f"access {seed}")
    own = Random(f"paths {seed}")
    paths: list[Table] = []
    falls: list[Table] = []
    for viewer in viewers:
        viewer["premium"] = rng.random() < 0.35
        if rng.random() < 0.6 and own.random() < 0.5:
            continue
        path: Table = {
            "viewers": viewer["name"],
            "delay_ms": round(rng.uniform(1, 60), 1),
            "jitter_ms": rng.choice([0.0, 3.0]),
            "loss": rng.choice([0.0, 0.005]),
            "rate_bps": rng.choice([4_000_000, 10_000_000]),
            "queue_ms": own.choice([100.0, 200.0, 500.0]),
        }
        paths.append(path)
        if own.random() < 0.2:
            path["reorder"] = own.choice([0.005, 0.05])
            path["reorder_extra_ms"] = own.choice([2.0, 15.0])
        if own.random() < 0.2:
            path["back"] = {"loss": 0.02, "delay_ms": round(own.uniform(1, 150), 1)}
        if own.random() < 0.2:
            path["rate_trace"] = _trace(own, path.pop("rate_bps"), trouble_s, quiet_s)
        elif rng.random() < 0.5:
            at_s = round(rng.uniform(trouble_s, quiet_s - 6), 2)
            end_s = round(at_s + rng.uniform(1, 5), 2)
            change = {"do": "access", "viewers": viewer["name"]}
            falls.append({"at_s": at_s, **change, "rate_bps": rng.choice(NARROW_BPS)})
            falls.append({"at_s": end_s, **change, "rate_bps": path["rate_bps"]})
    if paths and own.random() < 0.15:
        return _shared(paths[0], falls)
    return [paths, falls]


def _shared(path: Table, falls: list[Table]) -> list[list[Table]]:
    """All viewers behind this one, which is wide enough for them when it is not narrow."""
    events = [{**event, "viewers": "v*"} for event in falls if event["viewers"] == path["viewers"]]
    path = {**path, "viewers": "v*", "shared": True, "rate_bps": SHARED_BPS}
    path.pop("rate_trace", None)
    for event in events:
        if event["rate_bps"] not in NARROW_BPS:
            event["rate_bps"] = SHARED_BPS
    return [[path], events]


def _trace(rng: Random, wide_bps: int, trouble_s: float, quiet_s: float) -> list[list[float]]:
    """A capacity that changes all the time, and is wide before and after."""
    steps: list[list[float]] = [[0.0, wide_bps]]
    at_s = trouble_s
    while (at_s := at_s + rng.uniform(0.3, 4)) < quiet_s:
        steps.append([round(at_s, 2), rng.randint(NARROW_BPS[0], 2_000_000)])
    return [*steps, [quiet_s, wide_bps]]


def speak(seed: int, viewers: list[Table], paths: list[Table]) -> None:
    """Most who are behind a path do as browsers do, some of the others too."""
    rng = Random(f"speech {seed}")
    behind = {path["viewers"] for path in paths}
    for viewer in viewers:
        if behind & {"v*", viewer["name"]} or rng.random() < 0.2:
            viewer["feedback"] = rng.choice(FEEDBACKS)
            if rng.random() < 0.3:
                viewer["rtx"] = rng.random() < 0.5
        if behind & {"v*", viewer["name"]} and rng.random() < 0.2:
            viewer["beyond_ms"] = round(rng.uniform(1, 80), 1)


def flows(seed: int, paths: list[Table], trouble_s: float, quiet_s: float) -> list[Table]:
    """What shares access paths for a while."""
    rng = Random(f"flows {seed}")
    found: list[Table] = []
    for number, path in enumerate(paths):
        if rng.random() >= 0.15:
            continue
        start_s = round(rng.uniform(trouble_s, quiet_s - 5), 2)
        kind = rng.choice(["tcp", "short_tcp", "cbr"])
        flow: Table = {
            "name": f"f{number}",
            "kind": kind,
            "viewers": path["viewers"],
            "start_s": start_s,
            "end_s": round(min(quiet_s, start_s + rng.uniform(1, 3)), 2),
        }
        if kind == "cbr":
            flow["rate_bps"] = rng.choice([500_000, 5_000_000])
        else:
            flow["window"] = rng.choice(["cubic", "reno"])
        found.append(flow)
    return found


def doings(
    seed: int, broadcasts: list[Table], viewers: list[Table], trouble_s: float, quiet_s: float
) -> list[Table]:
    """Encoders that pause, and viewers that go on with another broadcast."""
    rng = Random(f"doings {seed}")
    events: list[Table] = []
    codecs = {broadcast["name"]: broadcast["codec"] for broadcast in broadcasts}
    for broadcast in broadcasts:
        if rng.random() < 0.25:
            at_s = round(rng.uniform(trouble_s, quiet_s - 6), 2)
            end_s = round(at_s + rng.uniform(0.05, 5), 2)
            named = {"broadcast": broadcast["name"]}
            events.append({"at_s": at_s, "do": "pause_encoder", **named})
            events.append({"at_s": end_s, "do": "resume_encoder", **named})
    for viewer in viewers:
        others = [name for name, codec in codecs.items() if codec == codecs[viewer["stream"]]]
        times = rng.choice([0, 1, 1, 2, 4]) if len(others) > 1 else 0
        for _ in range(times):
            at_s = round(rng.uniform(trouble_s, quiet_s), 2)
            named = {"viewer": viewer["name"], "to": rng.choice(others)}
            events.append({"at_s": at_s, "do": "switch_viewer", **named})
    return events
