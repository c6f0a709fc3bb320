"""A recording played into a chain of engines, with all its tracks, ports and reports."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from fastpath import Media, PortKind
from lab.link import LinkConfig
from relay.stream import CODECS
from rtp.constants import RTCP_SENDER_REPORT
from rtp.payload.parameter_sets import payload_of_sets
from rtp.rtcp.compound import RtcpPacket, parse_compound, serialise_compound
from rtp.rtcp.sender_report import SenderReport, parse_sender_reports
from rtp.sdp import parse
from tests.support.chain import ENCODER, VIEWER, Chain
from tests.support.recordings import Datagram, Recording, Track

CLOCK_RATES = {codec: 48_000 if codec == "opus" else 90_000 for codec in CODECS}
START_US = 2_000_000
AFTER_US = 2_000_000  # longer than any repair takes
FIRST_VIEWER_PORT = 6100


@dataclass(frozen=True, slots=True)
class Played:
    """What one track's viewer got, in order of arrival, and what the encoder had sent for it."""

    track: Track
    sent: list[bytes]
    packets: list[bytes]
    reports: list[SenderReport]


class Wraps:
    """Renumbers a recording so that each source's two numbers wrap in its middle.

    Reports are moved with their media. The recording begins at random numbers anyway.
    """

    def __init__(self, recording: Recording) -> None:
        self._middles: dict[int, tuple[int, int]] = {}
        for track in recording.tracks:
            arrived = recording.rtp(track)
            number, timestamp, ssrc = _numbers(arrived[len(arrived) // 2].data)
            self._middles[ssrc] = (number, timestamp)

    def rtp(self, data: bytes) -> bytes:
        number, timestamp, ssrc = _numbers(data)
        at_number, at_timestamp = self._middles[ssrc]
        moved = ((number - at_number) & 0xFFFF, (timestamp - at_timestamp) & 0xFFFFFFFF)
        return data[:2] + struct.pack(">HI", *moved) + data[8:]

    def rtcp(self, data: bytes) -> bytes:
        return serialise_compound([self._report(packet) for packet in parse_compound(data)])

    def _report(self, packet: RtcpPacket) -> RtcpPacket:
        if packet.packet_type != RTCP_SENDER_REPORT:
            return packet
        _, at_timestamp = self._middles[int.from_bytes(packet.body[:4])]
        timestamp = (int.from_bytes(packet.body[12:16]) - at_timestamp) & 0xFFFFFFFF
        body = packet.body[:12] + timestamp.to_bytes(4) + packet.body[16:]
        return RtcpPacket(packet.packet_type, packet.count, body)


class RecordedChain:
    """Engines in a row in virtual time, one viewer of every track at the last."""

    def __init__(self, recording: Recording, links: list[LinkConfig], *, seed: int) -> None:
        self.recording = recording
        self.chain = Chain(links, seed=seed)
        self._wraps = Wraps(recording)
        self._ports = self._open_ports()
        last = self.chain.nodes[-1].engine
        link = last.add_viewer_link(rate_bps=20_000_000)
        for index, track in enumerate(recording.tracks):
            last.add_viewer_cursor(
                stream=self._add_track(index, track),
                link=link,
                port=self.chain.viewer_port,
                address=(VIEWER[0], FIRST_VIEWER_PORT + 2 * index),
                ssrc=0xABCD00 + index,
                payload_type=track.payload_type,
                first_sequence_number=65_530,
                rtcp_address=(VIEWER[0], FIRST_VIEWER_PORT + 2 * index + 1),
            )

    def play(self) -> list[Played]:
        """The whole recording, and what came of it, track by track."""
        sent: dict[tuple[int, int], list[bytes]] = {}
        began_us = self.recording.datagrams[0].time_us
        for datagram in self.recording.datagrams:
            self.chain.run(max(0, START_US + datagram.time_us - began_us - self.chain.now_us))
            data = self._moved(datagram)
            if not datagram.is_rtcp:
                sent.setdefault((datagram.port, data[1] & 0x7F), []).append(data)
            source = (ENCODER[0], datagram.source_port)
            self.chain.encode(data, port=self._ports[datagram.port], source=source)
        self.chain.run(AFTER_US)
        return [
            Played(
                track,
                sent[track.port, track.payload_type],
                self._came(FIRST_VIEWER_PORT + 2 * index),
                [
                    report
                    for data in self._came(FIRST_VIEWER_PORT + 2 * index + 1)
                    for report in parse_sender_reports(data)
                ],
            )
            for index, track in enumerate(self.recording.tracks)
        ]

    def _open_ports(self) -> dict[int, int]:
        """From UDP ports of the recording to the first engine's; reports come to the next one."""
        first = self.chain.nodes[0].engine
        ports = {}
        for port in sorted({track.port for track in self.recording.tracks}):
            ports[port] = first.open_port(PortKind.INGEST)
            ports[port + 1] = first.open_port(PortKind.INGEST_RTCP, rtp_port=ports[port])
        return ports

    def _add_track(self, index: int, track: Track) -> int:
        """Its stream at the last node."""
        stream = -1
        for place, node in enumerate(self.chain.nodes):
            stream = node.engine.add_stream(
                stream_id=0xBEEF + index,
                media=Media.AUDIO if track.codec == "opus" else Media.VIDEO,
                first_stream_seq=1,
                upstream=node.links.get("up"),
                clock_rate=CLOCK_RATES[track.codec],
                group=1,
            )
            if place == 0:
                node.engine.set_ingest(
                    self._ports[track.port],
                    stream=stream,
                    codec=CODECS[track.codec],
                    payload_type=track.payload_type,
                    parameter_sets=parameter_sets_of(self.recording, track),
                )
            if "down" in node.links:
                node.engine.add_cursor(stream=stream, link=node.links["down"])
        return stream

    def _moved(self, datagram: Datagram) -> bytes:
        move = self._wraps.rtcp if datagram.is_rtcp else self._wraps.rtp
        return move(datagram.data)

    def _came(self, port: int) -> list[bytes]:
        return [data for _, at, data in self.chain.viewer_host if at == port]


def parameter_sets_of(recording: Recording, track: Track) -> bytes:
    """What the client's SDP says of them, as one payload; b"" if it says nothing."""
    if not recording.sdp:
        return b""
    media = {medium.port: medium for medium in parse(recording.sdp).media}
    return payload_of_sets(track.codec, media[track.port].formats[0].parameters)


def _numbers(data: bytes) -> tuple[int, int, int]:
    """Sequence number, timestamp and SSRC."""
    number, timestamp, ssrc = struct.unpack_from(">HII", data, 2)
    return number, timestamp, ssrc
