"""Each single control packet of a start-up, a switch, a change to a better way and a broadcaster's
move is lost in turn: how long may viewers wait, and what may they miss?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from relay.slowpath.upstream import UNKNOWN_RTT_RETRY_US
from service.address import Address
from tests.relay.encoder import FRAME_US, GOP_FRAMES, Encoder
from tests.relay.overlay import demo_ingest
from tests.relay.routed_overlay import Routed, watched
from tests.relay.test_paths_virtual import BOTH, DIAMOND, diamond

GOP_US = GOP_FRAMES * FRAME_US


@dataclass
class Loss:
    """Counts the control packets from now on, and loses number `lost`."""

    overlay: Routed
    lost: int
    seen: int = 0

    def __post_init__(self) -> None:
        self._send = self.overlay.network.send
        self.overlay.network.send = self._pass_on  # type: ignore[method-assign]

    def _pass_on(self, src: Address, dst: Address, data: bytes, now_us: int) -> None:
        is_control = data[0] & 0xF == 3
        self.seen += is_control
        if not (is_control and self.seen == self.lost):
            self._send(src, dst, data, now_us)


def start_up(lost: int) -> int:
    overlay = diamond()
    encoder = Encoder(overlay, "a")
    encoder.run_for(600_000)
    loss, joined_us = Loss(overlay, lost), overlay.now_us
    viewer = overlay.watch("c")
    encoder.run_for(600_000)
    first_us = overlay.video(viewer)[0][0] - joined_us
    assert first_us <= overlay.answer_us + 2 * (10_000 + 10_000) + UNKNOWN_RTT_RETRY_US
    assert overlay.missing(viewer) == set()
    return loss.seen


def switch(lost: int) -> int:
    overlay = diamond()
    encoder, viewer = watched(overlay, settle_us=500_000)
    loss, cut_us = Loss(overlay, lost), overlay.now_us
    overlay.cut_link("ab")
    encoder.run_for(400_000)
    bound_us = 200_000 + 10_000 + 2 * (15_000 + 15_000)
    assert overlay.longest_gap(viewer, cut_us)[0] <= bound_us
    assert overlay.missing(viewer) == set()
    return loss.seen


def better_way(lost: int) -> int:
    overlay = diamond()
    encoder, viewer = watched(overlay, settle_us=500_000)
    loss, began_us = Loss(overlay, lost), overlay.now_us
    overlay.nodes["c"].node.rehome("demo", BOTH[::-1], began_us)
    encoder.run_for(600_000)
    assert overlay.longest_gap(viewer, began_us)[0] <= 2 * FRAME_US
    assert [s.after for s in overlay.switches("c")] == ["d"]
    assert overlay.missing(viewer) == set()
    return loss.seen


def move(lost: int) -> int:
    overlay = diamond()
    overlay.start(overlay.config("c", DIAMOND, ingests=demo_ingest(3)))
    overlay.paths["b"] = (("a",),)
    _, viewer = watched(overlay, "b", settle_us=500_000)
    local = overlay.watch("a")
    a, c = overlay.nodes["a"].node, overlay.nodes["c"].node
    loss, began_us = Loss(overlay, lost), overlay.now_us
    c.reclaim("demo", c.new_tracks("demo"), began_us)
    a.rehome("demo", (("b", "c"), ("d", "c")), began_us)
    Encoder(overlay, "c", ssrc=0x777).run_for(1_200_000)
    for watching in (viewer, local):
        bound_us = GOP_US + UNKNOWN_RTT_RETRY_US + 100_000
        assert overlay.longest_gap(watching, began_us)[0] <= bound_us
        assert overlay.video(watching)[-1][0] >= overlay.now_us - 2 * FRAME_US
    return loss.seen


@pytest.mark.parametrize("story", [start_up, switch, better_way, move])
def test_any_one_control_packet_may_be_lost(story: Callable[[int], int]) -> None:
    packets = story(0)
    assert packets >= 8
    for lost in range(1, packets + 1):
        story(lost)
