"""What one packet out costs a worker: CPU time of its thread, by fan-out, with and without GSO.

One engine on a core of its own (where there are two) takes RTP on an ingest port and serves plain
receivers over loopback. The generator sends bursts of 16 packets of 1,200 bytes at a fixed rate;
receivers count all that arrives. The cost includes the kernel's sending path and, as everywhere on
loopback, the delivery to the receiver's socket. Prints JSON; takes about half a minute.
"""

from __future__ import annotations

import json
import os
import platform
import selectors
import socket
import struct
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from fastpath import Codec, Engine, Media, PortKind

QUESTION = "How much CPU time does one packet out cost, and what does UDP_SEGMENT save?"
FAN_OUTS = (1, 10, 100)
PACKET_BYTES = 1_200
BURST_PACKETS = 16
PACKETS_OUT_PER_S = 40_000
WARM_S = 0.5
MEASURE_S = 3.0
DRAIN_S = 0.5
UDP_SEGMENT, UDP_GRO = 103, 104  # linux/udp.h
SOCKET_BYTES = 4 << 20
Address = tuple[str, int]


@dataclass(frozen=True)
class Case:
    fan_out: int
    use_gso: bool
    cpu_us_per_packet_out: float
    packets_in: int
    packets_out: int
    packets_received: int
    loss: float
    packets_per_batch: float
    worker_cpu_share: float
    seconds: float
    fallbacks: list[str]


def udp_socket() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SOCKET_BYTES)
    made.bind(("127.0.0.1", 0))
    return made


class Generator:
    """An H.264 encoder as far as the engine can see; a key frame each 512 packets."""

    def __init__(self, target: Address) -> None:
        self._socket = udp_socket()
        self._target = target
        self._number = 0
        self._data = bytearray(BURST_PACKETS * PACKET_BYTES)

    def send_burst(self) -> None:
        for place in range(BURST_PACKETS):
            number = self._number = (self._number + 1) & 0xFFFF
            nal = b"\x65\x88" if number % 512 == 1 else b"\x41\x9a"
            struct.pack_into(
                ">BBHII2s",
                self._data,
                place * PACKET_BYTES,
                *(0x80, 0x80 | 96, number, number * 300, 0x1234, nal),
            )
        control = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", PACKET_BYTES))]
        self._socket.sendmsg([self._data], control, 0, self._target)

    def close(self) -> None:
        self._socket.close()


class Receivers:
    """Sockets drained by one thread, which counts packets (GRO may join several)."""

    def __init__(self, count: int) -> None:
        self.packets = 0
        self._sockets = [udp_socket() for _ in range(count)]
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._drain)
        self._selector = selectors.DefaultSelector()
        for one in self._sockets:
            one.setblocking(False)
            one.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
            self._selector.register(one, selectors.EVENT_READ, one)
        self._thread.start()

    def addresses(self) -> list[Address]:
        return [one.getsockname() for one in self._sockets]

    def close(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._selector.close()
        for one in self._sockets:
            one.close()

    def _drain(self) -> None:
        buffer = bytearray(65_536)
        while not self._stopping.is_set():
            for found, _ in self._selector.select(0.1):
                one: socket.socket = found.data
                try:
                    while True:
                        self.packets += -(-one.recv_into(buffer) // PACKET_BYTES)
                except BlockingIOError:
                    continue


class Worker:
    """The engine under test, in a thread whose CPU time the kernel counts."""

    def __init__(self, viewers: list[Address], *, use_gso: bool, cores: list[int]) -> None:
        self.engine = Engine(
            streams=1,
            cursors=128,
            node_links=1,
            viewer_links=128,
            ports=2,
            slab_bytes=64 << 20,
            use_gso=use_gso,
        )
        stream = self.engine.add_stream(
            stream_id=1, media=Media.VIDEO, first_stream_seq=1, upstream=None
        )
        ingest = udp_socket()
        self.ingest: Address = ingest.getsockname()
        port = self.engine.open_port(PortKind.INGEST, ingest.detach())
        self.engine.set_ingest(port, stream=stream, codec=Codec.H264, payload_type=96)
        out = self.engine.open_port(PortKind.VIEWER, udp_socket().detach())
        for number, address in enumerate(viewers):
            self.engine.add_viewer_cursor(
                stream=stream,
                link=self.engine.add_viewer_link(rate_bps=10_000_000_000),
                port=out,
                address=address,
                ssrc=number + 1,
                payload_type=96,
                first_sequence_number=0,
            )
        self._cores = cores
        self._native_id = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        self._ready.wait()

    def cpu_us(self) -> float:
        """Time on a CPU so far, of the worker's thread alone."""
        text = Path(f"/proc/self/task/{self._native_id}/schedstat").read_text()
        return int(text.split()[0]) / 1_000

    def close(self) -> None:
        self.engine.stop()
        self._thread.join()

    def _run(self) -> None:
        self._native_id = threading.get_native_id()
        if len(self._cores) > 1:
            os.sched_setaffinity(0, self._cores[-1:])
        self._ready.set()
        self.engine.run()


def generate(generator: Generator, fan_out: int, duration_s: float) -> int:
    """Bursts at even distances; how many packets."""
    interval_s = BURST_PACKETS * fan_out / PACKETS_OUT_PER_S
    start = time.perf_counter()
    bursts = int(duration_s / interval_s)
    for number in range(bursts):
        wait_s = start + number * interval_s - time.perf_counter()
        if wait_s > 0:
            time.sleep(wait_s)
        generator.send_burst()
    return bursts * BURST_PACKETS


def measure(fan_out: int, *, use_gso: bool, cores: list[int]) -> Case:
    receivers = Receivers(fan_out)
    worker = Worker(receivers.addresses(), use_gso=use_gso, cores=cores)
    generator = Generator(worker.ingest)
    try:
        generate(generator, fan_out, WARM_S)
        time.sleep(DRAIN_S)
        before, received = worker.engine.verdicts(), receivers.packets
        cpu_us, start = worker.cpu_us(), time.perf_counter()
        packets_in = generate(generator, fan_out, MEASURE_S)
        seconds = time.perf_counter() - start
        time.sleep(DRAIN_S)
        cpu_us = worker.cpu_us() - cpu_us
        after, received = worker.engine.verdicts(), receivers.packets - received
    finally:
        generator.close()
        worker.close()
        receivers.close()
    sent = after["sent_packets"] - before["sent_packets"]
    failed = sum(after[n] - before[n] for n in ("send_would_block", "send_refused"))
    return Case(
        fan_out=fan_out,
        use_gso=use_gso,
        cpu_us_per_packet_out=round(cpu_us / max(sent - failed, 1), 3),
        packets_in=packets_in,
        packets_out=sent - failed,
        packets_received=received,
        loss=round(1 - received / (packets_in * fan_out), 6),
        packets_per_batch=round(sent / max(after["sent_batches"] - before["sent_batches"], 1), 2),
        worker_cpu_share=round(cpu_us / 1e6 / seconds, 4),
        seconds=round(seconds, 2),
        fallbacks=worker.engine.fallbacks(),
    )


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def commit() -> str:
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) > 1:
        os.sched_setaffinity(0, cores[:-1])
    cases = [
        measure(fan_out, use_gso=use_gso, cores=cores)
        for fan_out in FAN_OUTS
        for use_gso in (True, False)
    ]
    cost = {(case.fan_out, case.use_gso): case.cpu_us_per_packet_out for case in cases}
    report = {
        "question": QUESTION,
        "commit": commit(),
        "kernel": platform.release(),
        "cpu": cpu_name(),
        "cores": len(cores),
        "worker_has_own_core": len(cores) > 1,
        "python": platform.python_version(),
        "packet_bytes": PACKET_BYTES,
        "burst_packets": BURST_PACKETS,
        "offered_packets_out_per_s": PACKETS_OUT_PER_S,
        "cases": [asdict(case) for case in cases],
        "ratio_gso_off_to_on": {
            str(fan_out): round(cost[fan_out, False] / cost[fan_out, True], 2)
            for fan_out in FAN_OUTS
        },
    }
    sys.stdout.write(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
