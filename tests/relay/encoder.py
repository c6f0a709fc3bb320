"""An encoder in virtual time."""

from __future__ import annotations

import struct
from random import Random

from tests.relay.overlay import Overlay

FRAME_US = 20_000
GOP_FRAMES = 25


class Encoder:
    """One H.264 slice per frame and one Opus packet, each 20 ms; sequence numbers wrap at once."""

    def __init__(self, overlay: Overlay, node: str, ssrc: int = 0x1234) -> None:
        self._overlay = overlay
        self._node = node
        self._ssrc = ssrc
        self.frame = 0

    def run_for(self, duration_us: int) -> None:
        end_us = self._overlay.now_us + duration_us
        while self._overlay.now_us < end_us:
            self.send_frame()
            self._overlay.run_for(FRAME_US)

    def send_frame(self) -> None:
        """One, without letting time pass."""
        self._send("video", 96, 1800, b"\x65\x88" if self.frame % GOP_FRAMES == 0 else b"\x41\x9a")
        self._send("audio", 111, 960, b"\x78")
        self.frame += 1

    def _send(self, media: str, payload_type: int, ticks: int, head: bytes) -> None:
        number = (65_530 + self.frame) & 0xFFFF
        timestamp = self.frame * ticks & 0xFFFFFFFF
        header = struct.pack(">BBHII", 0x80, 0x80 | payload_type, number, timestamp, self._ssrc)
        body = Random(self.frame).randbytes(300)
        self._overlay.ingest(self._node, media, header + head + body)
