"""The examples load, and a bad configuration is told all that is wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from relay.config import NodeConfig
from relay.config_file import load
from relay.errors import ConfigError

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


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("**/*.toml")), ids=str)
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
        "environment: OVERLANE_KERNAL__USE_GRO: unknown key",
        f"{path}: name: string should match pattern",
        f"{path}: node_id: input should be greater than or equal to 1",
        "environment: admin.listen: 'localhost' in 'localhost:1' is not an IP address",
        "flag: log.level: input should be",
        f"{path}: neighbours[0].secret: must be 64 hex digits",
        f"{path}: neighbours[2].address: others cannot send to a wildcard address",
        f"{path}: colour: unknown key",
        f"{path}: limits.node_links: input should be greater",
        f"{path}: neighbours[1].address: is IPv6, but listen is 127.0.0.1:0",
        f"{path}: listen: neighbours need a fixed port",
        f"{path}: paths[0].via: starts at x, which is not a neighbour",
        f"{path}: paths[0].via: visits x twice",
        f"{path}: neighbours[1].secret_file: {tmp_path}/none: No such file",
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
    assert problem.startswith(f"{broken}: is not TOML: ")
    assert "line 1" in problem


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


@pytest.mark.parametrize(
    ("sdp", "expected"),
    [
        ("no description", "line 1"),
        (FFMPEG_SDP.replace("H264", "MPV"), "video: MPV is none of H264, VP8, opus"),
        (FFMPEG_SDP.replace("Z0LAHt", "!!!!"), "sprop-parameter-sets is not base64"),
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
