"""A viewer behind a path of its own: what it is sent waits at a bottleneck, and it says by RTCP
what came when, and asks for what did not.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from lab.link import LinkConfig, LinkModel
from rtp.payload.rtp_header import looks_like_rtcp
from rtp.rtcp.compound import RtcpPacket, serialise_compound
from rtp.rtcp.feedback import build_nack
from rtp.rtcp.receiver_report import ReceiverReport, ReportBlock
from rtp.rtcp.sender_report import parse_sender_reports
from rtp.rtcp.transport_feedback import TransportFeedback, build_transport_feedback

TRANSPORT_CC_ID, RTX_TYPE = 3, 97
SPEAKS_US = 50_000  # libwebrtc's shortest interval (remote_estimator_proxy)
REPORT_US = 1_000_000
RETRY_US, MAX_TRIES = 100_000, 10  # libwebrtc nack_requester.cc
OWN_SSRC = 0x77
JUMP = 1 << 15


@dataclass(slots=True)
class _Heard:
    """Of one media SSRC. Numbers are unwrapped."""

    first: int
    highest: int
    missing: dict[int, tuple[int, int]] = field(default_factory=dict)  # when to ask, how often
    received: int = 0
    told: tuple[int, int] = (0, 0)  # expected and received, in the report before
    last_sr: tuple[int, int] = (0, 0)  # its middle 32 bits, and when it came


def _unwrapped(near: int, number: int) -> int:
    return near + (number - near + JUMP) % (2 * JUMP) - JUMP


def _transport_number(data: bytes) -> int | None:
    """Of the one extension that it asks for."""
    if not data[0] & 0x10 or data[16] != TRANSPORT_CC_ID << 4 | 1:
        return None
    return int.from_bytes(data[17:19])


class PathViewer:
    """say: takes its RTCP. back_us: that takes so long. reports: of receivers, each second;
    packets: transport-wide feedback, each 50 ms."""

    def __init__(
        self,
        path: LinkConfig,
        say: Callable[[bytes], None],
        *,
        seed: int,
        back_us: int,
        reports: bool = True,
        packets: bool = True,
    ) -> None:
        self.queue_us = 0
        """The longest wait at the bottleneck."""
        self.came: dict[int, set[int]] = {}
        """By SSRC: the RTP numbers that came, unwrapped; what was sent again counts where it was
        sent first, as far as that can be told without RTX."""
        self._path = LinkModel(path, Random(seed), Random(seed + 1))
        self._say = say
        self._back_us = back_us
        self._reports, self._packets = reports, packets
        self._on_way: deque[tuple[int, bytes]] = deque()
        self._heard: dict[int, _Heard] = {}
        self._arrivals: dict[int, int] = {}  # by transport number, not told yet
        self._next_number: int | None = None
        self._report_us = 0

    def send(self, data: bytes, now_us: int) -> None:
        """To it, into its path."""
        for arrival_us in self._path.admit(len(data), now_us):
            wait_us = arrival_us - now_us - self._path.config.delay_us
            self.queue_us = max(self.queue_us, wait_us)
            self._on_way.append((arrival_us, data))

    def speak(self, now_us: int) -> None:
        """Of all that had come when what it says now left it."""
        then_us = now_us - self._back_us
        while self._on_way and self._on_way[0][0] <= then_us:
            self._hear(*self._on_way.popleft())
        said: list[RtcpPacket] = []
        media = next(iter(self._heard), None)
        if self._packets and self._arrivals and media is not None:
            said.append(self._feedback(media))
        for ssrc, heard in self._heard.items():
            due = [n for n, (at_us, _) in heard.missing.items() if at_us <= then_us]
            for number in due:
                tries = heard.missing.pop(number)[1] + 1
                if tries < MAX_TRIES:
                    heard.missing[number] = then_us + RETRY_US, tries
            if due:
                said.append(build_nack(OWN_SSRC, ssrc, [n & 0xFFFF for n in due]).build())
        blocks: tuple[ReportBlock, ...] = ()
        if self._reports and then_us >= self._report_us:
            self._report_us = then_us + REPORT_US
            blocks = tuple(self._block(ssrc, heard, then_us) for ssrc, heard in self._heard.items())
        if said or blocks:
            self._say(serialise_compound([ReceiverReport(OWN_SSRC, blocks).build(), *said]))

    def _hear(self, at_us: int, data: bytes) -> None:
        if looks_like_rtcp(data):
            for report in parse_sender_reports(data):
                if report.ssrc in self._heard:
                    middle = report.ntp_timestamp >> 16 & 0xFFFFFFFF
                    self._heard[report.ssrc].last_sr = middle, at_us
            return
        number = _transport_number(data)
        if number is not None:
            if self._next_number is None:
                self._next_number = number
            self._arrivals[_unwrapped(self._next_number, number)] = at_us
        if data[1] & 0x7F != RTX_TYPE:
            self._note(int.from_bytes(data[8:12]), int.from_bytes(data[2:4]), at_us)
            return
        # Of the only video that there is: its original number follows the header (RFC 4588 4).
        original = int.from_bytes(data[20:22] if number is not None else data[12:14])
        for ssrc, heard in self._heard.items():
            if _unwrapped(heard.highest, original) in heard.missing:
                self._note(ssrc, original, at_us)
                return

    def _note(self, ssrc: int, number: int, at_us: int) -> None:
        heard = self._heard.setdefault(ssrc, _Heard(number, number - 1))
        extended = _unwrapped(heard.highest, number)
        came = self.came.setdefault(ssrc, set())
        heard.received += extended not in came
        came.add(extended)
        heard.missing.pop(extended, None)
        for lacking in range(heard.highest + 1, extended):
            heard.missing[lacking] = at_us, 0
        heard.highest = max(heard.highest, extended)

    def _feedback(self, media: int) -> RtcpPacket:
        """From the first number that was not told yet; what is overtaken is told as lost, once."""
        assert self._next_number is not None
        first = min(self._next_number, *self._arrivals)
        last = max(self._arrivals)
        times = tuple(self._arrivals.get(n) for n in range(first, last + 1))
        self._arrivals.clear()
        self._next_number = last + 1
        told = TransportFeedback(OWN_SSRC, media, first & 0xFFFF, 0, times)
        return build_transport_feedback(told).build()

    def _block(self, ssrc: int, heard: _Heard, now_us: int) -> ReportBlock:
        expected = heard.highest - heard.first + 1
        lost = expected - heard.told[0] - (heard.received - heard.told[1])
        share = 256 * lost // max(1, expected - heard.told[0])
        heard.told = expected, heard.received
        middle, came_us = heard.last_sr
        return ReportBlock(
            ssrc,
            min(255, max(0, share)),
            max(0, expected - heard.received),
            heard.highest & 0xFFFFFFFF,
            0,
            middle,
            (now_us - came_us) * 65_536 // 1_000_000 if middle else 0,
        )
