"""An encoder whose packets can be told apart: each carries its own index, up to its last byte."""

from __future__ import annotations

from tests.support.chain import key_slice, other_slice, rtp

FRAME_TICKS = 3000  # 30 frames/s of a 90 kHz clock


def text(index: int, size: int) -> bytes:
    """What packet `index` carries, `size` bytes long."""
    return (f"packet {index:06} ".encode() * (size // 14 + 1))[:size]


def index_of(packet: bytes) -> int:
    """The index that an RTP packet of this encoder carries."""
    return int(packet[21:27])


def number_of(packet: bytes) -> int:
    """The RTP sequence number."""
    return int.from_bytes(packet[2:4])


def is_key(packet: bytes) -> bool:
    """Whether it is the key slice of this encoder."""
    return packet[12] == 0x65


class Encoder:
    """One packet a frame, unless told otherwise."""

    def __init__(self, *, first_number: int = 65_500, size: int = 100, ssrc: int = 0x1234) -> None:
        self.first_number = first_number
        self.size = size
        self.ssrc = ssrc
        self.sent: dict[int, bytes] = {}
        self._timestamp = 0xFFFFFFFF - 10 * FRAME_TICKS

    def key(self, packets: int = 1) -> list[bytes]:
        """A key frame: the first packet has the slice with macroblock 0."""
        return self._frame(packets, is_key=True)

    def other(self, packets: int = 1) -> list[bytes]:
        """A frame that others refer to."""
        return self._frame(packets, is_key=False)

    def gop(self, frames: int) -> list[bytes]:
        """A key frame and those that follow it, one packet each."""
        return self.key() + [packet for _ in range(frames - 1) for packet in self.other()]

    def _frame(self, packets: int, *, is_key: bool) -> list[bytes]:
        self._timestamp += FRAME_TICKS
        made = []
        for place in range(packets):
            index = len(self.sent)
            body = text(index, self.size)
            payload = key_slice(body) if is_key else other_slice(body)
            if place:
                # Another slice of the same picture: first_mb_in_slice is not 0.
                payload = payload[:1] + b"\x48" + body
            packet = rtp(
                self.first_number + index,
                self._timestamp,
                payload,
                marker=place == packets - 1,
                ssrc=self.ssrc,
            )
            self.sent[index] = packet
            made.append(packet)
        return made
