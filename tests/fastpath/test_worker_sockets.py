"""Workers in their own threads on real loopback sockets."""

from __future__ import annotations

import gc
import os
import resource
import select
import socket
import threading
import time

import pytest

from fastpath import Engine, PortKind
from fastpath.events import LinkKeyed, LinkUp, StreamStarted
from tests.support.encoder import Encoder, index_of, number_of
from tests.support.worker import Pair, Worker, open_fds, send_segments, udp_socket, wait_until

pytestmark = pytest.mark.integration


def receive(viewer: socket.socket, count: int) -> list[bytes]:
    """That many datagrams, or what came within 5 s."""
    viewer.settimeout(5.0)
    got: list[bytes] = []
    try:
        while len(got) < count:
            got.append(viewer.recv(2048))
    except TimeoutError:
        pass
    return got


@pytest.mark.parametrize("use_gro", [True, False])
@pytest.mark.parametrize("use_gso", [True, False])
def test_packets_cross_two_workers(use_gro: bool, use_gso: bool) -> None:
    encoder = Encoder()
    with (
        udp_socket() as viewer,
        udp_socket() as sender,
        Pair(use_gro=use_gro, use_gso=use_gso) as pair,
    ):
        pair.add_viewer(viewer.getsockname())
        packets = encoder.gop(600)
        size = len(packets[0])
        got: list[bytes] = []
        for at in range(0, 600, 20):
            send_segments(sender, b"".join(packets[at : at + 20]), size, pair.ingest)
            got += receive(viewer, 20)
        assert [index_of(data) for data in got] == list(range(600))
        assert [number_of(data) for data in got] == [(65_530 + n) & 0xFFFF for n in range(600)]
        assert [data[12:] for data in got] == [encoder.sent[n][12:] for n in range(600)]
        for worker in (pair.first, pair.second):
            off = {name for name, on in (("gro", use_gro), ("gso", use_gso)) if not on}
            assert set(worker.engine.fallbacks()) == off
            counted = worker.engine.verdicts()
            assert counted["send_refused"] == counted["send_would_block"] == 0
        media_batches = pair.second.engine.verdicts()["sent_batches"]
        if not use_gso:
            assert media_batches >= 600
        # A GSO sender's burst leaves and arrives as one piece where both ends can.
        if use_gso and use_gro:
            assert media_batches < 300
        assert pair.first.engine.verdicts()["ingested"] == 600
        assert pair.second.engine.verdicts()["accepted"] == 600
        assert pair.second.engine.link_stats(pair.up).lost == 0


def test_packets_of_different_sizes_share_batches_unharmed() -> None:
    encoder = Encoder()
    packets = []
    for n in range(300):
        encoder.size = (1_200, 1_200, 1_200, 300, 40)[n % 5]
        packets += encoder.key() if n == 0 else encoder.other()
    with udp_socket() as viewer, udp_socket() as sender, Pair() as pair:
        pair.add_viewer(viewer.getsockname())
        got: list[bytes] = []
        for at in range(0, 300, 10):
            for packet in packets[at : at + 10]:
                sender.sendto(packet, pair.ingest)
            got += receive(viewer, 10)
        assert [data[12:] for data in got] == [encoder.sent[n][12:] for n in range(300)]


def test_the_event_fd_is_readable_while_events_wait() -> None:
    with Pair() as pair:
        engine = pair.second.engine
        readable, _, _ = select.select([engine.event_fd], [], [], 5)
        assert readable == [engine.event_fd]
        assert wait_until(lambda: LinkUp(pair.up) in pair.second.take_events())
        assert LinkKeyed(pair.up) in pair.second.events
        assert select.select([engine.event_fd], [], [], 0)[0] == []
        with udp_socket() as sender:
            sender.sendto(Encoder().key()[0], pair.ingest)
            assert select.select([engine.event_fd], [], [], 5)[0] == [engine.event_fd]
        assert wait_until(lambda: StreamStarted(pair.second_stream) in pair.second.take_events())


def test_stop_is_quick_whether_idle_or_busy() -> None:
    idle = Worker()
    with idle:
        assert wait_until(lambda: idle.thread_id != 0)
        time.sleep(0.05)
        start = time.monotonic()
    assert time.monotonic() - start < 0.5
    with udp_socket() as viewer, udp_socket() as sender, Pair() as pair:
        pair.add_viewer(viewer.getsockname())
        packets = Encoder().gop(50)
        send_segments(sender, b"".join(packets), len(packets[0]), pair.ingest)
        start = time.monotonic()
    assert time.monotonic() - start < 0.5


def test_run_lets_other_threads_run() -> None:
    """The worker holds no lock of Python's: this thread counts on while it waits for packets."""
    with Worker() as worker:
        assert wait_until(lambda: worker.thread_id != 0)
        start = time.monotonic()
        assert sum(range(100_000)) > 0
        assert time.monotonic() - start < 1.0
        worker.engine.add_viewer_link(rate_bps=1)
        with pytest.raises(RuntimeError):
            worker.engine.turn(1)
        with pytest.raises(RuntimeError):
            worker.engine.run()


def test_commands_reach_a_running_worker_in_order_however_many() -> None:
    with Worker() as worker:
        engine = worker.engine
        for _ in range(5_000):  # more than the box holds
            link = engine.add_viewer_link(rate_bps=1_000)
            engine.remove_link(link)
        kept = engine.add_viewer_link(rate_bps=1_000)
        assert engine.verdicts()["command_stale"] == 0
        assert engine.link_stats(kept).sent_packets == 0


def test_a_closed_port_closes_its_socket_at_once() -> None:
    with Worker() as worker:
        port, address = worker.open(PortKind.INGEST)
        with udp_socket() as sender:
            sender.sendto(b"\x80", address)
            assert wait_until(lambda: worker.engine.verdicts()["ingest_unassigned"] == 1)
            worker.engine.close_port(port)

            def is_free() -> bool:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                    try:
                        other.bind(address)
                    except OSError:
                        return False
                    return True

            assert wait_until(is_free)


def test_nothing_stays_open_behind_a_worker() -> None:
    gc.collect()
    before = open_fds()
    for _ in range(5):
        with udp_socket() as viewer, Pair() as pair:
            pair.add_viewer(viewer.getsockname())
            assert len(open_fds()) > len(before) + 10
        del pair
    gc.collect()
    assert open_fds() == before


def test_a_socket_given_to_a_worker_that_never_ran_is_closed_with_it() -> None:
    gc.collect()
    before = open_fds()
    worker = Worker()
    worker.open(PortKind.VIEWER)
    assert len(open_fds()) == len(before) + 3  # two bells and the socket
    del worker
    gc.collect()
    assert open_fds() == before


def test_a_stopped_worker_returns_at_once_and_runs_once() -> None:
    engine = Engine(streams=1, cursors=1, node_links=1, viewer_links=1, ports=1, slab_bytes=1 << 16)
    engine.stop()
    thread = threading.Thread(target=engine.run)
    thread.start()
    thread.join(5)
    assert not thread.is_alive()
    with pytest.raises(RuntimeError):
        engine.run()


def test_an_unreachable_viewer_harms_nobody() -> None:
    """ICMP refusals of one viewer are no error of the socket's others."""
    encoder = Encoder()
    with udp_socket() as viewer, udp_socket() as sender, Pair() as pair:
        with udp_socket() as closed:
            nobody = closed.getsockname()
        pair.add_viewer(nobody)
        pair.add_viewer(viewer.getsockname())
        got: list[bytes] = []
        for packet in encoder.gop(100):
            sender.sendto(packet, pair.ingest)
            got += receive(viewer, 1)
        assert [index_of(data) for data in got] == list(range(100))


def test_a_destination_that_refuses_batches_costs_the_others_nothing() -> None:
    """Sending from a loopback address to one elsewhere is refused by this host's kernel at once
    (nothing leaves it); that is no lack of UDP_SEGMENT."""
    encoder = Encoder()
    with udp_socket() as viewer, udp_socket() as sender, Pair() as pair:
        pair.add_viewer(("192.0.2.1", 9))
        pair.add_viewer(viewer.getsockname())
        packets = encoder.gop(100)
        got: list[bytes] = []
        for at in range(0, 100, 20):
            send_segments(sender, b"".join(packets[at : at + 20]), len(packets[0]), pair.ingest)
            got += receive(viewer, 20)
        assert [index_of(data) for data in got] == list(range(100))
        # Which viewer a turn serves first is not fixed: the refused one's last batch may come last.
        assert wait_until(lambda: pair.second.engine.verdicts()["send_refused"] >= 100)
        assert pair.second.engine.fallbacks() == []


def test_a_worker_that_cannot_start_closes_nothing_of_others() -> None:
    """There is no descriptor left for its epoll."""
    kept = os.dup(0)
    before, (soft, hard) = os.fstat(0), resource.getrlimit(resource.RLIMIT_NOFILE)
    engine = Engine()
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="epoll"):
            engine.run()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    del engine
    gc.collect()
    try:
        after = os.fstat(0)
    except OSError:
        os.dup2(kept, 0)
        raise
    finally:
        os.close(kept)
    assert (after.st_dev, after.st_ino) == (before.st_dev, before.st_ino)
