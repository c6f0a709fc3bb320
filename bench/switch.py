"""Does a decoder notice when a viewer changes its bitrate, or its broadcast?

Two broadcasts, one of them at two bitrates, encoded by x264 and sent through two real nodes in
virtual time. A viewer's link becomes too slow and wide again, and it is switched to the other
broadcast and back. On its way every fiftieth packet is lost once, and asked for by NACK, also those
of before a switch. What it is sent is put together and decoded by ffmpeg (PyAV): no decode error,
every access unit whole, and no step of RTP time, or of time between whole frames, longer than a
frame and the jitter. A decoder conceals a reference that is missing or wrong without a word, so
each picture is also compared with that of its own encoding, decoded alone: no sample differs.

JSON on stdout; fails if it does not hold. Some seconds.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))

import itertools

from bench.support.environment import environment
from bench.support.show import Show, ingest
from overlane.play.decoders import H264Decoder
from overlane.play.reassembly import VideoReassembler
from overlane.publish.encoders import H264Encoder, VideoSettings
from overlane.publish.media import RawVideo, VideoUnit
from overlane.publish.pattern import PatternSource
from relay.events import VersionChanged, ViewerSwitched
from relay.messages import version_name
from rtp.packet import RtpPacket
from rtp.payload.h264_packets import access_unit_hash, packetize
from rtp.rtcp.compound import serialise_compound
from rtp.rtcp.feedback import build_nack
from rtp.rtcp.receiver_report import ReceiverReport
from rtp.sequence import SequenceUnwrapper
from service.address import Address

QUESTION = "Does a decoder notice when a viewer changes its bitrate, or its broadcast?"
FPS, FRAME_US, GOP_S = 25, 40_000, 2.0
WIDTH, HEIGHT = 320, 180
BITRATES_BPS = (900_000, 250_000)
FAST_BPS, SLOW_BPS = 4_000_000, 800_000
PAYLOAD_BYTES = 1_100
LOST_EVERY = 50
NACK_AFTER_US = 30_000
JITTER_US = 45_000
"""What may be added to a frame: a key frame's time on the slow link."""
ASKING_US = NACK_AFTER_US + FRAME_US
"""And to one that lacks a packet: until it is asked for, which is done with each frame."""
DURATION_S = 34
EVENTS = ((6.3, "slow"), (13.1, "fast"), (20.0, "two"), (26.5, "one"))


@dataclass
class Player:
    """What arrives at the viewer; it asks again for what got lost."""

    packets: dict[int, tuple[int, RtpPacket]] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)  # number -> when to ask
    asked: int = 0
    count: int = 0
    ssrc: int = 0
    unwrapper: SequenceUnwrapper = field(default_factory=SequenceUnwrapper)
    new: list[tuple[int, int]] = field(default_factory=list)

    def on_sent(self, now_us: int, to: Address, data: bytes) -> None:
        """RTP of the video."""
        if to[1] != 6004:
            return
        packet = RtpPacket.parse(data)
        number = self.unwrapper.unwrap(packet.sequence_number)
        self.ssrc = packet.ssrc
        if number not in self.lost and number not in self.packets:
            self.count += 1
            if self.count % LOST_EVERY == 0:
                self.lost[number] = now_us + NACK_AFTER_US
                return
        if number in self.lost:
            del self.lost[number]
        self.packets.setdefault(number, (now_us, packet))

    def nacks(self, now_us: int) -> list[bytes]:
        """RTCP for what is due."""
        due = [number & 0xFFFF for number, at_us in self.lost.items() if now_us >= at_us]
        for number in [n for n, at_us in self.lost.items() if now_us >= at_us]:
            self.lost[number] = now_us + 100_000
        self.asked += len(due)
        if not due:
            return []
        feedback = build_nack(0x77, self.ssrc, due).build()
        return [serialise_compound([ReceiverReport(0x77).build(), feedback])]


def encode(bitrate_bps: int, seed: int) -> list[VideoUnit]:
    """All access units of one broadcast at one bitrate."""
    encoder = H264Encoder(
        VideoSettings(WIDTH, HEIGHT, FPS, bitrate_bps, GOP_S, 0, "ultrafast", True)
    )
    source = PatternSource(WIDTH, HEIGHT, FPS, seed, has_audio=False)
    units: list[VideoUnit] = []
    for item in source.items():
        if isinstance(item, RawVideo):
            units += encoder.encode(item, 0)
        if len(units) >= DURATION_S * FPS:
            return units
    raise AssertionError("the pattern has no end")


def rtp(unit: VideoUnit, number: int, ssrc: int) -> list[bytes]:
    """One access unit's packets, from this number on."""
    payloads = packetize(unit.nals, PAYLOAD_BYTES)
    return [
        RtpPacket(
            96,
            (number + place) & 0xFFFF,
            (unit.ticks + (ssrc << 24)) & 0xFFFFFFFF,
            ssrc,
            payload,
            marker=place == len(payloads) - 1,
        ).serialise()
        for place, payload in enumerate(payloads)
    ]


def play() -> tuple[Player, Show, dict[str, list[VideoUnit]]]:
    """The whole show: what the viewer got, and what the encoders made."""
    player = Player()
    ingests = [ingest("one", 5000, BITRATES_BPS), ingest("two", 5100, BITRATES_BPS[:1])]
    show = Show(ingests, player.on_sent)
    show.run_until(show.now_us + 500_000)
    sources = {
        "one": encode(BITRATES_BPS[0], 1),
        version_name("one", 1): encode(BITRATES_BPS[1], 1),
        "two": encode(BITRATES_BPS[0], 2)[FPS // 3 :],
    }
    numbers = dict.fromkeys(sources, 65_000)
    viewer = show.add_viewer(0, "one")
    show.run_until(show.now_us + 200_000)
    assert viewer.link is not None
    show.edge.engine.set_link_rate(viewer.link, FAST_BPS)
    begin_us, events = show.now_us, list(EVENTS)
    for frame in range((DURATION_S - 1) * FPS):
        at_us = begin_us + frame * FRAME_US
        show.run_until(at_us)
        while events and at_us >= begin_us + events[0][0] * 1_000_000:
            _, what = events.pop(0)
            if what in ("slow", "fast"):
                rate_bps = SLOW_BPS if what == "slow" else FAST_BPS
                show.edge.engine.set_link_rate(viewer.link, rate_bps)
            else:
                show.edge.switch_viewer(viewer, what, show.now_us)
        for ssrc, (name, units) in enumerate(sources.items(), 1):
            packets = rtp(units[frame], numbers[name], ssrc)
            numbers[name] += len(packets)
            show.encode(name, "video", packets)
        show.from_viewer(0, player.nacks(show.now_us))
    show.run_until(show.now_us + 500_000)
    for _ in range(4):
        show.from_viewer(0, player.nacks(show.now_us))
        show.run_until(show.now_us + 150_000)
    return player, show, sources


def decoded(decoder: H264Decoder, units: Iterable[list[bytes]]) -> Iterator[tuple[str, str]]:
    """Of each access unit: its own hash, and that of the picture the decoder shows for it."""
    for nals in units:
        before = decoder.frames
        decoder.decode(nals)
        picture = ""
        if decoder.frames == before + 1 and decoder.last is not None:
            picture = blake2b(decoder.last.to_ndarray().tobytes(), digest_size=16).hexdigest()
        yield access_unit_hash(nals), picture


def judge(player: Player, show: Show, sources: dict[str, list[VideoUnit]]) -> dict[str, Any]:
    """Put together, decode, and measure."""
    reassembler, decoder = VideoReassembler(), H264Decoder()
    expected: dict[str, str] = {}
    for made in sources.values():
        expected.update(decoded(H264Decoder(), (unit.nals for unit in made)))
    units = []
    for number in sorted(player.packets):
        at_us, packet = player.packets[number]
        units += reassembler.receive(packet, number, at_us)
    units.sort(key=lambda unit: unit.first)
    shown = list(decoded(decoder, (unit.nals for unit in units)))
    wrong = sum(not picture or expected.get(unit) != picture for unit, picture in shown)
    decoder.flush()
    times = SequenceUnwrapper(32)
    stamps = [times.unwrap(unit.rtp_time) for unit in units]
    steps_ms = [(b - a) / 90 for a, b in itertools.pairwise(stamps)]
    whole = list(itertools.accumulate((unit.completed_us for unit in units), max))
    waits_ms = [(b - a) / 1_000 for a, b in itertools.pairwise(whole)]
    first, last = min(player.packets), max(player.packets)
    changes = [
        {"at_s": round(at_us / 1e6, 3), "to": getattr(event, "version", None) or event.stream}
        for at_us, event in show.events
        if isinstance(event, VersionChanged | ViewerSwitched)
    ]
    step_ms = (FRAME_US + JITTER_US) / 1_000
    wait_ms = (FRAME_US + JITTER_US + ASKING_US) / 1_000
    result = {
        "changes": changes,
        "packets": len(player.packets),
        "packets_missing": last - first + 1 - len(player.packets),
        "asked_again": player.asked,
        "access_units": len(units),
        "access_units_broken": len(reassembler.records) - len(units),
        "frames_decoded": decoder.frames,
        "decode_errors": decoder.errors,
        "pictures_wrong": wrong,
        "longest_step_of_rtp_time_ms": round(max(steps_ms), 3),
        "shortest_step_of_rtp_time_ms": round(min(steps_ms), 3),
        "longest_wait_for_a_whole_frame_ms": round(max(waits_ms), 3),
    }
    holds = (
        len(changes) == 4
        and decoder.errors == wrong == 0
        and decoder.frames == len(units) == len(reassembler.records)
        and result["packets_missing"] == 0
        and max(steps_ms) <= step_ms
        and min(steps_ms) > 0
        and max(waits_ms) <= wait_ms
    )
    return {**result, "allowed_ms": {"step": step_ms, "wait": wait_ms}, "holds": holds}


def main(
    pretty: Annotated[bool, typer.Option(help="Indent the JSON.")] = True,
) -> None:
    """Does a decoder notice when a viewer changes its bitrate, or its broadcast?"""
    result = {"question": QUESTION, "environment": environment(), **judge(*play())}
    print(json.dumps(result, indent=1 if pretty else None))  # noqa: T201  what it is for
    if not result["holds"]:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
