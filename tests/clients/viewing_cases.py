"""What is tried with real players behind an access link of the lab."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lab.link import LinkConfig

NOISE = ",noise=alls=24:allf=t"  # else the pattern does not need so many bits


@dataclass(frozen=True, slots=True)
class Film:
    """One video that is broadcast. bitrate: of its encoder, bitrate_bps: as configured."""

    bitrate: str = "1M"
    bitrate_bps: int = 0
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """broadcasts: each of one or more versions of its video, the best first, and sound. path: from
    node to player. is_bundle: picture and sound to one port of the player's. switches: seconds
    after it has joined, and to which broadcast. feedback_ms: see `gstreamer.play_repaired`."""

    name: str
    player: Literal["ffmpeg", "gstreamer"]
    path: LinkConfig
    broadcasts: tuple[tuple[Film, ...], ...] = ((Film(),),)
    is_bundle: bool = False
    rtx: bool = False
    transport_cc: bool = False
    feedback_ms: int = 0
    delay: bool = False
    switches: tuple[tuple[float, int], ...] = ()


DELAY_US = 20_000
CASES = (
    Case(
        "gstreamer-rtx",
        "gstreamer",
        LinkConfig(delay_us=DELAY_US, jitter_us=1_000, loss=0.02),
        rtx=True,
    ),
    Case(
        "gstreamer-transport-cc",
        "gstreamer",
        LinkConfig(delay_us=DELAY_US, rate_bps=2_000_000, queue_us=300_000),
        broadcasts=((Film("3M", 3_100_000, NOISE), Film("700k", 750_000, NOISE)),),
        is_bundle=True,
        rtx=True,
        transport_cc=True,
        feedback_ms=100,
        delay=True,
    ),
    Case(
        "gstreamer-switch",
        "gstreamer",
        LinkConfig(delay_us=DELAY_US, jitter_us=1_000),
        broadcasts=((Film(),), (Film("800k"),)),
        delay=True,
        switches=((3.0, 1), (7.0, 0)),
    ),
    Case(
        "ffmpeg-switch",
        "ffmpeg",
        LinkConfig(delay_us=DELAY_US, jitter_us=1_000),
        broadcasts=((Film(),), (Film("800k"),)),
        switches=((3.0, 1), (7.0, 0)),
    ),
)
