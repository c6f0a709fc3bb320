"""Overload in virtual time: an engine whose packets take a known time each (about 8 s in all).

40 video and 4 audio streams cost half of the worker's time at 2 packets a frame.
"""

from __future__ import annotations

import pytest

from fastpath.events import ControlReceived, OverloadBegan, OverloadEnded
from tests.support.peer import PEER, PeerBench
from tests.support.slow_worker import SlowWorker

VIDEOS, AUDIOS = 40, 4
CALM, LOAD_15, LOAD_30, LOAD_60 = 2, 6, 12, 24  # packets a frame: 0.5, 1.5, 3 and 6 times
SECOND = 1_000_000


def loaded(frame_packets: int, load_us: int = 2 * SECOND) -> tuple[SlowWorker, int]:
    """After a second of calm, a load, and three seconds of calm; and when the load fell."""
    worker = SlowWorker(VIDEOS, AUDIOS)
    worker.run(SECOND, CALM)
    assert worker.shed() == {}
    worker.run(load_us, frame_packets)
    fell_us = worker.now_us
    worker.run(3 * SECOND, CALM)
    worker.finish()
    return worker, fell_us


@pytest.fixture(scope="module", params=[LOAD_15, LOAD_30, LOAD_60])
def after(request: pytest.FixtureRequest) -> tuple[SlowWorker, int]:
    return loaded(request.param)


def test_every_packet_is_accounted_for(after: tuple[SlowWorker, int]) -> None:
    worker, _ = after
    counted = worker.engine.verdicts()
    assert counted["accepted"] + sum(worker.shed().values()) == worker.sent_media
    assert counted["accepted"] == sum(map(len, worker.delivered.values()))
    assert sum(worker.shed().values()) > 0


def test_audio_and_control_do_not_suffer(after: tuple[SlowWorker, int]) -> None:
    worker, _ = after
    audio = [source for source in worker.sources if not source.is_video]
    for source in audio:
        assert worker.delivered[source.stream_id] == list(range(len(source.marks)))
    assert worker.engine.verdicts()["control_taken"] == worker.sent_control
    controls = [event for event in worker.events if isinstance(event, ControlReceived)]
    assert len(controls) == worker.sent_control
    assert worker.longest_wait_us < 100_000
    assert worker.engine.verdicts()["events_lost"] == 0


def test_it_is_over_within_a_second(after: tuple[SlowWorker, int]) -> None:
    worker, fell_us = after
    assert max(worker.shed_at) < fell_us + SECOND
    assert worker.engine.overload().step == 0


def test_nothing_undecodable_is_sent(after: tuple[SlowWorker, int]) -> None:
    worker, _ = after
    assert worker.undecodable() == 0


def test_what_was_shed_is_not_asked_for_again(after: tuple[SlowWorker, int]) -> None:
    worker, _ = after
    assert worker.requests == 0
    stats = worker.engine.link_stats(worker.up)
    assert (stats.lost, stats.holes_open) == (0, 0)


def test_it_is_told_when_it_begins_and_ends(after: tuple[SlowWorker, int]) -> None:
    worker, _ = after
    told = [e for e in worker.events if isinstance(e, OverloadBegan | OverloadEnded)]
    assert [type(event) for event in told] == [OverloadBegan, OverloadEnded]
    assert isinstance(told[1], OverloadEnded)
    assert told[1].shed == worker.shed()
    assert 1_500_000 < told[1].lasted_us < 3 * SECOND
    assert told[1].highest_step == max(step for _, step in worker.steps)
    assert worker.engine.overload().episodes == 1


def test_some_streams_lose_all_so_that_others_lose_nothing() -> None:
    worker, _ = loaded(LOAD_15)
    lost = []
    for source in worker.sources:
        got = set(worker.delivered[source.stream_id])
        missing = [n for n, marks in enumerate(source.marks) if n not in got and not marks & 8]
        lost.append(len(missing))
    assert sum(count == 0 for count in lost[:VIDEOS]) >= VIDEOS // 8
    assert sum(map(len, worker.delivered.values())) > worker.sent_media // 2


def test_one_moment_of_delay_is_no_overload() -> None:
    """A burst, or a host that stood still: what waits gets less by itself."""
    worker = SlowWorker(VIDEOS, AUDIOS)
    worker.run(SECOND, CALM)
    worker.free_us += 30_000
    worker.run(SECOND, CALM)
    assert worker.shed() == {}


def test_the_same_comes_of_the_same() -> None:
    first, second = loaded(LOAD_30, SECOND), loaded(LOAD_30, SECOND)
    assert first[0].delivered == second[0].delivered
    assert first[0].steps == second[0].steps


def test_a_load_that_stays_sheds_the_same_streams() -> None:
    """Once the share is found it hardly moves: streams are not taken away and given back."""
    worker = SlowWorker(VIDEOS, AUDIOS)
    worker.run(5 * SECOND, LOAD_15)
    late = [step for at_us, step in worker.steps if at_us > 3 * SECOND]
    assert max(late) - min(late) <= 8
    assert min(late) > 0


def test_after_a_gap_as_long_as_the_window_what_comes_late_is_no_replay() -> None:
    """What was shed unchecked leaves a gap in the numbers. Whatever of it comes yet is taken."""
    bench = PeerBench()
    for first in range(1, 8_193, 1_024):
        bench.turn(*[bench.media(n, hop_seq=n) for n in range(first, first + 1_024)])
    while bench.engine.overload().step < 20:
        bench.now_us += 6_000
        bench.engine.turn(bench.now_us, [], arrived_us=bench.now_us - 20_000)
    bench.engine.turn(
        bench.now_us, [(bench.port, PEER, bench.media(8_193, hop_seq=8_193))], arrived_us=0
    )
    assert bench.counted()["shed_unchecked_video"] == 1
    while bench.engine.overload().step > 0:
        bench.now_us += 6_000
        bench.turn()
    bench.turn(bench.media(8_194, hop_seq=17_000, marks=0x1F))
    bench.turn(bench.media(8_195, hop_seq=9_000))
    assert bench.counted().get("replayed", 0) == 0
