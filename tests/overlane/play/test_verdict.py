"""What counts as intact, at the edges of every deadline."""

from dataclasses import dataclass

import pytest

from overlane.play.reassembly import FrameRecord
from overlane.play.report import delay_report
from overlane.play.verdict import Verdict, judge

SECOND = 1_000_000
DELAY_US = 20_000


@dataclass(frozen=True)
class _Sent:
    sent_us: int
    rtp_time: int
    hash: str


SENT = [_Sent(n * SECOND, (2**32 - 90_000 + n * 90_000) & 0xFFFFFFFF, f"h{n}") for n in range(10)]


def _records(**changes: int | None) -> dict[int, FrameRecord]:
    """All ten, each DELAY_US after it was sent; `f3=40` makes that 40 us, None: not whole."""
    records = {}
    for n, sent in enumerate(SENT):
        delay_us = changes.get(f"f{n}", DELAY_US)
        whole_us = None if delay_us is None else sent.sent_us + delay_us
        records[sent.rtp_time] = FrameRecord(
            sent.rtp_time, sent.sent_us, whole_us, sent.hash, start_proven=True
        )
    return records


def _judge(records: dict[int, FrameRecord], stopped_us: int = 20 * SECOND) -> Verdict:
    first_us = min((record.first_arrival_us for record in records.values()), default=None)
    return judge(SENT, records, first_us, stopped_us)


def test_all_is_well() -> None:
    verdict = _judge(_records())
    assert (verdict.expected, verdict.intact, verdict.smallest_delay_us) == (10, 10, DELAY_US)
    assert verdict.delays_us == [DELAY_US] * 10


def test_the_deadline_is_the_smallest_delay_and_300_ms() -> None:
    assert _judge(_records(f5=DELAY_US + 300_000)).intact == 10
    verdict = _judge(_records(f5=DELAY_US + 300_001))
    assert (verdict.intact, verdict.late) == (9, 1)
    assert _judge(_records(f5=DELAY_US + 300_000, f6=DELAY_US - 1)).late == 1


def test_in_the_first_three_seconds_being_whole_is_enough() -> None:
    verdict = _judge(_records(f0=2 * SECOND, f2=SECOND, f3=SECOND))
    assert (verdict.intact, verdict.late, verdict.late_in_catch_up) == (9, 1, 2)


def test_a_frame_not_whole_and_one_not_there_are_incomplete() -> None:
    records = _records(f1=None)
    del records[SENT[4].rtp_time]
    verdict = _judge(records)
    assert (verdict.expected, verdict.intact, verdict.incomplete) == (10, 8, 2)
    assert verdict.missing == 1


def test_another_hash_is_damage_unless_the_start_is_uncertain() -> None:
    records = _records()
    records[SENT[3].rtp_time].hash = "other"
    assert _judge(records).damaged == 1
    records[SENT[3].rtp_time].start_proven = False
    verdict = _judge(records)
    assert (verdict.damaged, verdict.incomplete) == (0, 1)


def test_an_uncertain_start_with_the_right_hash_is_intact() -> None:
    records = _records()
    records[SENT[3].rtp_time].start_proven = False
    assert _judge(records).intact == 10


def test_expected_begins_with_the_first_of_which_anything_came() -> None:
    records = _records(f4=None)
    for sent in SENT[:4]:
        del records[sent.rtp_time]
    verdict = _judge(records)
    assert (verdict.expected, verdict.intact) == (6, 5)


def test_expected_ends_with_the_last_deadline_that_passed() -> None:
    stopped_us = 6 * SECOND + DELAY_US + 300_000
    assert _judge(_records(), stopped_us).expected == 7
    assert _judge(_records(), stopped_us - 1).expected == 6


def test_nothing_came() -> None:
    verdict = _judge({})
    assert (verdict.expected, verdict.intact, verdict.smallest_delay_us) == (0, 0, None)


def test_delays_leave_out_what_came_from_a_cache() -> None:
    records = _records(f0=3 * SECOND)
    for record in records.values():
        record.first_arrival_us += 500_000
    assert _judge(records).delays_us == [DELAY_US] * 9


def test_percentiles_are_values_that_occurred() -> None:
    report = delay_report([n * 1_000 for n in range(100, 0, -1)], 500)
    assert report is not None
    assert (report.p50, report.p99, report.min) == (50.0, 99.0, 0.5)
    assert delay_report([], None) is None


@pytest.mark.parametrize("offset_us", [-5 * 3600 * SECOND, 5 * 3600 * SECOND])
def test_with_another_machines_clock_frames_are_judged_and_delays_unknown(offset_us: int) -> None:
    sent = [_Sent(each.sent_us + offset_us, each.rtp_time, each.hash) for each in SENT]
    records = _records(f1=2 * SECOND, f8=DELAY_US + 300_001)
    first_us = min(record.first_arrival_us for record in records.values())
    verdict = judge(sent, records, first_us, 20 * SECOND, shares_clock=False)
    assert (verdict.expected, verdict.intact, verdict.late) == (10, 9, 1)
    assert verdict.late_in_catch_up == 1
    assert (verdict.smallest_delay_us, verdict.delays_us) == (None, [])


def test_a_frame_that_came_before_it_was_sent_tells_that_the_clocks_differ() -> None:
    verdict = _judge(_records(f4=-1))
    assert verdict.intact == 10
    assert (verdict.smallest_delay_us, verdict.delays_us) == (None, [])
