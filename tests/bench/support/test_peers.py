"""Relays of others: their protocols, and each of them, where it is installed, really forwarding."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from bench.support.case import Case
from bench.support.native import BenchError
from bench.support.network import udp_socket
from bench.support.peer_coturn import xor_address
from bench.support.peer_list import KINDS, PeerMaker, peers_named
from bench.support.peer_rtpengine import GAVE_UP, INPUTS, Rtpengine, decode, description, encode
from bench.support.peers import Nginx, Peer, PeerProcess
from bench.support.relays import Place
from bench.support.schedule import saturated
from bench.support.threads import RelayClock
from bench.support.traffic import Generator, Sink
from tests.support.worker import wait_until

BYTES = 200
BURST_PACKETS = 16
KEY = bytes(16)
SLOW_PPS = 4_000.0


def case_of(fanout: int = 1, kind: str = "edge") -> Case:
    return Case(fanout, BYTES, "plain", kind=kind)


def test_bencode_is_read_as_it_is_written() -> None:
    value = {"command": "publish", "sdp": "v=0\r\nö", "depth": {"n": -3, "": ""}}
    assert decode(encode(value)) == value
    assert encode({"n": 7, "text": "ab"}) == b"d1:ni7e4:text2:abe"
    assert decode(b"l1:ai1ed1:k1:vee") == ["a", 1, {"k": "v"}]


@pytest.mark.parametrize("data", [b"", b"d1:a", b"5:ab", b"i1e1:a", b"ix e", b"d1:ae"])
def test_what_is_no_bencode_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        decode(data)


def test_addresses_are_those_of_the_rfcs_vectors() -> None:
    # RFC 5769 section 2.2: 192.0.2.1 port 32853.
    assert xor_address("192.0.2.1", 32853) == bytes.fromhex("0001a147e112a643")


def test_a_description_ends_its_lines_as_sdp_does() -> None:
    lines = description(4_000, "sendonly").split("\r\n")
    assert "m=audio 4000 RTP/AVP 96" in lines
    assert lines[-2:] == ["a=sendonly", ""]


def test_the_generator_sets_a_prefix_and_takes_ports_in_turn() -> None:
    with udp_socket() as one, udp_socket() as other:
        generator = Generator(case_of(), KEY)
        generator.connect(one.getsockname())
        generator.set_prefix(b"\x40\x00\x00\xc8")
        generator.spread([one.getsockname()[1], other.getsockname()[1]])
        generator.generate(saturated(3, SLOW_PPS))
        generator.close()
        for receiver, bursts in ((one, 2), (other, 1)):
            packets = [receiver.recv(2_048) for _ in range(bursts * BURST_PACKETS)]
            assert {len(packet) for packet in packets} == {4 + BYTES}
            assert {packet[:5] for packet in packets} == {b"\x40\x00\x00\xc8\x80"}
            receiver.setblocking(False)
            with pytest.raises(BlockingIOError):
                receiver.recv(2_048)


def test_a_peer_takes_part_only_in_what_it_can_do() -> None:
    assert Nginx.can_do(case_of())
    assert not Nginx.can_do(case_of(fanout=10))
    assert not Nginx.can_do(case_of(kind="node"))
    assert Rtpengine.can_do(case_of(fanout=100))


class Absent(Nginx):
    name = "absent"
    package = "absent-server"
    executable: ClassVar[str] = "overlane-test-no-such-server"


def test_a_peer_that_is_not_installed_is_named_with_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(KINDS, "absent", Absent)
    with pytest.raises(BenchError, match="absent is not installed: apt-get install absent-server"):
        peers_named(["absent"])


def test_a_peer_that_ends_at_once_says_why(tmp_path: Path) -> None:
    cores = os.sched_getaffinity(0)
    process = PeerProcess("odd", ["sh", "-c", "echo no such option; exit 3"], tmp_path, cores)
    with pytest.raises(BenchError, match="odd ended with status 3: no such option"):
        process.wait_for_port(1)
    process.close()


def test_a_peer_ends_with_the_bench(tmp_path: Path) -> None:
    """Also if the bench is killed."""
    script = (
        "import os, sys; from pathlib import Path; from bench.support.peers import PeerProcess\n"
        "cores = os.sched_getaffinity(0)\n"
        "one = PeerProcess('sleeper', ['sleep', '600'], Path(sys.argv[1]), cores)\n"
        "print(one.pid, flush=True); sys.stdin.read()"
    )
    bench = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with bench:
        assert bench.stdout is not None
        task = Path(f"/proc/{int(bench.stdout.readline())}")
        assert wait_until(lambda: (task / "comm").read_text() == "sleep\n")
        bench.send_signal(signal.SIGKILL)

    def has_ended() -> bool:
        try:
            return " Z " in (task / "stat").read_text()
        except OSError:  # whoever inherited it has seen to it
            return True

    assert wait_until(has_ended)


@contextmanager
def running(kind: type[Peer], fanout: int) -> Iterator[tuple[Peer, Generator, Sink]]:
    """Skips, with the reason, where it is not installed."""
    try:
        kind.check_installed()
    except BenchError as error:
        pytest.skip(str(error))
    case, cores = case_of(fanout), {min(os.sched_getaffinity(0))}
    sink, generator = Sink(case, cores), Generator(case, KEY)
    peer = PeerMaker(kind)(Place(case, generator, sink.ports(), cores))
    assert peer is not None
    try:
        generator.connect(peer.ingest)
        yield peer, generator, sink
    finally:
        peer.close()
        generator.close()
        sink.close()


@pytest.mark.integration
@pytest.mark.parametrize(
    ("kind", "fanout"), [(one, 1) for one in KINDS.values()] + [(Rtpengine, 3)]
)
def test_a_peer_forwards_every_packet_and_is_gone_at_the_end(kind: type[Peer], fanout: int) -> None:
    bursts = 2 * INPUTS
    with running(kind, fanout) as (peer, generator, sink):
        clock = RelayClock(peer.thread, None)
        before = clock.read()
        generator.generate(saturated(bursts, SLOW_PPS))
        assert wait_until(lambda: sink.packets == bursts * BURST_PACKETS * fanout)
        assert sink.odd_bytes == 0
        assert (clock.read() - before).busy_us > 0
        assert peer.sent() is None
        assert peer.is_settled()
        task, directory = Path(f"/proc/{peer.thread.pid}"), peer.directory
        assert task.exists()
    assert not task.exists()
    assert not directory.exists()


@pytest.mark.integration
def test_rtpengine_is_started_again_after_its_guard_against_floods_has_struck() -> None:
    with running(Rtpengine, 1) as (peer, generator, sink):
        for _ in range(30):  # five times do, if each finds enough
            if GAVE_UP in peer.thread.said():
                break
            # While it stands still each of its ports gets more than it takes at a time.
            os.kill(peer.thread.pid, signal.SIGSTOP)
            generator.generate(saturated(5 * INPUTS, 1e6))
            os.kill(peer.thread.pid, signal.SIGCONT)
            wait_until(lambda: GAVE_UP in peer.thread.said(), 0.1)
        assert GAVE_UP in peer.thread.said()
        first = peer.thread.pid
        assert peer.is_settled()
        assert peer.thread.pid != first
        seen = sink.packets
        generator.generate(saturated(INPUTS, SLOW_PPS))
        assert wait_until(lambda: sink.packets >= seen + INPUTS * BURST_PACKETS)
