"""How a worker waits: for packets, commands and deadlines, asleep or awake (about 2 s)."""

from __future__ import annotations

import time

import pytest

from fastpath.events import CursorStarted
from tests.support.encoder import Encoder, index_of
from tests.support.worker import Pair, send_segments, udp_socket, wait_until

pytestmark = pytest.mark.integration
WAYS = [{"use_timerfd": True}, {"use_timerfd": False}, {"spin_us": 200}]


@pytest.mark.parametrize("options", WAYS, ids=str)
def test_packets_commands_and_deadlines_end_a_wait(options: dict[str, object]) -> None:
    with udp_socket() as viewer, udp_socket() as sender, Pair(**options) as pair:  # type: ignore[arg-type]
        pair.add_viewer(viewer.getsockname())
        viewer.settimeout(5)
        for number, packet in enumerate(Encoder(first_number=65_500).gop(100)):
            sender.sendto(packet, pair.ingest)
            assert index_of(viewer.recv(2048)) == number
        engine = pair.second.engine
        for _ in range(20):
            cursor = engine.add_cursor(stream=pair.second_stream, link=pair.up)
            assert wait_until(
                lambda cursor=cursor: (
                    cursor  # type: ignore[misc]
                    in [e.cursor for e in pair.second.take_events() if isinstance(e, CursorStarted)]
                )
            )
            engine.remove_cursor(cursor)
        # Probes go on though nothing else happens.
        sent = engine.link_stats(pair.up).sent_packets
        assert wait_until(lambda: engine.link_stats(pair.up).sent_packets >= sent + 5)
        counted = engine.verdicts()
        wake_ups = counted["wake_ups"]
        # Each is followed by a turn, but for one that has not ended; turns are read afterwards.
        assert 0 < wake_ups <= engine.verdicts()["turns"] + 1
        assert ("spin_us" in options) or counted["spins"] + counted["empty_spins"] == 0


def test_an_idle_worker_sleeps() -> None:
    """Its turns are those of two links' probes, 20 a second each, and little more."""
    with Pair() as pair:
        before = pair.second.engine.verdicts()["turns"]
        time.sleep(0.5)
        assert pair.second.engine.verdicts()["turns"] - before < 100


def test_staying_awake_is_given_up_when_it_is_of_no_use() -> None:
    with udp_socket() as sender, Pair(spin_us=1_000) as pair:
        burst = Encoder().gop(10)
        size = len(burst[0])
        for _ in range(100):
            send_segments(sender, b"".join(burst), size, pair.ingest)
            time.sleep(0.002)
        counted = pair.second.engine.verdicts()
        assert counted["empty_spins"] < counted["wake_ups"]
