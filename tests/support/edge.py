"""One engine between encoders and viewers, in virtual time, and the RTCP of both."""

from __future__ import annotations

from dataclasses import dataclass

from fastpath import Codec, Engine, Media, PortKind
from fastpath.events import Event
from fastpath.rate import RateConfig, RateKind
from rtp.rtcp.compound import RtcpPacket, parse_compound, serialise_compound
from rtp.rtcp.feedback import Feedback, build_fir, build_nack, build_pli, is_pli
from rtp.rtcp.receiver_report import ReceiverReport, ReportBlock
from rtp.rtcp.sender_report import SenderReport, serialise_sender_report
from rtp.rtcp.source_description import parse_cnames
from tests.support.chain import key
from tests.support.peer import FEEDBACK, MEDIA, OVERHEAD_BYTES, PEER

Address = tuple[str, int]
ENCODER: Address = ("192.0.2.1", 4000)
ENCODER_RTCP: Address = ("192.0.2.1", 4001)
FAST_BPS = 10_000_000_000


@dataclass(frozen=True)
class Viewer:
    """A viewer's leg: where it goes and under which SSRC."""

    cursor: int
    link: int
    address: Address
    rtcp: Address
    ssrc: int


@dataclass(frozen=True)
class Leg:
    """One media packet to the neighbour."""

    stream_id: int
    stream_seq: int
    marks: int
    rtp: bytes


class Edge:
    """`port` takes RTP, `rtcp_port` its RTCP; viewers are served from `viewer_port`."""

    def __init__(self, **options: object) -> None:
        sizes: dict[str, object] = {
            "streams": 8,
            "cursors": 16,
            "node_links": 2,
            "viewer_links": 8,
            "ports": 8,
            "slab_bytes": 8 << 20,
        }
        self.engine = Engine(**(sizes | options))  # type: ignore[arg-type]
        self.now_us = 1_000_000
        self.port = self.engine.open_port(PortKind.INGEST)
        self.rtcp_port = self.engine.open_port(PortKind.INGEST_RTCP, rtp_port=self.port)
        self.viewer_port = self.engine.open_port(PortKind.VIEWER)
        self.sent: list[tuple[int, int, Address, bytes]] = []
        self.events: list[Event] = []
        self.streams: list[int] = []
        self._viewers = 0

    def add_track(
        self,
        payload_type: int = 96,
        codec: Codec = Codec.H264,
        *,
        stream_id: int = 0,
        first_seq: int = 1,
        clock_rate: int = 90_000,
        group: int = 0,
        port: int | None = None,
        parameter_sets: bytes = b"",
        rtcp_to: Address | None = None,
        deadline_us: int = 0,
        nack: bool = False,
        rtx_payload_type: int = 0,
        transport_cc_id: int = 0,
        dependency_id: int = 0,
    ) -> int:
        """A stream that comes in at `port` under this payload type."""
        stream = self.engine.add_stream(
            stream_id=stream_id or 0xC0FFEE00 + payload_type,
            media=Media.AUDIO if codec == Codec.OPUS else Media.VIDEO,
            first_stream_seq=first_seq,
            upstream=None,
            clock_rate=clock_rate,
            group=group,
            deadline_us=deadline_us,
        )
        self.engine.set_ingest(
            self.port if port is None else port,
            stream=stream,
            codec=codec,
            payload_type=payload_type,
            parameter_sets=parameter_sets,
            rtcp_to=rtcp_to,
            nack=nack,
            rtx_payload_type=rtx_payload_type,
            transport_cc_id=transport_cc_id,
            dependency_id=dependency_id,
        )
        self.streams.append(stream)
        return stream

    def add_viewer(
        self,
        stream: int,
        *,
        link: int | None = None,
        rate_bps: int = FAST_BPS,
        first_number: int = 65_530,
        has_rtcp: bool = True,
        host: str | None = None,
        cname: bytes = b"overlane-viewer0",
        rate_kind: RateKind | None = None,
        rate: RateConfig | None = None,
        transport_cc_id: int = 0,
        delay_id: int = 0,
        **options: int,
    ) -> Viewer:
        """One more viewer, each at its own host unless given."""
        self._viewers += 1
        host = host or f"198.51.100.{self._viewers}"
        address, rtcp = (host, 6000 + 2 * self._viewers), (host, 6001 + 2 * self._viewers)
        if link is None:
            link = self.engine.add_viewer_link(
                rate_bps=rate_bps, cname=cname, rate_kind=rate_kind, rate=rate
            )
        ssrc = 0xAB000000 + self._viewers
        cursor = self.engine.add_viewer_cursor(
            stream=stream,
            link=link,
            port=self.viewer_port,
            address=address,
            ssrc=ssrc,
            payload_type=100,
            first_sequence_number=first_number,
            rtcp_address=rtcp if has_rtcp else None,
            transport_cc_id=transport_cc_id,
            delay_id=delay_id,
            **options,
        )
        return Viewer(cursor, link, address, rtcp, ssrc)

    def add_neighbour(self, *streams: int) -> int:
        """PEER subscribes to the streams: what it gets shows their numbers and marks."""
        overlay = self.engine.open_port(PortKind.OVERLAY)
        link = self.engine.add_link(
            port=overlay, address=PEER, peer_node=2, hello_key=key("hello"), rate_bps=FAST_BPS
        )
        self.engine.offer_keys(link, receive_key=key("peer"), send_key=key("me"), send_now=True)
        for stream in streams:
            self.engine.add_cursor(stream=stream, link=link)
        return link

    def turn(self, *datagrams: tuple[int, Address, bytes], after_us: int = 0) -> None:
        """Hand over datagrams (port, source, data) after this much time."""
        self.now_us += after_us
        out = self.engine.turn(self.now_us, datagrams)
        self.sent += [(self.now_us, *transmit) for transmit in out]
        self.events += self.engine.events()

    def encode(
        self,
        *packets: bytes,
        after_us: int = 0,
        port: int | None = None,
        source: Address = ENCODER,
    ) -> None:
        """RTP, or RTCP beside it, of the encoder."""
        at = self.port if port is None else port
        self.turn(*[(at, source, packet) for packet in packets], after_us=after_us)

    def view(self, viewer: Viewer, *packets: bytes, after_us: int = 0, host: str = "") -> None:
        """RTCP of a viewer."""
        source = (host or viewer.rtcp[0], viewer.rtcp[1])
        self.turn(*[(self.viewer_port, source, packet) for packet in packets], after_us=after_us)

    def wait(self, duration_us: int) -> None:
        """Let time pass, turn by turn."""
        end_us = self.now_us + duration_us
        while (due_us := self.engine.next_timer_us()) is not None and due_us <= end_us:
            self.now_us = max(self.now_us, due_us)
            self.turn()
        self.now_us = end_us

    def media(self, viewer: Viewer) -> list[bytes]:
        """RTP that this viewer was sent."""
        return [data for _, _, to, data in self.sent if to == viewer.address]

    def reports(self, viewer: Viewer) -> list[tuple[int, SenderReport]]:
        """Sender reports to this viewer, each with when it left."""
        return [
            (time_us, SenderReport.parse(parse_compound(data)[0]))
            for time_us, _, to, data in self.sent
            if to == viewer.rtcp
        ]

    def cnames(self, viewer: Viewer) -> set[str]:
        """CNAMEs in its sender reports."""
        return {
            parse_cnames(parse_compound(data)[1])[viewer.ssrc]
            for _, _, to, data in self.sent
            if to == viewer.rtcp
        }

    def to_encoder(self, address: Address = ENCODER_RTCP) -> list[tuple[int, list[RtcpPacket]]]:
        """RTCP sent to the encoder, each compound with when it left."""
        return [
            (time_us, parse_compound(data)) for time_us, _, to, data in self.sent if to == address
        ]

    def legs(self) -> list[Leg]:
        """Media that the neighbour was sent."""
        return [
            Leg(
                int.from_bytes(data[8:12]),
                int.from_bytes(data[12:16]),
                data[4] & 31,
                data[OVERHEAD_BYTES:],
            )
            for _, _, to, data in self.sent
            if to == PEER and data[0] & 15 == MEDIA
        ]

    def feedback_to_neighbour(self) -> list[bytes]:
        """Payloads of feedback packets to it."""
        return [
            data[OVERHEAD_BYTES:]
            for _, _, to, data in self.sent
            if to == PEER and data[0] & 15 == FEEDBACK
        ]

    def counted(self) -> dict[str, int]:
        """Counters that are not 0."""
        return {name: n for name, n in self.engine.verdicts().items() if n}


def sender_report(ssrc: int, ntp: int, timestamp: int) -> bytes:
    """SR and SDES of an encoder."""
    wrapped = SenderReport(ssrc, ntp % (1 << 64), timestamp & 0xFFFFFFFF, 7, 700)
    return serialise_sender_report(wrapped, "encoder")


def receiver_report(block: ReportBlock, *, ssrc: int = 0x77) -> bytes:
    """A viewer's RR."""
    return serialise_compound([ReceiverReport(ssrc, (block,)).build()])


def _after_empty_report(feedback: Feedback) -> bytes:
    return serialise_compound([ReceiverReport(0x77).build(), feedback.build()])


def nack(media_ssrc: int, *numbers: int) -> bytes:
    """RR and generic NACK."""
    return _after_empty_report(build_nack(0x77, media_ssrc, [n & 0xFFFF for n in numbers]))


def pli(media_ssrc: int) -> bytes:
    """RR and PLI."""
    return _after_empty_report(build_pli(0x77, media_ssrc))


def fir(*media_ssrcs: int, command: int = 1) -> bytes:
    """RR and FIR."""
    return _after_empty_report(build_fir(0x77, [(ssrc, command) for ssrc in media_ssrcs]))


def plis_in(packets: list[RtcpPacket]) -> list[Feedback]:
    """The PLIs of one compound."""
    found = [Feedback.parse(packet) for packet in packets if packet.packet_type in (205, 206)]
    return [feedback for feedback in found if is_pli(feedback)]


def block_in(packets: list[RtcpPacket]) -> ReportBlock | None:
    """The report block of a compound that begins with an RR."""
    blocks = ReceiverReport.parse(packets[0]).blocks
    return blocks[0] if blocks else None
