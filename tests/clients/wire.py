"""What a node sent to a player, as an analyser sees it: numbers, times, header extensions."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from rtp.packet import RtpPacket

ONE_BYTE_FORM = 0xBEDE


@dataclass(frozen=True, slots=True)
class Track:
    """missing: numbers that were left out. least_step_ms, longest_step_ms: between the times of two
    neighbouring frames, in the order of showing."""

    packets: int
    missing: int
    frames: int
    least_step_ms: float
    longest_step_ms: float


@dataclass(frozen=True, slots=True)
class Wire:
    """By medium. again: sent as RTX. extensions: how many packets had an element of that id.
    ill_formed: header extensions that break RFC 8285 4.2. delay_ms: that of the median packet, as
    its extension says; None without."""

    tracks: dict[str, Track]
    again: int
    extensions: dict[int, int]
    ill_formed: int
    delay_ms: float | None


def read_wire(
    datagrams: Iterable[bytes], tracks: Mapping[str, Mapping[str, Any]], delay_id: int
) -> Wire:
    """datagrams: as they left. tracks: of the viewer's status, for SSRCs and clock rates."""
    media = {track["ssrc"]: name for name, track in tracks.items()}
    rtx = {track["rtx_ssrc"] for track in tracks.values()}
    packets: defaultdict[str, list[RtpPacket]] = defaultdict(list)
    extensions: defaultdict[int, int] = defaultdict(int)
    delays_ms: list[float] = []
    again = ill_formed = 0
    for data in datagrams:
        if 192 <= data[1] <= 223:
            continue
        packet = RtpPacket.parse(data)
        again += packet.ssrc in rtx
        if packet.ssrc in media:
            packets[media[packet.ssrc]].append(packet)
        try:
            for number, value in elements(packet).items():
                extensions[number] += 1
                if number == delay_id:
                    delays_ms.append(int.from_bytes(value) / 4)
        except ValueError:
            ill_formed += 1
    found = {name: _track(packets[name], tracks[name]["clock_rate"]) for name in packets}
    delay_ms = statistics.median(delays_ms) if delays_ms else None
    return Wire(found, again, dict(sorted(extensions.items())), ill_formed, delay_ms)


def elements(packet: RtpPacket) -> dict[int, bytes]:
    """By their ids. Raises ValueError where RFC 8285 4.2 forbids it."""
    if packet.extension is None:
        return {}
    if packet.extension.profile != ONE_BYTE_FORM:
        raise ValueError(f"profile {packet.extension.profile:#x}")
    found: dict[int, bytes] = {}
    data, at = packet.extension.data, 0
    while at < len(data):
        number, size = data[at] >> 4, (data[at] & 15) + 1
        if data[at] == 0:  # padding
            at += 1
            continue
        value = data[at + 1 : at + 1 + size]
        if number in (0, 15) or number in found or len(value) < size:
            raise ValueError(f"element {number} of {size} bytes at {at}")
        found[number] = value
        at += 1 + size
    return found


def _track(packets: list[RtpPacket], clock_rate: int) -> Track:
    numbers = sorted(set(_unwrapped([p.sequence_number for p in packets], 16)))
    times = sorted(set(_unwrapped([p.timestamp for p in packets], 32)))
    steps = [(b - a) * 1_000 / clock_rate for a, b in pairwise(times)]
    return Track(
        packets=len(packets),
        missing=numbers[-1] - numbers[0] + 1 - len(numbers),
        frames=len(times),
        least_step_ms=round(min(steps, default=0.0), 2),
        longest_step_ms=round(max(steps, default=0.0), 2),
    )


def _unwrapped(values: list[int], bits: int) -> list[int]:
    """Each the nearest to the one before."""
    found: list[int] = []
    half = 1 << (bits - 1)
    for value in values:
        before = found[-1] if found else value
        found.append(before + ((value - before + half) & ((1 << bits) - 1)) - half)
    return found
