"""A link in front of a rate controller, frame by frame, without a flow's encoder, pacer or queue
limit."""

from __future__ import annotations

from fastpath.rate import Controller, PacketResult

PACKET_BYTES = 1200


class FrameLink:
    """Frames of the target rate, their packets sent at one time over a link of a capacity; the
    report of each comes with its last packet. As libwebrtc's RtpStream of its delay-based tests."""

    def __init__(
        self,
        controller: Controller,
        *,
        capacity_bps: int,
        fps: int = 30,
        now_us: int = 1_000_000,
        clock_offset_us: int = 60_000_000,
    ) -> None:
        self.controller = controller
        self.capacity_bps = capacity_bps
        self.now_us = now_us
        self.clock_offset_us = clock_offset_us
        self._frame_us = 1_000_000 // fps
        self._free_us = now_us

    def frame(self, bps: int | None = None) -> None:
        """One frame; the time goes on by a frame's interval."""
        size = (bps or self.controller.target_bps) * self._frame_us // 8_000_000
        packets = max(round(size / PACKET_BYTES), 1)
        results = []
        for _ in range(packets):
            self.controller.on_sent(size // packets, self.now_us)
            self._free_us = max(self._free_us, self.now_us) + (
                size // packets * 8_000_000 // self.capacity_bps
            )
            results.append(
                PacketResult(self.now_us, self._free_us + self.clock_offset_us, size // packets)
            )
        told_us = max(self._free_us, self.now_us)
        self.controller.on_feedback(results, 0, told_us)
        self.now_us += self._frame_us


def feed_groups(
    controller: Controller,
    count: int,
    *,
    sent_every_us: int,
    arrived_every_us: int,
    sent_us: int = 1_000_000,
    arrival_us: int = 90_000_000,
    size: int = PACKET_BYTES,
) -> tuple[int, int]:
    """One packet per group and feedback; the times that the next would have."""
    for _ in range(count):
        controller.on_sent(size, sent_us)
        controller.on_feedback([PacketResult(sent_us, arrival_us, size)], 0, sent_us + 50_000)
        sent_us += sent_every_us
        arrival_us += arrived_every_us
    return sent_us, arrival_us
