"""The examples load, and a bad configuration is told all that is wrong with it."""

from __future__ import annotations

import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from relay.config import NodeConfig
from relay.config_checks import Parts, Sockets, cross_check
from relay.config_file import load
from relay.cores import usable_cores
from service.address import Address, clashes
from service.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
SECRET, OTHER_SECRET = "ab" * 32, "cd" * 32
MINIMAL = 'name = "a"\nnode_id = 1\nlisten = "127.0.0.1:7001"\n'


def write(folder: Path, text: str) -> Path:
    path = folder / "node.toml"
    path.write_text(text)
    return path


def problems_of(path: Path, **overrides: object) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path, overrides)
    return str(raised.value).splitlines()


OF_NODES = sorted(path for path in CONFIGS.glob("**/*.toml") if path.name != "controller.toml")


@pytest.mark.parametrize("path", OF_NODES, ids=str)
def test_examples_load(path: Path) -> None:
    config = load(path)
    assert isinstance(config, NodeConfig)
    assert all(len(neighbour.secret_bytes) == 32 for neighbour in config.neighbours)


def test_the_two_nodes_fit_each_other() -> None:
    producer = load(CONFIGS / "two-nodes" / "producer.toml")
    consumer = load(CONFIGS / "two-nodes" / "consumer.toml")
    (of_producer,), (of_consumer,) = producer.neighbours, consumer.neighbours
    assert of_producer.secret_bytes == of_consumer.secret_bytes
    assert of_producer.endpoint == consumer.endpoint
    assert of_consumer.endpoint == producer.endpoint
    assert (of_producer.node_id, of_consumer.node_id) == (consumer.node_id, producer.node_id)
    assert consumer.path_to("demo") == ("producer",)


def test_the_commented_example_shows_every_default(tmp_path: Path) -> None:
    lines = (CONFIGS / "relay.toml").read_text().splitlines()
    shown = [line.removeprefix("# ") if " = " in line else line for line in lines]
    (tmp_path / "tokyo.secret").write_text(SECRET)
    text = "\n".join(line for line in shown if not line.startswith("#"))
    assert load(write(tmp_path, text)) == load(write(tmp_path, "\n".join(lines)))


def test_environment_is_stronger_than_the_file_and_flags_than_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, MINIMAL + '[log]\nlevel = "error"\nformat = "json"\n')
    monkeypatch.setenv("OVERLANE_LOG__LEVEL", "warning")
    monkeypatch.setenv("OVERLANE_LISTEN", "127.0.0.1:7002")
    config = load(path, {"listen": "127.0.0.1:7003"})
    assert (config.log.format, config.log.level) == ("json", "warning")
    assert config.listen == "127.0.0.1:7003"


def test_an_exact_path_wins_over_any(tmp_path: Path) -> None:
    neighbour = f'[[neighbours]]\nname="b"\nnode_id=2\naddress="127.0.0.1:1"\nsecret="{SECRET}"\n'
    paths = '[[paths]]\nstream="*"\nvia=["b"]\n[[paths]]\nstream="x"\nvia=["b","c"]\n'
    config = load(write(tmp_path, MINIMAL + neighbour + paths))
    assert config.path_to("x") == ("b", "c")
    assert config.path_to("y") == ("b",)
    assert config.path_to("x.1", "x") == ("b", "c")
    assert config.path_to("y.1", "y") == ("b",)
    assert load(write(tmp_path, MINIMAL)).path_to("x") is None


def test_every_problem_is_listed_with_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(
        tmp_path,
        f"""
name = "a b"
node_id = 0
listen = "127.0.0.1:0"
colour = 3
[[neighbours]]
name = "b"
node_id = 2
address = "127.0.0.1:7000"
secret = "{SECRET[:-1]}"
[[neighbours]]
name = "c"
node_id = 3
address = "[::1]:7000"
secret_file = "none"
[[neighbours]]
name = "c"
node_id = 3
address = "0.0.0.0:7000"
[[paths]]
stream = "*"
via = ["x", "x"]
[limits]
node_links = 0
""",
    )
    monkeypatch.setenv("OVERLANE_ADMIN__LISTEN", "localhost:1")
    monkeypatch.setenv("OVERLANE_KERNAL__USE_GRO", "0")
    problems = problems_of(path, **{"log.level": "loud"})
    expected = [
        "environment OVERLANE_KERNAL__USE_GRO: unknown key; did you mean kernel?",
        f"{path}:2: name: string should match pattern '^[A-Za-z0-9._-]+$'; found 'a b'",
        f"{path}:3: node_id: input should be greater than or equal to 1; found 0",
        "environment OVERLANE_ADMIN__LISTEN: admin.listen: 'localhost' in 'localhost:1' is not an",
        "--set log.level: log.level: input should be 'debug', 'info', 'warning' or 'error'; found",
        f"{path}:10: neighbours[0].secret: must be 64 hex digits",
        f"{path}:19: neighbours[2].address: others cannot send to a wildcard address; found '0.0",
        f"{path}:5: colour: unknown key; allowed here: name, node_id, listen,",
        f"{path}:24: limits.node_links: input should be greater",
        f"{path}:14: neighbours[1].address: is IPv6, but listen is 127.0.0.1:0",
        f"{path}:4: listen: neighbours need a fixed port",
        f"{path}:22: paths[0].via: starts at x, which is not a neighbour",
        f"{path}:22: paths[0].via: visits x twice",
        f"{path}:15: neighbours[1].secret_file: {tmp_path}/none: No such file",
    ]
    for text in expected:
        assert any(problem.startswith(text) for problem in problems), text
    assert len(problems) == len(expected), problems
    assert SECRET[:20] not in str(problems)


def neighbour(name: str, node_id: int, **changes: Any) -> dict[str, Any]:
    address = f"10.0.0.{node_id}:7000"
    secret = f"{node_id:064x}"
    return {"name": name, "node_id": node_id, "address": address, "secret": secret, **changes}


def track(kind: str, port: int, **changes: Any) -> dict[str, Any]:
    codec, clock_rate = ("H264", 90_000) if kind == "video" else ("opus", 48_000)
    listen = f"0.0.0.0:{port}"
    common = {"kind": kind, "codec": codec, "listen": listen, "clock_rate": clock_rate}
    return {**common, "payload_type": 96, **changes}


def versions(*tracks: dict[str, Any]) -> dict[str, Any]:
    return {"ingests": [{"name": "s", "tracks": list(tracks)}]}


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    (
        {"neighbours": [neighbour("a", 2)]},
        "neighbours[0].name: node name a is already that of name",
    ),
    (
        {"neighbours": [neighbour("b", 1, address="10.0.0.2:1")]},
        "neighbours[0].node_id: node id 1 is already that",
    ),
    (
        {"neighbours": [neighbour("b", 2), neighbour("c", 3, address="10.0.0.2:7000")]},
        "neighbours[1].address: address 10.0.0.2:7000 is already that of neighbours[0].address",
    ),
    (
        {"neighbours": [neighbour("b", 2), neighbour("c", 3, secret=f"{2:064x}")]},
        "neighbours[1].secret: is also that of neighbours[0].secret",
    ),
    (
        {"neighbours": [neighbour("b", 2, address="10.0.0.1:7000")]},
        "neighbours[0].address: is this node's own listen address",
    ),
    (
        {"neighbours": [neighbour("b", 2, secret_file="x")]},
        "neighbours[0].secret: give secret or secret_file, not both",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("video", 1), track("video", 3)]}]},
        "ingests[0].tracks[1].kind: kind video is already that of ingests[0].tracks[0].kind",
    ),
    (
        versions(track("video", 1, bitrate_bps=9000), track("video", 3, version=2)),
        "ingests[0].tracks: versions are [0, 2]; they are to be 0, 1, 2 and so on",
    ),
    (
        versions(track("video", 1), track("video", 3, version=1, bitrate_bps=9000)),
        "ingests[0].tracks[0].bitrate_bps: is needed of each of several versions",
    ),
    (
        versions(
            track("video", 1, bitrate_bps=9000), track("video", 3, version=1, bitrate_bps=9000)
        ),
        "ingests[0].tracks[1].bitrate_bps: is 9000, not below the 9000 of a better version",
    ),
    (
        versions(
            track("video", 1, bitrate_bps=9000),
            track("video", 3, version=1, bitrate_bps=8000, codec="VP8"),
        ),
        "ingests[0].tracks[1].codec: codec and clock_rate are to be those of version 0",
    ),
    (
        versions(track("video", 1), track("audio", 3, version=1)),
        "ingests[0].tracks[1].version: only video has versions",
    ),
    (
        {
            "ingests": [
                {
                    "name": "s" * 63,
                    "tracks": [
                        track("video", 1, bitrate_bps=9000),
                        track("video", 3, version=1, bitrate_bps=8000),
                    ],
                }
            ]
        },
        f"ingests[0].name: is too long: {'s' * 63}.1 is a version of it",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("audio", 1, codec="H264")]}]},
        "ingests[0].tracks[0].codec: H264 is not a codec of audio",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("audio", 0)]}]},
        "ingests[0].tracks[0].listen: an encoder needs a fixed port, not 0",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("audio", 7000)]}]},
        "ingests[0].tracks[0].listen: the same UDP socket as listen",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("video", 1), track("audio", 1)]}]},
        "ingests[0].tracks[1].payload_type: on the same socket, payload type 96 is already that of "
        "ingests[0].tracks[0].payload_type",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("video", 1, rtx_payload_type=96)]}]},
        "ingests[0].tracks[0].rtx_payload_type: on the same socket, payload type 96 is already "
        "that of ingests[0].tracks[0].payload_type",
    ),
    (
        {
            "ingests": [
                {
                    "name": "s",
                    "tracks": [track("video", 1), track("audio", 1, payload_type=97, rtcp="mux")],
                }
            ]
        },
        "ingests[0].tracks[1].rtcp: differs from ingests[0].tracks[0], which has the same socket",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("video", 1), track("audio", 2)]}]},
        "ingests[0].tracks[0].rtcp: the same UDP socket as ingests[0].tracks[1].listen: use rtcp",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("video", 6999)]}]},
        "ingests[0].tracks[0].rtcp: the same UDP socket as listen: use rtcp",
    ),
    (
        {
            "ingests": [
                {"name": f"s{n}", "tracks": [track("video", 1, payload_type=96 + n)]}
                for n in range(5)
            ]
        },
        "ingests[4].tracks[0].listen: at most 4 tracks share a socket",
    ),
    (
        {"neighbours": [neighbour("b", 2)], "paths": [{"stream": "*", "via": ["b", "a"]}]},
        "paths[0].via: leads through this node (a) itself",
    ),
    (
        {
            "neighbours": [neighbour("b", 2)],
            "ingests": [{"name": "s", "tracks": [track("video", 1)]}],
            "paths": [{"stream": "s", "via": ["b"]}],
        },
        "paths[0].stream: s starts at this node (ingests)",
    ),
    (
        {"ingests": [{"name": "s", "tracks": [track("video", 1)]}], "limits": {"ports": 2}},
        "limits.ports: is 2, but there are 4 sockets",
    ),
    (
        {"limits": {"viewers": 100_000}},
        "limits.cursors: is 8192, but each of 100000 viewers needs one for each track",
    ),
    (
        {
            "ingests": [
                {
                    "name": "s",
                    "tracks": [
                        track("video", 5004) | {"transport_cc_id": 3},
                        track("audio", 5006) | {"transport_cc_id": 3},
                    ],
                }
            ]
        },
        "ingests[0].tracks: numbers go across tracks: those that have them share one socket",
    ),
    (
        {"rate": {"viewers": {"min_bps": 5_000_000}}},
        "rate.viewers.min_bps: is above start_bps, 4000000",
    ),
    (
        {"viewers": {"rate_bps": 200_000}},
        "rate.viewers.min_bps: is above viewers.rate_bps, 200000",
    ),
    (
        {"rate": {"node_links": {"controller": "gcc", "start_bps": 500_000}}},
        "rate.node_links.min_bps: is above start_bps, 500000",
    ),
]


@pytest.mark.parametrize(("parts", "expected"), CONTRADICTIONS)
def test_contradictions(parts: dict[str, Any], expected: str) -> None:
    base = {"name": "a", "node_id": 1, "listen": "10.0.0.1:7000"}
    with pytest.raises(ConfigError) as raised:
        NodeConfig.model_validate({**base, **parts})
    (problem,) = raised.value.problems
    assert str(problem).startswith(expected)


def test_a_file_that_is_missing_or_not_toml(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    assert problems_of(missing) == [f"{missing}: No such file or directory"]
    broken = write(tmp_path, "name = a")
    (problem,) = problems_of(broken)
    assert problem == f"{broken}:1:8: is not TOML: Invalid value"


FILES: list[tuple[bytes, str]] = [
    (b'name = "a"\nnode_id = = 1\n', ":2:11: is not TOML: Invalid value"),
    (b'name = "a"\nlist = [1,\n', ":2: is not TOML: Invalid value"),
    (b'name = "a"\n# caf\xe9\n', ":2: is not UTF-8 text: byte 0xe9; save the file as UTF-8"),
    ('name = "a"'.encode("utf-16"), ":1: is not UTF-8 text: byte 0xff"),
    (b"x = " + b"[" * 5000 + b"]" * 5000, ": is not TOML for this program: nested too deeply"),
    (b"x = " + b"1" * 5000, ": is not TOML for this program: Exceeds the limit"),
    (b"#" * (1 << 20) + b"\n", ": is larger than 1048576 bytes"),
    (b"\0", ":1:1: is not TOML: Invalid statement"),
]


@pytest.mark.parametrize(("content", "expected"), FILES)
def test_files_that_are_not_configurations(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "node.toml"
    path.write_bytes(content)
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}{expected}")


def test_a_directory_and_a_device_are_told_apart_from_files(tmp_path: Path) -> None:
    assert problems_of(tmp_path) == [f"{tmp_path}: Is a directory"]
    assert problems_of(Path("/dev/zero")) == [
        "/dev/zero: is larger than 1048576 bytes: not the file?"
    ]
    assert problems_of(Path("a\0b")) == ["a\0b: embedded null byte"]


def test_an_empty_file_lacks_what_is_required(tmp_path: Path) -> None:
    path = write(tmp_path, "")
    required = ["name", "node_id", "listen"]
    assert problems_of(path) == [f"{path}: {key}: is missing" for key in required]


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert load(tmp_path / "node.toml").name == "a"


VALUES: list[tuple[str, str]] = [
    ("neighbours = 3", "4: neighbours: must be an array; found 3"),
    ("admin = [1]", "4: admin: must be a table; found an array"),
    ("[admin]\nlissten = 1", "5: admin.lissten: unknown key; did you mean listen?"),
    (
        "[admin]\nviewer_wait_s = nan",
        "5: admin.viewer_wait_s: input should be less than or equal to 60; found nan",
    ),
    ("[kernel]\n\nuse_gro = 'x'", "6: kernel.use_gro: input should be a valid boolean, "),
    ("kernel.use_gro = 2", "4: kernel.use_gro: input should be a valid boolean, unable"),
    (
        "[[neighbours]]\nname = 'b'\nnode_id = 2\naddress = '1.1.1.1:1'\nsecret = 'x'\nsecrets = 1",
        "8: neighbours[0].secret: must be 64 hex digits (32 bytes); make one with",
    ),
    ("[[paths]]\nstream = 'x'", "4: paths[0].via: is missing"),
    (f"advertised_as = '{'x' * 200}'", "4: advertised_as: '" + "x" * 200 + "' is not of the form"),
]


@pytest.mark.parametrize(("text", "expected"), VALUES)
def test_a_bad_value_is_told_with_its_line(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, MINIMAL + text)
    assert problems_of(path)[0].startswith(f"{path}:{expected}")


def test_an_unknown_key_that_may_be_a_misspelt_secret_is_not_shown(tmp_path: Path) -> None:
    entry = f"name='b'\nnode_id=2\naddress='1.1.1.1:1'\nsecrt='{SECRET}'\n"
    path = write(tmp_path, f"{MINIMAL}[[neighbours]]\n{entry}")
    assert problems_of(path) == [
        f"{path}:8: neighbours[0].secrt: unknown key; did you mean secret?"
    ]


SECRET_FILES: list[tuple[bytes, str]] = [
    (b"ab\n", "must be 64 hex digits"),
    (b"\xff" * 64, "is not UTF-8 text"),
    (b"a" * 5000, "is larger than 4096 bytes"),
]


@pytest.mark.parametrize(("content", "expected"), SECRET_FILES)
def test_a_bad_secret_file_is_named(tmp_path: Path, content: bytes, expected: str) -> None:
    (tmp_path / "b.secret").write_bytes(content)
    entry = "name='b'\nnode_id=2\naddress='1.1.1.1:1'\nsecret_file='b.secret'\n"
    path = write(tmp_path, f"{MINIMAL}[[neighbours]]\n{entry}")
    (problem,) = problems_of(path)
    assert problem.startswith(f"{path}:8: neighbours[0].secret_file: {tmp_path / 'b.secret'}")
    assert expected in problem


ENVIRONMENT: list[tuple[str, str, str]] = [
    ("OVERLANE_NODE_ID", "x", "node_id: input should be a valid integer, unable to parse string"),
    ("overlane_node_id", "x", "node_id: input should be a valid integer, unable to parse string"),
    ("OVERLANE_ADMIN", '{"listen": 1}', "admin.listen: input should be a valid string; found 1"),
    ("OVERLANE_ADMIN__LISTEM", "x", "admin.listem: unknown key; did you mean listen?"),
    ("OVERLANE_PATHS", '[{"stream": "x"}]', "paths[0].via: is missing"),
    ("OVERLANE_PATHS", "[", "paths: must be JSON: Expecting value: line 1 column 2 (char 1)"),
    ("OVERLANE_LISTN", "x", "unknown key; did you mean listen?"),
]


@pytest.mark.parametrize(("variable", "value", "expected"), ENVIRONMENT)
def test_a_bad_variable_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, expected: str
) -> None:
    path = write(tmp_path, MINIMAL)
    monkeypatch.setenv(variable, value)
    (problem,) = problems_of(path)
    assert problem.startswith(f"environment {variable}: {expected}")


def test_variables_of_a_container_host_do_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLANE_PORT", "tcp://10.0.0.1:7000")
    monkeypatch.setenv("OVERLANE_SERVICE_HOST", "10.0.0.1")
    assert load(write(tmp_path, MINIMAL)).name == "a"


def test_a_flag_that_is_both_value_and_table(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    for flags in ({"log": "x", "log.level": "info"}, {"log.level": "info", "log": "x"}):
        last = list(flags)[-1]
        problems = problems_of(path, **flags)
        assert f"--set {last}: {last}: is set both as a value and as a table" in problems


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    text = f'[[neighbours]]\nname="b"\nnode_id=2\naddress="127.0.0.1:1"\nsecret="{SECRET}"\n'
    assert SECRET not in repr(load(write(tmp_path, MINIMAL + text)))


@pytest.mark.parametrize("payload_type", [64, 72, 95])
def test_payload_types_that_look_like_rtcp_are_refused(tmp_path: Path, payload_type: int) -> None:
    track = (
        f'[[ingests]]\nname = "x"\n[[ingests.tracks]]\nkind = "video"\ncodec = "H264"\n'
        f'listen = "127.0.0.1:5004"\npayload_type = {payload_type}\nclock_rate = 90000\n'
    )
    problems = problems_of(write(tmp_path, MINIMAL + track))
    assert [line for line in problems if "tracks[0].payload_type: 64 to 95" in line] == problems


FFMPEG_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=No Name
c=IN IP4 127.0.0.1
t=0 0
a=tool:libavformat LIBAVFORMAT_VERSION
m=video 5004 RTP/AVP 96
b=AS:500
a=rtpmap:96 H264/90000
a=fmtp:96 packetization-mode=1; sprop-parameter-sets=Z0LAHtkDxWhAAAADAEAAAAwDxYuS,aMuMsg==
m=audio 5006 RTP/AVP 97
a=rtpmap:97 opus/48000/2
a=fmtp:97 sprop-stereo=1
"""


def with_sdp(folder: Path, sdp: str, more: str = "") -> Path:
    (folder / "encoder.sdp").write_text(sdp)
    ingest = f'[[ingests]]\nname = "film"\nsdp_file = "encoder.sdp"\n{more}'
    return write(folder, MINIMAL + ingest)


def test_tracks_of_a_session_description(tmp_path: Path) -> None:
    (ingest,) = load(with_sdp(tmp_path, FFMPEG_SDP, 'sdp_listen = "127.0.0.1"\n')).ingests
    video, audio = ingest.tracks
    assert (video.listen, video.codec, video.payload_type) == ("127.0.0.1:5004", "H264", 96)
    assert video.rtcp_endpoint == ("127.0.0.1", 5005)
    assert (audio.listen, audio.codec, audio.clock_rate) == ("127.0.0.1:5006", "opus", 48_000)
    sps = bytes.fromhex("6742c01ed903c56840000003004000000c03c58b92")
    pps = bytes.fromhex("68cb8cb2")
    assert video.parameter_sets == b"\x78\0\x15" + sps + b"\0\4" + pps
    assert audio.parameter_sets == b""
    # As ffmpeg prints it; and with RTCP on the same port.
    muxed = "SDP:\n" + FFMPEG_SDP.replace("a=rtpmap:96", "a=rtcp-mux\na=rtpmap:96")
    (ingest,) = load(with_sdp(tmp_path, muxed)).ingests
    assert ingest.tracks[0].listen == "0.0.0.0:5004"
    assert ingest.tracks[0].rtcp_endpoint is None


HEVC_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=No Name
c=IN IP4 127.0.0.1
t=0 0
m=video 5004 RTP/AVP 96
a=rtpmap:96 H265/90000
a=fmtp:96 tx-mode=SRST; sprop-max-don-diff=0; sprop-vps=QAEM; sprop-sps=QgEBYA==; sprop-pps=RAHBcg
"""


def test_parameter_sets_of_h265(tmp_path: Path) -> None:
    (ingest,) = load(with_sdp(tmp_path, HEVC_SDP)).ingests
    (video,) = ingest.tracks
    vps, sps, pps = b"\x40\1\x0c", b"\x42\1\1\x60", b"\x44\1\xc1\x72"
    assert video.parameter_sets == b"\x60\1\0\3" + vps + b"\0\4" + sps + b"\0\4" + pps


def test_the_id_of_dependency_descriptors(tmp_path: Path) -> None:
    uri = "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension"
    extension = f"a=extmap:3 urn:other\na=extmap:12/sendonly {uri}\n"
    (ingest,) = load(with_sdp(tmp_path, HEVC_SDP + extension)).ingests
    assert ingest.tracks[0].dependency_id == 12
    (ingest,) = load(with_sdp(tmp_path, HEVC_SDP)).ingests
    assert ingest.tracks[0].dependency_id == 0


@pytest.mark.parametrize("codec", ["VP9", "AV1"])
def test_codecs_whose_key_frames_bring_all_they_need(tmp_path: Path, codec: str) -> None:
    sdp = HEVC_SDP.replace("H265", codec).replace("tx-mode=SRST", "profile-id=0")
    (ingest,) = load(with_sdp(tmp_path, sdp)).ingests
    (video,) = ingest.tracks
    assert (video.codec, video.clock_rate, video.parameter_sets) == (codec, 90_000, b"")
    assert video.fmtp.startswith("profile-id=0")


@pytest.mark.parametrize(
    ("sdp", "expected"),
    [
        ("no description", "line 1"),
        (
            FFMPEG_SDP.replace("H264", "MPV"),
            "video: MPV is none of H264, H265, VP8, VP9, AV1, opus",
        ),
        (FFMPEG_SDP.replace("RTP/AVP 96", "RTP/SAVPF 96"), "video: RTP/SAVPF is encrypted"),
        (
            FFMPEG_SDP.replace("a=rtpmap:96", "a=rtcp:5010\na=rtpmap:96"),
            "video: a=rtcp:5010 is neither port 5004 nor the next one",
        ),
        (FFMPEG_SDP.replace("Z0LAHt", "!!!!"), "sprop-parameter-sets is not base64 of SPS and PPS"),
        (FFMPEG_SDP.replace("mode=1", "mode=2"), "packetization-mode=2 is interleaved; send with"),
        (HEVC_SDP.replace("QgEB", "RAEB"), "sprop-pps is not base64 of VPS, SPS and PPS"),
        (HEVC_SDP.replace("sprop-pps=", "x="), "is not base64 of VPS, SPS and PPS"),
        (HEVC_SDP.replace("tx-mode=SRST", "tx-mode=MRST"), "tx-mode=MRST needs several streams"),
        (HEVC_SDP.replace("diff=0", "diff=2"), "sprop-max-don-diff above 0 is out of decoding"),
    ],
)
def test_session_descriptions_that_do_not_do(tmp_path: Path, sdp: str, expected: str) -> None:
    assert any(expected in line for line in problems_of(with_sdp(tmp_path, sdp)))


def test_a_session_description_that_is_missing_or_not_alone(tmp_path: Path) -> None:
    path = with_sdp(tmp_path, FFMPEG_SDP, '[[ingests.tracks]]\nkind = "video"\n')
    assert any("give sdp_file or tracks, not both" in line for line in problems_of(path))
    path = with_sdp(tmp_path, FFMPEG_SDP)
    (tmp_path / "encoder.sdp").unlink()
    assert any("encoder.sdp: No such file" in line for line in problems_of(path))


def test_workers_have_consecutive_ports(tmp_path: Path) -> None:
    text = 'workers = 3\nadvertised_as = "192.0.2.1:9000"\n' + MINIMAL
    config = load(write(tmp_path, text))
    assert [port for _, port in config.worker_endpoints] == [7001, 7002, 7003]
    assert config.reached_ports == (9000, 9001, 9002)
    assert [port for _, port in config.viewer_endpoints] == [0, 0, 0]


def test_auto_counts_the_cores_of_the_process(tmp_path: Path) -> None:
    cores = usable_cores()
    config = load(write(tmp_path, 'workers = "auto"\n' + MINIMAL))
    assert config.worker_count == (cores - 1 if cores > 2 else cores)


def test_contradictions_of_workers_are_told_with_their_keys(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        f"""workers = 4
worker_cpus = [0, 1, 1]
{MINIMAL}
advertised_as = "192.0.2.1:65533"
[viewers]
listen = "127.0.0.1:7004"
[limits]
slab_mib = 15
[[ingests]]
name = "s"
[[ingests.tracks]]
kind = "video"
codec = "H264"
listen = "127.0.0.1:7002"
payload_type = 96
clock_rate = 90000
""",
    )
    found = {problem.split(": ", 1)[1] for problem in problems_of(path)}
    assert found == {
        "worker_cpus: names a core twice",
        "worker_cpus: names 3 cores for 4 workers",
        "advertised_as: leaves no room for the ports of 4 workers after it",
        "viewers.listen: the same UDP socket as listen (worker 3)",
        "limits.slab_mib: is 15, shared by 4 workers, which need 4 each",
        "ingests[0].tracks[0].listen: the same UDP socket as listen (worker 1)",
        "ingests[0].tracks[0].rtcp: the same UDP socket as listen (worker 2): "
        'use rtcp = "mux", or leave the port after "listen" free',
    }


@pytest.mark.parametrize("workers", ["0", "65", '"many"', "1.5"])
def test_a_number_of_workers_that_cannot_be(tmp_path: Path, workers: str) -> None:
    (*_, problem) = problems_of(write(tmp_path, f"workers = {workers}\n{MINIMAL}"))
    assert "workers" in problem


def parts_of(ingests: int) -> Parts:
    listens = [f"127.0.0.{1 + number % 8}:{5000 + 2 * (number // 8)}" for number in range(ingests)]
    made = [
        {"name": f"s{at}", "tracks": [track("video", at, listen=listen)]}
        for at, listen in enumerate(listens)
    ]
    document = {"name": "n", "node_id": 1, "listen": "127.0.0.1:4000", "ingests": made}
    document |= {"limits": {"streams": 10_000, "ports": 10_000}}
    return Parts.of(NodeConfig.model_validate(document))


def calls_of(parts: Parts) -> int:
    """How many functions are called, or generators resumed, to check it."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        assert cross_check(parts) == []
    finally:
        sys.setprofile(before)
    return calls


def test_many_ingests_are_checked_in_proportion_to_their_number() -> None:
    few, many = calls_of(parts_of(100)), calls_of(parts_of(400))
    assert many < 5 * few


def test_sockets_that_clash_are_found_as_by_comparing_each_with_each() -> None:
    rng = Random(11)
    hosts = ["0.0.0.0", "127.0.0.1", "192.0.2.1", "::", "::1"]
    sockets = Sockets()
    taken: list[tuple[str, Address]] = []
    for number in range(300):
        address = rng.choice(hosts), rng.choice([0, 5000, 5001, 5002])
        expected = [key for key, other in taken if clashes(address, other)]
        assert sockets.clashing_with(address) == expected
        taken.append((f"key {number}", address))
        sockets.add(*taken[-1])


def test_each_version_of_a_video_is_subscribed_to_by_itself() -> None:
    tracks = [
        track("video", 1, bitrate_bps=9_000_000),
        track("audio", 3),
        track("video", 5, version=1, bitrate_bps=1_000_000),
    ]
    base = {"name": "a", "node_id": 1, "listen": "10.0.0.1:7000"}
    config = NodeConfig.model_validate({**base, **versions(*tracks)})
    found = [
        (part.name, [t.kind for t in part.tracks], part.bitrates_bps) for part in config.broadcasts
    ]
    bitrates = (9_000_000, 1_000_000)
    assert found == [("s", ["video", "audio"], bitrates), ("s.1", ["video"], bitrates)]
    alone = NodeConfig.model_validate({**base, **versions(track("video", 1), track("audio", 3))})
    assert [part.bitrates_bps for part in alone.broadcasts] == [()]
    taken = [*versions(*tracks)["ingests"], {"name": "s.1", "tracks": [track("audio", 9)]}]
    with pytest.raises(ConfigError, match=r"stream name s\.1 is already"):
        NodeConfig.model_validate({**base, "ingests": taken})
