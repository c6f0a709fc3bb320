"""What a viewer got of what was sent, by the manifest. Pure.

Expected is every unit from the first delivered one (in the order of sending, of which any packet
came) to the last whose deadline had passed when play stopped. Intact is a unit whose hash matches
and that was whole before its deadline: time sent + the path's smallest delay + 300 ms. A unit sent
before 3 s after the first arrival, while a late joiner catches up, need only be whole.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from overlane.play.reassembly import FrameRecord

DEADLINE_US = 300_000  # LiveNet 7.1
CATCH_UP_US = 3_000_000


class SentUnit(Protocol):
    """A frame or an audio packet in the manifest."""

    @property
    def sent_us(self) -> int: ...
    @property
    def rtp_time(self) -> int: ...
    @property
    def hash(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """expected = intact + incomplete + damaged + late. damaged: whole, with another hash.

    missing is a part of incomplete: not one packet came.
    late_in_catch_up is a part of intact. delays_us: of live units, in the order of sending; none,
    and no smallest one, if sender and receiver have no common clock.
    """

    expected: int
    intact: int
    incomplete: int
    missing: int
    damaged: int
    late: int
    late_in_catch_up: int
    smallest_delay_us: int | None
    delays_us: list[int]


def judge(
    sent: Sequence[SentUnit],
    records: Mapping[int, FrameRecord],
    first_arrival_us: int | None,
    stopped_us: int,
    *,
    shares_clock: bool = True,
) -> Verdict:
    """records: by RTP time. first_arrival_us: of the track; None if nothing came.

    shares_clock: whether `sent` has times of the receiver's clock. If not, the smallest difference
    holds the offset of the clocks too, and deadlines hold all the same.
    """
    smallest_us = _smallest_delay_us(sent, records)
    shares_clock = shares_clock and (smallest_us is None or smallest_us >= 0)
    if not shares_clock and first_arrival_us is not None:
        first_arrival_us -= smallest_us or 0
    expected = _expected(sent, records, stopped_us - (smallest_us or 0) - DEADLINE_US)
    kinds = ("intact", "incomplete", "missing", "damaged", "late", "late_in_catch_up")
    counts = dict.fromkeys(kinds, 0)
    live: list[int] = []
    cached: list[int] = []
    for unit in expected:
        record = records.get(unit.rtp_time)
        if record is None or record.completed_us is None:
            counts["incomplete"] += 1
            counts["missing"] += record is None
        elif record.hash != unit.hash:
            # Without the packet before it, a unit may lack its first one: that is a loss.
            counts["damaged" if record.start_proven else "incomplete"] += 1
        else:
            assert smallest_us is not None
            assert first_arrival_us is not None
            delay_us = record.completed_us - unit.sent_us
            (live if unit.sent_us >= first_arrival_us else cached).append(delay_us)
            in_time = delay_us <= smallest_us + DEADLINE_US
            catching_up = unit.sent_us < first_arrival_us + CATCH_UP_US
            counts["intact" if in_time or catching_up else "late"] += 1
            counts["late_in_catch_up"] += catching_up and not in_time
    return Verdict(
        expected=len(expected),
        smallest_delay_us=smallest_us if shares_clock else None,
        delays_us=(live or cached) if shares_clock else [],
        **counts,
    )


def _smallest_delay_us(sent: Sequence[SentUnit], records: Mapping[int, FrameRecord]) -> int | None:
    delays = [
        record.completed_us - unit.sent_us
        for unit in sent
        if (record := records.get(unit.rtp_time)) is not None
        and record.completed_us is not None
        and record.hash == unit.hash
    ]
    return min(delays, default=None)


def _expected(
    sent: Sequence[SentUnit], records: Mapping[int, FrameRecord], last_sent_us: int
) -> Sequence[SentUnit]:
    """From the first delivered unit to the last sent no later than `last_sent_us`."""
    for index, unit in enumerate(sent):
        if unit.rtp_time in records:
            return [each for each in sent[index:] if each.sent_us <= last_sent_us]
    return []
