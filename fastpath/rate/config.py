"""What a rate controller is told and tells, as Python sees it (`types.pxd` has the native side)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple


class RateKind(IntEnum):
    FIXED = 0
    GCC = 1
    LOSS_ONLY = 2
    NADA = 3


class RateProfile(IntEnum):
    """Whose constants GCC takes where libwebrtc and draft-ietf-rmcat-gcc-02 differ."""

    LIBWEBRTC = 0
    DRAFT = 1


@dataclass(frozen=True, slots=True)
class RateConfig:
    """Rates are bit/s of UDP payload; 0 means not known, or no limit, where a default is 0.
    needed_bps: what there would be to send, were there room."""

    min_bps: int = 30_000
    start_bps: int = 300_000  # libwebrtc kDefaultStartBitrate
    max_bps: int = 100_000_000
    remote_cap_bps: int = 0
    needed_bps: int = 0
    streams: int = 1
    profile: RateProfile = RateProfile.LIBWEBRTC
    is_node_link: bool = False


class PacketResult(NamedTuple):
    """The fate of one packet. arrival_us: the receiver's clock, of any epoch; -1 if it was lost."""

    sent_us: int
    arrival_us: int
    size: int
    probe: int = 0
    is_ce: bool = False
    is_fast: bool = False


class Probe(NamedTuple):
    """At least `size` bytes and `packets` packets, to be paced at `bps`, told of as `cluster`."""

    cluster: int
    bps: int
    size: int
    packets: int


@dataclass(frozen=True, slots=True)
class RateState:
    """What a controller thinks, for status and plots; None: not known, or no part of this kind."""

    target_bps: int
    acknowledged_bps: float | None = None
    delay_based_bps: float | None = None
    loss_based_bps: float | None = None
    trend: float | None = None  # GCC: as compared with the threshold; NADA: its signal in ms
    threshold: float | None = None
    usage: str | None = None
    queue_us: int | None = None
    loss: float = 0.0
    limited_by_loss: bool = False
    application_limited: bool = False
    additive_bps_per_s: float | None = None
