"""Two real processes on loopback sockets: start, serve over HTTP, and stop cleanly."""

from __future__ import annotations

import contextlib
import itertools
import json
import resource
import signal
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Any

import pytest

import lab.ports
from tests.support.worker import wait_until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
SECRET = "3f" * 32
START_LIMIT_S = 10.0


def free_ports(count: int) -> list[int]:
    return lab.ports.free_ports(count, SystemRandom())


@dataclass
class Process:
    """A node as an operator runs it."""

    process: subprocess.Popen[str]
    admin_port: int

    def call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        url = f"http://127.0.0.1:{self.admin_port}{path}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(url, data=data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                text = response.read().decode()
                is_json = response.headers.get_content_type() == "application/json"
                return response.status, json.loads(text) if is_json else text
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_LIMIT_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.call("GET", "/readyz")[0] == 200:
                    return
            assert self.process.poll() is None, self.process.communicate()[1]
            time.sleep(0.02)
        raise AssertionError("not ready in time")

    def stop(self) -> tuple[int, list[dict[str, Any]]]:
        """SIGTERM; the exit code and the log."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=10)
        return self.process.returncode, [json.loads(line) for line in log.splitlines()]


def spawn(path: Path, text: str, admin_port: int) -> Process:
    path.write_text(text)
    command = [sys.executable, "-m", "relay", "--config", str(path), "--set", "log.format=json"]
    command += ["--set", f"admin.listen=127.0.0.1:{admin_port}"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    return Process(process, admin_port)


@dataclass
class Pair:
    """A producer and a consumer, ready."""

    producer: Process
    consumer: Process
    ingest: tuple[str, int]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    a, b, ingest, admin_a, admin_b = free_ports(5)
    common = 'viewers.listen = "127.0.0.1:0"\nlimits.slab_mib = 8\nlimits.viewers = 16\n'
    producer = f"""
name = "a"
node_id = 1
listen = "127.0.0.1:{a}"
{common}
[[neighbours]]
name = "b"
node_id = 2
address = "127.0.0.1:{b}"
secret = "{SECRET}"
[[ingests]]
name = "demo"
[[ingests.tracks]]
kind = "audio"
codec = "opus"
listen = "127.0.0.1:{ingest}"
payload_type = 111
clock_rate = 48000
[[ingests]]
name = "other"
[[ingests.tracks]]
kind = "audio"
codec = "opus"
listen = "127.0.0.1:{ingest}"
payload_type = 112
clock_rate = 48000
[[ingests]]
name = "clip"
[[ingests.tracks]]
kind = "video"
codec = "VP8"
listen = "127.0.0.1:{ingest}"
payload_type = 96
clock_rate = 90000
[[ingests]]
name = "silent"
[[ingests.tracks]]
kind = "video"
codec = "VP8"
listen = "127.0.0.1:{ingest}"
payload_type = 97
clock_rate = 90000
"""
    consumer = f"""
name = "b"
node_id = 2
listen = "127.0.0.1:{b}"
{common}
[[neighbours]]
name = "a"
node_id = 1
address = "127.0.0.1:{a}"
secret = "{SECRET}"
[[paths]]
stream = "*"
via = ["a"]
"""
    nodes = (
        spawn(tmp_path / "a.toml", producer, admin_a),
        spawn(tmp_path / "b.toml", consumer, admin_b),
    )
    try:
        for node in nodes:
            node.wait_until_ready()
        yield Pair(*nodes, ("127.0.0.1", ingest))
    finally:
        for node in nodes:
            node.process.kill()
            node.process.communicate()


def send_audio(
    to: tuple[str, int], receiver: socket.socket, packets: int, *, payload_type: int = 111
) -> list[int]:
    """Send Opus packets one by one; the RTP sequence numbers that arrived."""
    arrived = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as encoder:
        for number in range(packets):
            ssrc = 0xABC + payload_type
            header = struct.pack(">BBHII", 0x80, payload_type, number, number * 960, ssrc)
            encoder.sendto(header + b"\x78" + bytes(80), to)
            with contextlib.suppress(TimeoutError):
                data = receiver.recv(2048)
                assert data[13:] == bytes(80)
                arrived.append(int.from_bytes(data[2:4], "big"))
    return arrived


def test_a_stream_crosses_two_processes(pair: Pair) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(1.0)
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        code, viewer = pair.consumer.call("POST", "/streams/demo/viewers", {"audio": address})
        assert code == 201
        assert viewer["path"] == ["a", "b"]
        assert viewer["state"] == "live"
        assert viewer["expires_s"] == 15
        assert viewer["tracks"]["audio"]["payload_type"] == 111
        arrived = send_audio(pair.ingest, receiver, 50)
    assert len(arrived) == 50
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(arrived))
    code, refreshed = pair.consumer.call("PUT", f"/viewers/{viewer['viewer']}")
    assert code == 200
    assert refreshed["tracks"]["audio"]["packets"] == 50
    assert pair.consumer.call("GET", f"/viewers/{viewer['viewer']}")[0] == 200
    check_reports(pair)
    code, log = pair.producer.stop()
    assert code == 0
    assert {"node_started", "neighbour_keyed", "encoder_seen", "node_stopped"} <= {
        line["event"] for line in log
    }
    state = wait_for_state(pair.consumer, viewer["viewer"], "ended")
    assert state == "ended"
    assert pair.consumer.call("DELETE", f"/viewers/{viewer['viewer']}")[0] == 204
    assert pair.consumer.call("DELETE", f"/viewers/{viewer['viewer']}")[0] == 404
    assert pair.consumer.stop()[0] == 0


def test_a_viewer_is_switched_to_another_broadcast(pair: Pair) -> None:
    """Of audio alone: it goes on at once. What cannot be had leaves it where it is."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(1.0)
        address = f"127.0.0.1:{receiver.getsockname()[1]}"
        code, viewer = pair.consumer.call("POST", DEMO, {"audio": address})
        assert code == 201
        arrived = send_audio(pair.ingest, receiver, 10)
        switch = f"/viewers/{viewer['viewer']}/switch"
        for body, expected in (
            ({"stream": "none"}, 404),
            ({"stream": "a/b"}, 400),
            ({"stream": 5}, 400),
            ({"strm": "other"}, 400),
        ):
            assert pair.consumer.call("POST", switch, body)[0] == expected
        assert pair.consumer.call("POST", "/viewers/none/switch", {"stream": "other"})[0] == 404
        code, switched = pair.consumer.call("POST", switch, {"stream": "other"})
        assert (code, switched["stream"], switched["switching_to"]) == (200, "other", None)
        assert switched["tracks"]["audio"]["ssrc"] == viewer["tracks"]["audio"]["ssrc"]
        arrived += send_audio(pair.ingest, receiver, 10, payload_type=112)
    assert len(arrived) == 20
    assert all((b - a) & 0xFFFF == 1 for a, b in itertools.pairwise(arrived))


def test_a_switch_of_a_viewer_that_leaves_is_answered_at_once(pair: Pair) -> None:
    """Of video whose key frame does not come: not told by the time-out, some 15 s later."""
    to = {"video": "127.0.0.1:9", "rtcp": "none"}
    code, viewer = pair.consumer.call("POST", "/streams/clip/viewers", to)
    assert code == 201
    path = f"/viewers/{viewer['viewer']}"
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(pair.consumer.call, "POST", f"{path}/switch", {"stream": "silent"})
        wait_until(lambda: pair.consumer.call("GET", path)[1]["switching_to"] == "silent")
        began_s = time.monotonic()
        assert pair.consumer.call("DELETE", path)[0] == 204
        code, answer = asked.result(10)
        assert time.monotonic() - began_s < 5
    assert (code, answer["error"]) == (404, "the viewer has left")


def check_reports(pair: Pair) -> None:
    code, status = pair.consumer.call("GET", "/status")
    assert code == 200
    assert status["neighbours"][0]["handshake"] == "keyed"
    assert status["streams"][0]["path"] == ["a", "b"]
    code, metrics = pair.consumer.call("GET", "/metrics")
    assert code == 200
    assert 'overlane_stream_packets_total{media="audio",stream="demo"} 50.0' in metrics
    assert pair.consumer.call("GET", "/livez") == (200, {"alive": True})


def wait_for_state(node: Process, viewer: str, state: str) -> str:
    deadline = time.monotonic() + 2.0
    seen = ""
    while seen != state and time.monotonic() < deadline:
        seen = node.call("GET", f"/viewers/{viewer}")[1]["state"]
        time.sleep(0.02)
    return seen


def audio(address: object) -> bytes:
    return json.dumps({"audio": address}).encode()


DEMO = "/streams/demo/viewers"
JSON = {"Content-Type": "application/json"}
BAD_VALUES: list[tuple[bytes, str, str | None]] = [
    (b"{}", "give an address for video, audio or both", None),
    (audio(5), "audio: an address is text", "audio"),
    (audio(None), "audio: an address is text", "audio"),
    (audio("127.0.0.1"), "audio: '127.0.0.1' is not of the form", "audio"),
    (audio("127.0.0.1:65536"), "audio: '127.0.0.1:65536' is not of the form", "audio"),
    (audio("127.0.0.1:0"), "audio: the port cannot be 0", "audio"),
    (
        audio("[::1]:9"),
        "audio: '::1': Address family for hostname not supported; viewers.lis",
        "audio",
    ),
    (audio("a..b:9"), "audio: 'a..b': is no name of a host", "audio"),
    (audio("\ud800:9"), "the body is not JSON: ", None),
    (audio("0.0.0.0:9"), "audio: 0.0.0.0 is no host; give the viewer's own address", "audio"),
    (audio("255.255.255.255:9"), "audio: 255.255.255.255 is no host", "audio"),
    (
        audio("224.0.0.1:9"),
        "audio: 224.0.0.1 is multicast; viewers.allow_multicast = true",
        "audio",
    ),
    (b'{"speech": "127.0.0.1:9"}', "unknown key 'speech'; known: video, audio", "speech"),
    (b'{"audio": "127.0.0.1:9", "rtcp": 1}', "rtcp is one of next, mux", "rtcp"),
    (
        b'{"audio": "127.0.0.1:9", "transport_cc_id": 15}',
        "transport_cc_id is 1 to 14",
        "transport_cc_id",
    ),
    (b'{"audio": "127.0.0.1:9", "delay_id": "1"}', "delay_id is 1 to 14", "delay_id"),
    (
        b'{"audio": "127.0.0.1:9", "transport_cc_id": 4, "delay_id": 4}',
        "delay_id is that of another extension",
        "delay_id",
    ),
    (b'{"audio": "127.0.0.1:9", "expires_s": 0}', "expires_s is 1 to", "expires_s"),
    (b'{"audio": "127.0.0.1:9", "expires_s": "x"}', "expires_s is 1", "expires_s"),
    (
        b'{"audio": "127.0.0.1:9", "rtx_payload_type": 95}',
        "rtx_payload_type is 96 to 127",
        "rtx_payload_type",
    ),
    (b'{"video": "127.0.0.1:9"}', "demo has no video", None),
    (b"[]", "the body is not a JSON object", None),
    (b"{", "the body is not JSON: ", None),
    (b"\xff", "the body is not JSON: ", None),
    (b"[" * 100_000, "the body is not JSON: maximum recursion depth", None),
    (b"1" * 100_000, "the body is not JSON: Integer value out of range", None),
]
BAD_REQUESTS: list[tuple[str, str, bytes, dict[str, str], int, str]] = [
    ("POST", "/streams/none/viewers", audio("127.0.0.1:9"), JSON, 404, "no_such_stream"),
    ("POST", "/streams/%ff%00/viewers", audio("127.0.0.1:9"), JSON, 404, "no_such_stream"),
    ("POST", "/nowhere", b"", {}, 404, "not_found"),
    ("DELETE", DEMO, b"", {}, 405, "method_not_allowed"),
    ("PUT", "/status", b"", {}, 405, "method_not_allowed"),
    ("PUT", "/viewers/none", b"", {}, 404, "no_such_stream"),
    ("POST", DEMO, b" " * (2 << 20), JSON, 413, "request_entity_too_large"),
    ("POST", DEMO, b"{}", {"Content-Type": "text/plain; charset=none"}, 400, "bad_request"),
    ("POST", DEMO, b"{}", {"Content-Encoding": "gzip"}, 400, "bad_request"),
]


def ask(
    node: Process, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, Any]:
    url = f"http://127.0.0.1:{node.admin_port}{path}"
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=10)
    return raised.value.code, json.loads(raised.value.read())


def test_refusals_are_one_line_of_json(pair: Pair) -> None:
    for body, text, field in BAD_VALUES:
        code, answer = ask(pair.consumer, "POST", DEMO, body, JSON)
        assert (code, answer["error"][: len(text)]) == (400, text)
        assert answer["code"] == "bad_request"
        assert answer.get("field") == field
    for method, path, body, headers, code, word in BAD_REQUESTS:
        answered, answer = ask(pair.consumer, method, path, body, headers)
        assert (answered, answer["code"]) == (code, word)
        assert "\n" not in answer["error"]
    _, answer = ask(pair.producer, "POST", DEMO, audio(f"127.0.0.1:{pair.ingest[1]}"), JSON)
    assert answer["error"].endswith("is a socket of this node itself")
    code, log = pair.consumer.stop()
    assert code == 0
    assert {line["event"] for line in log} <= {
        "node_started", "neighbour_keyed", "neighbour_up", "broadcast_changed", "node_stopped",
        "viewer_turned_away", "neighbour_rekeyed", "receive_buffer_small", "send_buffer_small",
        "bad_http",
    }  # fmt: skip


def test_more_viewers_than_fit_and_slow_clients_do_no_harm(pair: Pair) -> None:
    slow = [socket.create_connection(("127.0.0.1", pair.producer.admin_port)) for _ in range(50)]
    for client in slow:
        client.sendall(
            b"POST /streams/demo/viewers HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{"
        )
    slow[0].sendall(b"\0" * 98)
    slow.append(socket.create_connection(("127.0.0.1", pair.producer.admin_port)))
    slow[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
    assert slow[-1].recv(100).startswith(b"HTTP/1.0 400")
    codes = [pair.producer.call("POST", DEMO, {"audio": "127.0.0.1:9"})[0] for _ in range(20)]
    assert codes == [201] * 16 + [503] * 4
    code, log = pair.producer.stop()  # fails if it takes 10 s
    assert code == 0
    (line,) = [line for line in log if line["event"] == "bad_http"]
    assert "Missing 'Host' header" in line["reason"]
    for client in slow:
        client.close()


def start_that_fails(path: Path, *settings: str, files: int = 1024) -> str:
    """What a node that exits with 1 says. files: how many it may open."""
    path.write_text('name = "x"\nnode_id = 9\nlisten = "127.0.0.1:1"\n[limits]\nslab_mib = 8\n')
    command = [sys.executable, "-m", "relay", "--config", str(path)]
    for setting in settings:
        command += ["--set", setting]
    memory = (8 << 30, 8 << 30)

    def set_limits() -> None:
        resource.setrlimit(resource.RLIMIT_AS, memory)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

    result = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
        preexec_fn=set_limits,
    )
    assert result.returncode == 1, result.stderr
    (line,) = result.stderr.splitlines()
    return line.removeprefix("overlane relay: x: ")


def test_a_busy_port_is_one_clear_line(tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    (free,) = free_ports(1)
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        socket.create_server(("127.0.0.1", 0)) as tcp,
    ):
        udp.bind(("127.0.0.1", 0))
        busy, admin = udp.getsockname()[1], tcp.getsockname()[1]
        assert start_that_fails(file, f"listen=127.0.0.1:{busy}") == (
            f"listen: cannot bind UDP 127.0.0.1:{busy}: Address already in use; "
            f"find who has it with: ss -ulnp 'sport = :{busy}', "
            "and stop that or choose another port"
        )
        good = f"listen=127.0.0.1:{free}"
        line = start_that_fails(file, good, f"viewers.listen=127.0.0.1:{busy}")
        assert line.startswith(f"viewers.listen: cannot bind UDP 127.0.0.1:{busy}: Address already")
        line = start_that_fails(file, good, f"admin.listen=127.0.0.1:{admin}")
        assert line.startswith(f"admin.listen: cannot bind TCP 127.0.0.1:{admin}: Address already")
        assert "ss -tlnp" in line


def test_an_address_of_another_host_is_one_clear_line(tmp_path: Path) -> None:
    line = start_that_fails(tmp_path / "x.toml", "listen=192.0.2.1:7000")
    assert line.startswith("listen: cannot bind UDP 192.0.2.1:7000: Cannot assign requested")
    assert "ip address" in line


def test_sizes_beyond_the_memory_are_one_clear_line(tmp_path: Path) -> None:
    line = start_that_fails(tmp_path / "x.toml", "limits.slab_mib=1048576")
    assert line.startswith("limits: this host has no memory for them, make them smaller: ")
    assert "slab_mib = 1048576" in line


def test_too_few_open_files_for_the_workers_is_one_clear_line(tmp_path: Path) -> None:
    settings = ("workers=16", "limits.slab_mib=64", "listen=127.0.0.1:7000")
    line = start_that_fails(tmp_path / "x.toml", *settings, files=24)
    assert line.startswith("workers: ")
    assert "ulimit -n" in line


def start_until_stopped(path: Path, number: signal.Signals, delay_s: float) -> tuple[int, str]:
    """A node that gets a signal so long after its start: exit code, and what it said."""
    overlay, admin = free_ports(2)
    node = spawn(path, f'name = "x"\nnode_id = 9\nlisten = "127.0.0.1:{overlay}"\n', admin)
    time.sleep(delay_s)
    node.process.send_signal(number)
    _, said = node.process.communicate(timeout=20)
    return node.process.returncode, said


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment_of_the_start_ends_it_cleanly(
    tmp_path: Path, number: signal.Signals
) -> None:
    for delay_s in (0.1, 0.3, 0.5):
        code, said = start_until_stopped(tmp_path / "x.toml", number, delay_s)
        assert code in (0, 1, -number)  # before there was anything to close, the signal itself
        assert "__main__.py" not in said  # no traceback, but for one of the interpreter's own start


@pytest.mark.parametrize("closing", ["<&- >&- 2>&-", "2>/dev/full", "2> >(exec true)"])
def test_a_node_outlives_its_standard_streams(tmp_path: Path, closing: str) -> None:
    overlay, admin = free_ports(2)
    file = tmp_path / "x.toml"
    file.write_text(f'name = "x"\nnode_id = 9\nlisten = "127.0.0.1:{overlay}"\n')
    relay = f"exec {sys.executable} -m relay --config {file} --set admin.listen=127.0.0.1:{admin}"
    with subprocess.Popen(["bash", "-c", f"{relay} {closing}"], cwd=ROOT) as process:
        node = Process(process, admin)  # type: ignore[arg-type]  # its streams are not read
        try:
            deadline = time.monotonic() + START_LIMIT_S
            metrics = ""
            while not metrics and time.monotonic() < deadline:
                with contextlib.suppress(OSError):
                    metrics = node.call("GET", "/metrics")[1]
                time.sleep(0.02)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    if "<&-" not in closing[:4]:
        assert "overlane_log_lines_lost_total" in metrics
        assert "overlane_log_lines_lost_total 0.0" not in metrics


def test_a_bad_configuration_stops_the_start(tmp_path: Path) -> None:
    other = spawn(tmp_path / "x.toml", 'name = "x"\nnode_id = 0\n', 0)
    _, log = other.process.communicate(timeout=10)
    assert other.process.returncode == 2
    assert len(log.splitlines()) == 2


def test_more_streams_than_the_mailbox_holds_still_start(tmp_path: Path) -> None:
    admin, overlay = free_ports(2)
    ingest = (
        '[[ingests]]\nname = "s{0}"\n'
        '[[ingests.tracks]]\nkind = "video"\ncodec = "H264"\nlisten = "127.1.{1}.{2}:5004"\n'
        'rtcp = "mux"\n'
        "payload_type = 96\nclock_rate = 90000\n"
    )
    config = tmp_path / "many.toml"
    config.write_text(
        f'name = "many"\nnode_id = 1\nlisten = "127.0.0.1:{overlay}"\n'
        f'[admin]\nlisten = "127.0.0.1:{admin}"\n'
        "[limits]\nports = 900\nslab_mib = 8\n"
        + "".join(ingest.format(i, i // 250, i % 250 + 1) for i in range(700))
    )
    command = [sys.executable, "-m", "relay", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        node = Process(process, admin)
        deadline = time.monotonic() + START_LIMIT_S
        status = 0
        while time.monotonic() < deadline and process.poll() is None and status != 200:
            with contextlib.suppress(urllib.error.URLError):
                status, _ = node.call("GET", "/readyz")
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=10)
    assert status == 200, err
    assert process.returncode == 0, err
