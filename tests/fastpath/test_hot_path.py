"""No Python on the path of a packet: none in the generated C, none in memory after many packets."""

from __future__ import annotations

import ast
import gc
import html
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.chain import key_slice, other_slice, rtp
from tests.support.native_source import (
    NativeFunction,
    c_body,
    c_name,
    native_functions,
    python_calls,
)
from tests.support.worker import Pair, send_segments, udp_socket, wait_until

pytestmark = pytest.mark.timeout(600)  # Cython annotates every module: minutes on a busy machine
ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    [
        *(ROOT / "fastpath").rglob("*.pyx"),
        *(ROOT / "rtp").rglob("*.pyx"),
        *(ROOT / "lab" / "virtual").glob("*.pyx"),
    ]
)
# Bodies that are compiled into each module that calls them; annotation does not show these.
HEADERS = sorted(
    path
    for folder in ("fastpath", "rtp", "lab/virtual")
    for path in (ROOT / folder).rglob("*.pxd")
    if native_functions(path.read_text())
)
LINE = re.compile(r'<pre class="cython line score-(\d+)"[^>]*>[^<]*<span class="">0*(\d+)</span>')


def directives() -> dict[str, object]:
    """What setup.py compiles with, without running it."""
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "DIRECTIVES":
            source = ast.unparse(node.value)
            found = eval(source, {"DEBUG": False})
            assert isinstance(found, dict)
            return found
    raise AssertionError("setup.py has no DIRECTIVES")


def newest_change_s() -> float:
    """Of anything that the annotation of a module depends on."""
    folders = ("fastpath", "rtp", "lab/virtual")
    written = (path for folder in folders for path in (ROOT / folder).rglob("*.p[xy][dx]"))
    return max(path.stat().st_mtime for path in (ROOT / "setup.py", *written))


def generate(source: Path, target: Path) -> Path:
    """The C of a module; its annotation is beside it. What the build made, unless something has
    been changed since."""
    built = ROOT / "build" / "cython" / source.relative_to(ROOT).with_suffix(".c")
    page = built.with_suffix(".html")
    if built.exists() and page.exists() and page.stat().st_mtime > newest_change_s():
        return built
    options = [
        f"{name}={value}" for name, value in directives().items() if name != "language_level"
    ]
    made = target / f"{source.stem}.c"
    subprocess.run(
        [
            *(sys.executable, "-m", "cython", "-3", "--annotate", "-X", ",".join(options)),
            *("-o", str(made), str(source.relative_to(ROOT))),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    return made


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Path]:
    """Of each module."""
    target = tmp_path_factory.mktemp("annotated")
    with ThreadPoolExecutor(4) as pool:
        return dict(zip(SOURCES, pool.map(lambda s: generate(s, target), SOURCES), strict=True))


@pytest.fixture(scope="module")
def scores(generated: dict[Path, Path]) -> dict[Path, dict[int, int]]:
    """Line -> Cython's score of the C behind it; 0 is plain C."""
    found = {}
    for source, made in generated.items():
        page = made.with_suffix(".html").read_text()
        found[source] = {int(number): int(score) for score, number in LINE.findall(page)}
    return found


def test_the_functions_of_the_hot_path_are_seen() -> None:
    names = [f.name for source in SOURCES for f in native_functions(source.read_text())]
    assert len(names) > 100
    assert {
        *("receive_datagram", "receive_rtp", "insert_media", "drain_link", "send_to_node"),
        *("send_to_viewer", "siphash24", "packet_tag", "ask_for_holes", "take_block"),
        *("h264_marks", "opus_marks", "parse_rtp_header", "run_on_sockets", "socket_io_transmit"),
    } <= set(names)
    # None is missed: as many as there are definitions.
    written = sum(len(re.findall(r"noexcept nogil:", s.read_text())) for s in SOURCES)
    assert len(names) == written


def test_a_body_ends_where_the_next_definition_begins() -> None:
    text = "cdef int a(\n    int b,\n) noexcept nogil:\n    return b\n\n\ndef c():\n    return 1\n"
    assert native_functions(text) == [NativeFunction("a", 4, 4)]


def test_generated_c_of_native_functions_calls_no_python(
    scores: dict[Path, dict[int, int]],
) -> None:
    touched, looked_at = [], 0
    for source, score_of in scores.items():
        lines = source.read_text().splitlines()
        assert len(score_of) == len(lines)
        for function in native_functions(source.read_text()):
            for number in range(function.first_line, function.last_line + 1):
                looked_at += 1
                if score_of[number]:
                    touched.append(f"{source.name}:{number} ({function.name}) {lines[number - 1]}")
    assert touched == []
    assert looked_at > 1_500


def test_annotation_tells_python_from_c(scores: dict[Path, dict[int, int]]) -> None:
    """The score does see Python: functions for tests, which call it, are yellow."""
    source = ROOT / "fastpath" / "siphash.pyx"
    lines = source.read_text().splitlines()
    calling = [n for n, line in enumerate(lines, 1) if "raise ValueError" in html.unescape(line)]
    assert calling
    assert all(scores[source][n] > 0 for n in calling)


def header_functions() -> dict[str, str]:
    """C name -> file and function, of all that stands in a .pxd."""
    found = {}
    for header in HEADERS:
        module = ".".join(header.relative_to(ROOT).with_suffix("").parts)
        for function in native_functions(header.read_text()):
            found[c_name(module, function.name)] = f"{header.name}: {function.name}"
    return found


def test_inline_functions_of_headers_are_seen() -> None:
    names = set(header_functions())
    assert c_name("rtp.big_endian", "load_be32") in names
    written = sum(
        len(re.findall(r"noexcept nogil:", header.read_text()))
        for folder in ("fastpath", "rtp", "lab")
        for header in (ROOT / folder).rglob("*.pxd")
    )
    assert len(names) == written


def test_generated_c_of_inline_functions_calls_no_python(
    generated: dict[Path, Path],
) -> None:
    texts = [made.read_text() for made in generated.values()]
    touched = []
    for name, where in header_functions().items():
        bodies = [body for text in texts if (body := c_body(text, name)) is not None]
        assert bodies, f"{where} is compiled nowhere"
        touched += [f"{where} calls {calls}" for body in bodies if (calls := python_calls(body))]
    assert touched == []


def test_python_in_an_inline_function_is_found(tmp_path: Path) -> None:
    """The same look at a header that does touch Python, in a function that may not be missed."""
    (tmp_path / "hot.pxd").write_text(
        "cdef inline int plain(int x) noexcept nogil:\n    return x + 1\n\n\n"
        "cdef inline int tells(int x) noexcept nogil:\n"
        "    with gil:\n        print(x)\n    return plain(x)\n"
    )
    (tmp_path / "hot.pyx").write_text("")
    (tmp_path / "user.pyx").write_text(
        "from hot cimport tells\ncdef int use(int x) noexcept nogil:\n    return tells(x)\n"
        "def run(int x):\n    return use(x)\n"
    )
    subprocess.run(
        [sys.executable, "-m", "cython", "-3", "user.pyx"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    generated = (tmp_path / "user.c").read_text()
    plain = c_body(generated, c_name("hot", "plain"))
    tells = c_body(generated, c_name("hot", "tells"))
    assert plain is not None
    assert tells is not None
    assert python_calls(plain) == set()
    assert any("GIL" in name for name in python_calls(tells))


# -- memory

PACKETS = 100_000
BURST = 64
PACKET_BYTES = 200
WINDOW = 512  # packets on their way at once: less than any socket buffer holds


def bursts() -> list[bytes]:
    """All 2^16 sequence numbers, in bursts; one key frame per 1,024 packets."""
    made = []
    for first in range(0, 1 << 16, BURST):
        packets = []
        for number in range(first, first + BURST):
            head = key_slice() if number % 1024 == 0 else other_slice()
            payload = head + bytes(PACKET_BYTES - 12 - len(head))
            packets.append(rtp(number, number * 3000, payload, marker=True))
        made.append(b"".join(packets))
    return made


def test_a_hundred_thousand_packets_leave_no_python_object() -> None:
    """Through two workers: ingest, ring, link, ring, viewer."""
    prepared = bursts()
    with udp_socket() as viewer, udp_socket() as sender, Pair() as pair:
        cursor = pair.add_viewer(viewer.getsockname())
        sink = bytearray(65_536)
        viewer.setblocking(False)

        def forwarded() -> int:
            return pair.second.engine.cursor_stats(cursor).packets

        def send(count: int, start: int) -> None:
            """Bursts `start` .. on, never more than the window ahead of the viewer."""
            for at in range(start, start + count):
                sent = (at + 1) * BURST
                send_segments(sender, prepared[at % len(prepared)], PACKET_BYTES, pair.ingest)
                assert wait_until(lambda sent=sent: forwarded() > sent - WINDOW)  # type: ignore[misc]
                for _ in range(BURST):
                    try:
                        viewer.recv_into(sink)
                    except BlockingIOError:
                        break
            assert wait_until(lambda: forwarded() == (start + count) * BURST)
            pair.first.take_events()
            pair.second.take_events()

        warm = 32
        send(warm, 0)
        count = -(-PACKETS // BURST)
        pair.first.events.clear()
        pair.second.events.clear()
        gc.collect()
        gc.disable()
        try:
            before = sys.getallocatedblocks()
            send(count, warm)
            pair.first.events.clear()
            pair.second.events.clear()
            after = sys.getallocatedblocks()
        finally:
            gc.enable()
        passed = count * BURST
        assert passed >= PACKETS
        assert abs(after - before) < 200
        total = (warm + count) * BURST
        assert pair.first.engine.verdicts()["ingested"] == total
        assert pair.second.engine.verdicts()["accepted"] == total
        assert pair.second.engine.cursor_stats(cursor).packets == total
        assert pair.second.engine.link_stats(pair.up).lost == 0
        for worker in (pair.first, pair.second):
            counted = worker.engine.verdicts()
            assert counted["send_refused"] == counted["send_would_block"] == 0
        assert sink[12:14] in (key_slice()[:2], other_slice()[:2])
