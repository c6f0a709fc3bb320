"""What the native side counted, as values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ViewerFigures:
    """One viewer, all its stays. Times are of the world's clock, -1: not yet."""

    joined_us: int
    first_packet_us: int
    first_intact_us: int
    expected: int
    whole: int
    whole_early: int
    """Of `whole`: those that came while catching up."""
    damaged: int
    undecodable: int
    """Of `whole`: something they need was not."""
    duplicate_frames: int
    packets: int
    bytes: int
    """Of RTP, headers included."""
    duplicates: int
    corrupt: int
    rtx_packets: int
    """All that came as RTX."""
    rtx_repaired: int
    """Of those: stood for a packet that had not come."""
    breaks: int
    audio_packets: int
    audio_missing: int
    video_missing: int
    least_delay_us: int
    longest_gap_us: int
    newest_us: int
    gaps: tuple[tuple[int, int], ...]
    """Start and end of silences."""
    of_version: tuple[int, ...]
    """Whole frames of each version of the broadcast, the best first."""
    changes: tuple[tuple[int, int], ...]
    """When the first whole frame of another version came, and of which."""
    switches: tuple[tuple[int, int], ...]
    """When the first packet of another broadcast came, and its encoder."""
    delays: tuple[tuple[int, int], ...]
    """Milliseconds, rounded down, and how many whole frames took so long; 2,047 and more are one.
    Without those that came while catching up."""
    packet_delays: tuple[tuple[int, int], ...] = ()
    """The same of video packets, each when it first came, if they were to be noted."""


@dataclass(frozen=True, slots=True)
class ViewerLook:
    """The same for those who watch a run: what may be asked for often."""

    newest_us: int
    whole: int
    video_missing: int
    """Numbers of this stay that have not come, yet."""
    audio_missing: int
    unexplained: int
    """Whole frames without what they need, though no number was missing since the last key frame,
    and the encoder had not just been started."""
    unexplained_us: int
    """When the newest of these was made."""
    audio_passed: int
    """Times that audio was left out under numbers without a gap."""
