"""What a viewer of real time says back: as those of virtual time do, by the same code. Sans-IO."""

from typing import final

@final
class Voice:
    def __new__(cls, wanted: int, seed: int) -> Voice:
        """wanted: see `World.let_speak`. Times are of any clock that does not go back, in us."""
    def on_packet(self, data: bytes, now_us: int) -> None:
        """Any RTP packet, as it came: what tells when each did."""
    def on_new(self, is_video: bool, is_again: bool, data: bytes, now_us: int) -> None:
        """One that did not come before, under its own number. is_again: it came as RTX."""
    def on_rtcp(self, is_video: bool, data: bytes, now_us: int) -> None:
        """Of the node, about a track."""
    def next_us(self) -> int | None:
        """When there is something to say; None: never, as far as is known."""
    def say(self, now_us: int) -> list[tuple[bool, bytes]]:
        """Datagrams that are due: whether one is about video, and the RTCP."""
    @property
    def asked(self) -> int:
        """Packets, each time counted."""
