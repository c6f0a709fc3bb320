"""What a virtual encoder sends."""

from typing import final

@final
class SyntheticEncoder:
    """One encoder by itself, for a look at its packets."""

    def __new__(
        cls,
        seed: int,
        *,
        codec: int = 0,
        b_frames: int = 0,
        gop_frames: int = 30,
        bitrate_bps: int = 1_000_000,
    ) -> SyntheticEncoder:
        """codec: its place in `lab.scenario.model.CODECS`. Raises ValueError."""
    def frame(self) -> tuple[list[bytes], bool, bool]:
        """RTP packets of the next frame; whether it is a key frame, and whether discardable."""
