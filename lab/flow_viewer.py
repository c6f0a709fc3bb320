"""A viewer inside the lab's own process: it notes when each packet came, and judges frames later.

It does not decode unless it is asked for a picture, so it costs little beside nodes and an encoder.
It stays subscribed whatever happens to its node, and asks again as soon as a new process answers.
"""

from __future__ import annotations

import asyncio
import itertools
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from lab.decoding import Decoding
from lab.realtime.talk import NO_WISHES, Talk, Wishes
from lab.scenario.report import SETTLED_US, Range
from lab.timer_fd import now_us
from overlane.play.admission import Source
from overlane.play.errors import PlayError
from overlane.play.node_api import NodeApi
from overlane.play.receiver import Receiver
from overlane.play.report import AudioReport
from overlane.play.sequence_log import SequenceLog
from overlane.play.sink import SinkResult
from overlane.play.summary import judge_audio
from overlane.play.tracks import AudioTrack, VideoTrack
from overlane.play.verdict import Verdict, judge
from overlane.publish.manifest import Manifest
from rtp.constants import TIMESTAMP_BITS
from rtp.packet import RtpPacket
from rtp.payload.rtp_header import looks_like_rtcp
from rtp.sequence import difference
from service.address import Address, format_address, parse_address

Reach: TypeAlias = Callable[[str, Address], Awaitable[Address]]
POLL_S = 0.1  # chosen: how soon a viewer notices that its node has forgotten it
WAIT_S = 30.0  # for a stream: longer than any restart
TAIL_US = 10_000_000  # longer than any path: all that a part ends with was due
RTX_OSN_BYTES = 2  # RFC 4588 4: the original's number, before its payload


@dataclass(frozen=True, slots=True)
class Arrival:
    """A video packet. number: RTP sequence number, of the media if it came as RTX."""

    time_us: int
    ssrc: int
    number: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time without video: from the last packet before to the first after it."""

    from_us: int
    to_us: int

    @property
    def length_us(self) -> int:
        return self.to_us - self.from_us


@dataclass(frozen=True, slots=True)
class Part:
    """Of a stay: what it was sent by one encoder. source: which of those that were asked about."""

    source: int
    from_us: int
    verdict: Verdict


class FlowViewer:
    """Subscribed while the context lasts. Enter it inside the loop that runs it."""

    def __init__(
        self,
        node_url: str,
        stream: str,
        *,
        audio: bool = True,
        poll_s: float = POLL_S,
        picture: Path | None = None,
        decode: bool = False,
        reach: Reach | None = None,
        wishes: Wishes = NO_WISHES,
    ) -> None:
        """poll_s: how often it asks whether its node still knows it. picture: a PNG of the last
        frame; all frames are decoded for it, in a thread. decode: they are without it. reach: tells
        where a node must send what is for an address of a medium; None: there."""
        self.arrivals: list[Arrival] = []
        self.subscriptions = 0
        self.frames_whole = 0
        self.state = ""
        """As the node said last; "" until it has answered."""
        self.path: list[str] = []
        """From the producer to the node, likewise."""
        self.refusal: str | None = None
        """Why the node's last answer was no."""
        self.target_bps = Range()
        """What its node's rate controller gave, from `SETTLED_US` after it joined on."""
        self.rtx_packets = 0
        self.rtx_repaired = 0
        """Of those: stood for a packet that had not come."""
        self._wishes = wishes
        self._api = NodeApi(node_url, stream, wishes.request)
        self._medias = ("video", "audio") if audio else ("video",)
        self._poll_s = poll_s
        self._reach = reach
        self._video, self._audio = VideoTrack(), AudioTrack()
        self._numbers: dict[int, SequenceLog] = {}
        self.decoded: SinkResult | None = None
        """What became of `picture`; after the context."""
        self._decoding = Decoding(picture) if picture is not None or decode else None
        self._first_key_us: int | None = None
        self._viewer = ""

    async def __aenter__(self) -> Self:
        listeners = {"video": self._on_video, "audio": self._on_audio}
        self._receivers = {m: Receiver("127.0.0.1", listeners[m]) for m in self._medias}
        self._talk = Talk(self._wishes, self._receivers)
        self.joined_us = now_us()
        self.left_us: int | None = None
        self._task = asyncio.create_task(self._stay())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.left_us = now_us()
        self._task.cancel()
        self._talk.end()
        await asyncio.gather(self._task, return_exceptions=True)
        if self._viewer:
            await self._api.leave(self._viewer)
        await self._api.__aexit__(None, None, None)
        for receiver in self._receivers.values():
            receiver.close()
        if self._decoding is not None:
            self.decoded = await self._decoding.finish()

    async def switch(self, stream: str) -> None:
        """Go on with another broadcast, once its node has that. Raises PlayError."""
        await self._api.switch(self._viewer, stream)

    @property
    def until_us(self) -> int:
        """When it left, or now."""
        return now_us() if self.left_us is None else self.left_us

    @property
    def first_frame_us(self) -> int | None:
        """When the first key frame was whole."""
        return self._first_key_us

    def judge_audio(self, manifest: Manifest) -> AudioReport:
        """Of all packets sent so far."""
        return judge_audio(self._audio, manifest, self.until_us)

    def longest_gap(self, from_us: int, to_us: int) -> Gap:
        """Among those that end in this time; one that is still open counts as ending with it."""
        first = max(0, bisect_left(self.arrivals, from_us, key=lambda one: one.time_us) - 1)
        times = [one.time_us for one in self.arrivals[first:] if one.time_us <= to_us]
        gaps = [Gap(a, b) for a, b in itertools.pairwise((*times, to_us)) if b >= from_us]
        return max(gaps, key=lambda gap: gap.length_us, default=Gap(from_us, to_us))

    def silences(self, longer_us: int, to_us: int) -> int:
        """How many times without video are longer."""
        times = [one.time_us for one in self.arrivals if one.time_us <= to_us]
        end_us = min(to_us, self.until_us)
        return sum(b - a > longer_us for a, b in itertools.pairwise((*times, end_us)))

    @property
    def audio_received(self) -> int:
        """Packets, each once."""
        return self._audio.packets_received

    @property
    def audio_missing(self) -> int:
        """RTP sequence numbers left out, whoever sent them."""
        return self._audio.packets_lost

    def missing(self) -> int:
        """RTP sequence numbers left out between the first and the last of each SSRC."""
        logs: dict[int, SequenceLog] = {}
        for each in self.arrivals:
            logs.setdefault(each.ssrc, SequenceLog()).add(each.number)
        return sum(log.lost for log in logs.values())

    def judge(self, manifest: Manifest, from_us: int, to_us: int) -> Verdict:
        """Frames sent in this time. to_us: early enough that the last could have arrived.

        They are found by content: RTP times are the encoder's only until a producer that starts
        anew makes the node continue them.
        """
        sent = [frame for frame in manifest.frames if from_us <= frame.sent_us < to_us]
        records = self._video.records()
        whole = {record.hash: record for record in records.values() if record.hash}
        found = {
            frame.rtp_time: record
            for frame in sent
            if (record := whole.get(frame.hash) or records.get(frame.rtp_time))
        }
        return judge(sent, found, self._video.first_arrival_us, self.until_us)

    def judge_parts(self, manifests: Sequence[Manifest], to_us: int) -> list[Part]:
        """Of what it was sent by several encoders, one after the other. A part lasts from its first
        whole frame to its last; the last part until to_us, see `judge`."""
        places = {
            frame.hash: (number, place)
            for number, manifest in enumerate(manifests)
            for place, frame in enumerate(manifest.frames)
        }
        whole = [each for each in self._video.records().values() if each.hash in places]
        if not whole:
            return []
        origin = whole[0].rtp_time
        whole.sort(key=lambda each: difference(each.rtp_time, origin, TIMESTAMP_BITS))
        found = []
        of_whole = [(*places[each.hash or ""], each) for each in whole]
        parts = [
            (number, [(place, each) for _, place, each in run])
            for number, run in itertools.groupby(of_whole, key=lambda one: one[0])
        ]
        for number, run in parts:
            is_last = run is parts[-1][1]
            frames = manifests[number].frames
            first, last = min(place for place, _ in run), max(place for place, _ in run)
            sent = frames[first:] if is_last else frames[first : last + 1]
            got = {frames[place].rtp_time: each for place, each in run}
            verdict = judge(
                [frame for frame in sent if frame.sent_us < to_us],
                got,
                self._video.first_arrival_us,
                self.until_us if is_last else to_us + TAIL_US,
            )
            found.append(Part(number, run[0][1].first_arrival_us, verdict))
        return found

    async def _stay(self) -> None:
        addresses = {media: receiver.address for media, receiver in self._receivers.items()}
        if self._reach is not None:
            for media, text in addresses.items():
                reached = await self._reach(media, parse_address(text))
                addresses[media] = format_address(reached)
        while True:
            try:
                granted = await self._api.subscribe(addresses, WAIT_S)
            except PlayError as error:
                self.refusal = str(error)
                await asyncio.sleep(POLL_S)
                continue
            self._viewer = granted.viewer
            self.refusal, self.state, self.path = None, granted.state, granted.path
            self.subscriptions += 1
            # A node tells nobody that it has forgotten.
            while await self._is_known(granted.viewer):  # noqa: ASYNC110
                await asyncio.sleep(self._poll_s)

    async def _is_known(self, viewer: str) -> bool:
        """A node that does not answer may only be slow; one that says no has forgotten."""
        try:
            answer = await self._api.refresh(viewer)
        except PlayError:
            return True
        if answer is None:
            return False
        self.state, self.path = answer.state, answer.path or self.path
        if answer.rate is not None and now_us() - self.joined_us >= SETTLED_US:
            self.target_bps = self.target_bps.with_value(answer.rate.target_bps)
        return True

    def _on_video(self, data: bytes, arrival_us: int, source: Source) -> None:
        self._talk.on_datagram("video", data, arrival_us, source)
        if looks_like_rtcp(data):
            return
        packet = RtpPacket.parse(data)
        is_again = packet.payload_type == self._wishes.speech.rtx_payload_type
        if is_again:
            self.rtx_packets += 1
            original = self._original_of(packet)
            if original is None:
                return
            packet = original
        is_new = self._numbers.setdefault(packet.ssrc, SequenceLog()).add(packet.sequence_number)
        if is_again and is_new is None:
            return
        self.rtx_repaired += is_again
        self.arrivals.append(
            Arrival(arrival_us, packet.ssrc, packet.sequence_number, packet.timestamp)
        )
        if is_new is not None:
            self._talk.on_new("video", packet, is_again, arrival_us)
        for unit in self._video.receive(packet, arrival_us):
            self.frames_whole += 1
            if unit.key and self._first_key_us is None:
                self._first_key_us = unit.completed_us
            if self._decoding is not None:
                self._decoding.put(unit)

    def _original_of(self, packet: RtpPacket) -> RtpPacket | None:
        """What an RTX packet stands for (RFC 4588 4): of the media that came last, whose number is
        its payload's beginning. None: it is padding, or nothing came yet."""
        if len(packet.payload) < RTX_OSN_BYTES or not self.arrivals:
            return None
        number = int.from_bytes(packet.payload[:RTX_OSN_BYTES])
        payload = packet.payload[RTX_OSN_BYTES:]
        ssrc = self.arrivals[-1].ssrc
        return replace(packet, ssrc=ssrc, sequence_number=number, payload=payload)

    def _on_audio(self, data: bytes, arrival_us: int, source: Source) -> None:
        self._talk.on_datagram("audio", data, arrival_us, source)
        if not looks_like_rtcp(data):
            packet = RtpPacket.parse(data)
            if self._audio.receive(packet, arrival_us) is not None:
                self._talk.on_new("audio", packet, False, arrival_us)
