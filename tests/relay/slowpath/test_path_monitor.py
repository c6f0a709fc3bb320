"""When a path that still delivers is bad enough to be left. Packet numbers cross their wrap."""

from __future__ import annotations

from relay.slowpath.path_monitor import (
    HOLD_DOWN_US,
    MOST_EXTRA_DELAY_US,
    SAMPLE_US,
    WINDOW_SAMPLES,
    PathMonitor,
    PathSample,
)


class Path:
    """A path that is sampled: 50 packets a sample, of which some are lost for ever."""

    def __init__(self) -> None:
        self.monitor = PathMonitor()
        self.now_us = 1_000_000
        self.next_seq, self.packets = 0xFFFFFF80, 1000

    def sample(self, times: int, *, lost: int = 0, delay_us: int = 40_000) -> list[str | None]:
        said = []
        for _ in range(times):
            self.now_us += SAMPLE_US
            self.next_seq = (self.next_seq + 50) & 0xFFFFFFFF
            self.packets += 50 - lost
            sample = PathSample(self.next_seq, self.packets, delay_us)
            said.append(self.monitor.on_sample(sample, self.now_us))
        return said


def test_a_good_path_is_kept() -> None:
    assert set(Path().sample(100)) == {None}
    assert set(Path().sample(100, lost=1)) == {None}  # 2 %, and not more


def test_loss_for_a_whole_window() -> None:
    path = Path()
    path.sample(20)
    said = path.sample(WINDOW_SAMPLES, lost=4)
    assert said[0] is None
    assert said[-1] == "loss"


def test_delay_for_a_whole_window() -> None:
    path = Path()
    path.sample(20)
    high_us = 40_000 + MOST_EXTRA_DELAY_US + 1
    said = path.sample(WINDOW_SAMPLES + 1, delay_us=high_us)
    assert said == [None] * WINDOW_SAMPLES + ["delay"]
    path = Path()
    path.sample(20)
    path.sample(WINDOW_SAMPLES, delay_us=high_us)
    assert path.sample(5) == [None] * 5  # it has passed


def test_another_upstream_is_left_in_peace_for_a_while() -> None:
    path = Path()
    path.monitor.on_changed(path.now_us)
    quiet = HOLD_DOWN_US // SAMPLE_US - 1
    assert set(path.sample(quiet, lost=25)) == {None}
    assert path.sample(1, lost=25) == ["loss"]


def test_other_streams_begin_with_a_clean_slate() -> None:
    path = Path()
    path.sample(20)
    path.packets, path.next_seq = 0, 77
    assert path.sample(3) == [None] * 3


def test_what_went_by_while_nothing_stood_by_is_no_loss() -> None:
    """Samples are taken only while another path stands by: it may have been cut in between."""
    path = Path()
    path.sample(20)
    path.now_us += 3 * SAMPLE_US
    path.next_seq = (path.next_seq + 150) & 0xFFFFFFFF
    assert path.sample(20) == [None] * 20
