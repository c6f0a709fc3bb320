"""Announcements and ends in any order, as often as they like, and ids that never come again."""

from __future__ import annotations

import numpy as np
import pytest

from controller.errors import InvalidAnnouncementError
from controller.paths import Announced, StreamBase, StreamIds, Superseded, Track

VIDEO = Track("video", "video", "H264", 96, 90_000, "profile-level-id=42e01f")
LOW = Track("video-low", "video", "H264", 97, 90_000)
AUDIO = Track("audio", "audio", "opus", 111, 48_000)


def base(next_id: int = 0xFFFFFFFE) -> StreamBase:
    """Its ids cross the wrap in most tests."""
    return StreamBase(StreamIds(next_id))


def announce(
    streams: StreamBase, producer: str, session: int, *tracks: Track, now_us: int = 0
) -> Announced:
    answer = streams.announce("show", producer, session, tracks, now_us)
    assert isinstance(answer, Announced)
    return answer


def test_an_announcement_and_its_repetition() -> None:
    streams = base()
    first = announce(streams, "P", 1, VIDEO, AUDIO, now_us=5)
    assert first.is_new
    assert first.broadcast.stream_ids == (0xFFFFFFFE, 0xFFFFFFFF)
    assert first.broadcast.since_us == 5
    assert first.moved_from is None
    version = streams.version
    again = announce(streams, "P", 1, VIDEO, AUDIO, now_us=9)
    assert not again.is_new
    assert again.broadcast == first.broadcast
    assert streams.version == version
    for key in ("show", 0xFFFFFFFE, 0xFFFFFFFF):
        assert streams.find(key) == first.broadcast
    assert streams.find("other") is None
    assert streams.find(1) is None


def test_a_changed_track_is_another_stream_and_the_others_stay() -> None:
    streams = base()
    announce(streams, "P", 1, VIDEO, AUDIO, LOW, now_us=5)
    other = Track("video", "video", "VP8", 96, 90_000)
    changed = announce(streams, "P", 1, other, AUDIO, now_us=9)
    assert changed.is_new
    assert changed.broadcast.stream_ids == (2, 0xFFFFFFFF)
    assert changed.broadcast.since_us == 5
    assert changed.successors == ((0xFFFFFFFE, 2), (1, None))
    assert streams.find(0xFFFFFFFE) is None
    assert streams.find(1) is None
    assert streams.find(2) == changed.broadcast


def test_a_restarted_producer_gets_new_ids() -> None:
    streams = base()
    announce(streams, "P", 1, VIDEO, AUDIO)
    again = announce(streams, "P", 2, AUDIO, VIDEO)
    assert again.broadcast.stream_ids == (1, 2)
    assert again.successors == ((0xFFFFFFFE, 2), (0xFFFFFFFF, 1))
    assert again.moved_from is None


def test_a_broadcaster_that_moves() -> None:
    streams = base()
    announce(streams, "P", 1, VIDEO)
    moved = announce(streams, "Q", 1, VIDEO)
    assert moved.moved_from == "P"
    assert moved.successors == ((0xFFFFFFFE, 0xFFFFFFFF),)
    # The old producer has not heard of it yet: nothing goes back.
    assert streams.announce("show", "P", 1, (VIDEO,), 3) == Superseded(moved.broadcast)
    assert streams.end("show", "P", 1) is None
    assert streams.find("show") == moved.broadcast
    # It moves back as another session.
    assert announce(streams, "P", 2, VIDEO).moved_from == "Q"


def test_ends_are_idempotent_and_final_for_their_session() -> None:
    streams = base()
    made = announce(streams, "P", 1, VIDEO, AUDIO).broadcast
    assert streams.end("show", "P", 2) is None
    assert streams.end("show", "Q", 1) is None
    ended = streams.end("show", "P", 1)
    assert ended is not None
    assert ended.broadcast == made
    assert streams.end("show", "P", 1) is None
    assert streams.find("show") is None
    assert streams.find(made.stream_ids[0]) is None
    assert streams.announce("show", "P", 1, (VIDEO,), 9) == Superseded(None)
    assert announce(streams, "P", 2, VIDEO).broadcast.stream_ids == (1,)


def test_a_lost_producer_takes_its_broadcasts_and_may_bring_them_back() -> None:
    streams = base()
    for name, producer in (("b", "P"), ("a", "P"), ("c", "Q")):
        streams.announce(name, producer, 1, (VIDEO,), 0)
    assert [ended.broadcast.name for ended in streams.end_producer("P")] == ["a", "b"]
    assert [broadcast.name for broadcast in streams.broadcasts()] == ["c"]
    version = streams.version
    assert streams.end_producer("P") == ()
    assert streams.version == version
    back = streams.announce("a", "P", 1, (VIDEO,), 1)
    assert isinstance(back, Announced)
    assert back.broadcast.stream_ids == (2,)


def test_bad_announcements() -> None:
    streams = base()
    with pytest.raises(InvalidAnnouncementError, match="no tracks"):
        streams.announce("show", "P", 1, (), 0)
    with pytest.raises(InvalidAnnouncementError, match="two tracks"):
        streams.announce("show", "P", 1, (VIDEO, VIDEO), 0)
    assert streams.find("show") is None


@pytest.mark.parametrize("seed", range(20))
def test_no_id_comes_twice_whatever_happens(seed: int) -> None:
    rng = np.random.default_rng(seed)
    streams = base(0xFFFFFFFF - int(rng.integers(100)))
    tracks = (VIDEO, LOW, AUDIO)
    owner: dict[int, tuple[str, str, int, Track]] = {}
    for step in range(300):
        name, producer = f"show{rng.integers(4)}", "PQR"[rng.integers(3)]
        session = int(rng.integers(30))
        action = rng.random()
        if action < 0.8:
            chosen = tuple(t for t in tracks if rng.random() < 0.7) or (VIDEO,)
            answer = streams.announce(name, producer, session, chosen, step)
            if isinstance(answer, Superseded):
                assert answer.current == streams.find(name)
                continue
            made = answer.broadcast
            assert tuple(stream.track for stream in made.streams) == chosen
            for stream in made.streams:
                key = (name, producer, session, stream.track)
                assert owner.setdefault(stream.stream_id, key) == key, f"seed {seed}"
                assert streams.find(stream.stream_id) == made
            for old, new in answer.successors:
                assert streams.find(old) is None
                assert new is None or new in made.stream_ids
        elif action < 0.95:
            streams.end(name, producer, session)
        else:
            streams.end_producer(producer)
    living = [i for broadcast in streams.broadcasts() for i in broadcast.stream_ids]
    assert sorted(living) == sorted(i for i in owner if streams.find(i) is not None)
