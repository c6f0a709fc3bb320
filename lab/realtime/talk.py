"""What a viewer of real time asks of its node, and when it says what its `Voice` has to say."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from lab.realtime.voice import Voice
from lab.scenario.feedback import NO_SPEECH, Speech
from lab.timer_fd import now_us
from lab.virtual.world import TRANSPORT_CC_ID
from overlane.play.admission import Source
from overlane.play.receiver import Receiver
from rtp.packet import RtpPacket
from rtp.payload.rtp_header import looks_like_rtcp


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a viewer asks of its node. seed: of what it draws when it speaks."""

    speech: Speech = NO_SPEECH
    premium: bool = False
    seed: int = 0

    @property
    def request(self) -> dict[str, object]:
        """RTCP goes where RTP does, so that both cross one access path."""
        found: dict[str, object] = {"rtcp": "mux" if self.speech.feedback else "none"}
        if self.premium:
            found["premium"] = True
        if self.speech.rtx_payload_type is not None:
            found["rtx_payload_type"] = self.speech.rtx_payload_type
        if self.speech.tells_arrivals:
            found["transport_cc_id"] = TRANSPORT_CC_ID
        return found


NO_WISHES = Wishes()


class Talk:
    """Of one stay at a node. receivers: by medium; RTCP leaves where RTP comes to."""

    def __init__(self, wishes: Wishes, receivers: Mapping[str, Receiver]) -> None:
        flags = wishes.speech.flags
        self._voice = Voice(flags, wishes.seed) if flags else None
        self._receivers = receivers
        self._sources: dict[str, Source] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due_us = 0

    def on_datagram(self, media: str, data: bytes, arrival_us: int, source: Source) -> None:
        """All that comes to a medium's port."""
        if self._voice is None:
            return
        self._sources[media] = source
        if looks_like_rtcp(data):
            self._voice.on_rtcp(media == "video", data, arrival_us)
        else:
            self._voice.on_packet(data, arrival_us)
        self._arm()

    def on_new(self, media: str, packet: RtpPacket, is_again: bool, arrival_us: int) -> None:
        """It did not come before; under the media's number, also if it came as RTX."""
        if self._voice is not None:
            self._voice.on_new(media == "video", is_again, packet.serialise(), arrival_us)
            self._arm()

    def end(self) -> None:
        """Nothing more is said."""
        self._voice = None
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        due_us = self._voice.next_us() if self._voice is not None else None
        if due_us is None or (self._timer is not None and self._due_us <= due_us):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_us = due_us
        self._timer = self._loop.call_later(max(0, due_us - now_us()) / 1e6, self._speak)

    def _speak(self) -> None:
        self._timer = None
        if self._voice is None:
            return
        for is_video, data in self._voice.say(now_us()):
            media = "video" if is_video or "audio" not in self._sources else "audio"
            if media in self._sources:
                self._receivers[media].send(data, self._sources[media])
        self._arm()
