"""[controller] of a node's configuration: what it needs, and each problem with its line."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from control_client.certificates import issue, new_lab_ca
from control_client.tokens import new_token
from relay.config import NodeConfig
from relay.config_file import load
from service.errors import ConfigError

ROOT = Path(__file__).parents[2]
TOKEN = new_token()
HEAD = 'name = "a"\nnode_id = 1\nlisten = "127.0.0.1:7000"\n'
WSS = 'url = "wss://brain.example.net:7443/control"\n'
GIVEN = f'token = "{TOKEN}"\n'


def write(folder: Path, controller: str, head: str = HEAD) -> Path:
    path = folder / "node.toml"
    path.write_text(f"{head}[controller]\n{controller}")
    return path


def problems_of(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as raised:
        load(path)
    return [str(problem).removeprefix(f"{path.parent}/") for problem in raised.value.problems]


def test_files_are_found_beside_the_configuration(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    ca = new_lab_ca("lab", now)
    pair = issue(ca, "a", (), "node", now, 2)
    (tmp_path / "a.token").write_text(TOKEN + "\n")
    for name, data in (
        ("ca.pem", ca.certificate_pem),
        ("a.pem", pair.certificate_pem),
        ("a.key", pair.key_pem),
    ):
        (tmp_path / name).write_bytes(data)
    files = 'token_file = "a.token"\nca_file = "ca.pem"\n'
    files += 'certificate_file = "a.pem"\nkey_file = "a.key"\n'
    controller = load(write(tmp_path, WSS + files)).controller
    assert controller is not None
    assert controller.token == TOKEN
    assert controller.ca_file == tmp_path / "ca.pem"
    assert controller.table_file == tmp_path / "a.table"
    assert not controller.is_plain_text
    assert TOKEN not in repr(controller)


def test_the_commented_example_is_one(tmp_path: Path) -> None:
    lines = (ROOT / "configs" / "relay.toml").read_text().splitlines()
    start = lines.index("#[controller]")
    end = next(n for n in range(start, len(lines)) if not lines[n])
    shown = [line[1:] for line in lines[start:end] if line.startswith("#") and line[1] != " "]
    assert len(shown) == 8
    now = datetime.now(UTC)
    ca = new_lab_ca("lab", now)
    pair = issue(ca, "frankfurt", (), "node", now, 2)
    (tmp_path / "frankfurt.token").write_text(TOKEN)
    (tmp_path / "ca.pem").write_bytes(ca.certificate_pem)
    (tmp_path / "frankfurt.pem").write_bytes(pair.certificate_pem)
    (tmp_path / "frankfurt.key").write_bytes(pair.key_pem)
    path = tmp_path / "relay.toml"
    path.write_text(HEAD + "\n".join(shown))
    assert load(path).controller is not None


def test_without_it_there_is_none(tmp_path: Path) -> None:
    path = tmp_path / "node.toml"
    path.write_text(HEAD)
    assert load(path).controller is None


def test_the_environment_may_hold_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OVERLANE_CONTROLLER__TOKEN", TOKEN)
    controller = load(write(tmp_path, WSS)).controller
    assert controller is not None
    assert controller.token == TOKEN


@pytest.mark.parametrize(
    ("controller", "expected"),
    [
        (GIVEN, "node.toml:4: controller.url: is missing"),
        (WSS, "node.toml:4: controller.token_file: give token_file"),
        (
            WSS + GIVEN + 'token_file = "a.token"\n',
            "node.toml:7: controller.token_file: give token_file or token, not both",
        ),
        (
            WSS + 'token_file = "none"\n',
            "node.toml:6: controller.token_file: {}/none: No such file or directory",
        ),
        (
            WSS + 'token_file = "node.toml"\n',
            "node.toml:6: controller.token_file: {}/node.toml: is no token; make one with: "
            "overlane token node NAME",
        ),
        (
            GIVEN + 'url = "ws://brain.example.net/control"\n',
            "node.toml:6: controller.url: ws://brain.example.net/control: plain text has to be "
            "allowed explicitly; use wss://",
        ),
        (
            GIVEN + 'url = "ws://192.0.2.1/control"\nallow_plain_text = true\n',
            "node.toml:6: controller.url: ws://192.0.2.1/control: plain text is for loopback "
            "only; use wss://",
        ),
        (
            GIVEN + 'url = "https://brain"\n',
            "node.toml:6: controller.url: 'https://brain' is no control channel: wss://HOST:PORT "
            "is expected",
        ),
        (
            WSS + GIVEN + 'ca_file = "none.pem"\n',
            "node.toml:7: controller.ca_file: {}/none.pem: no authority's certificate: "
            "No such file or directory",
        ),
        (
            WSS + GIVEN + 'key_file = "a.key"\n',
            "node.toml:4: controller.certificate_file: comes with key_file, and the other way "
            "round",
        ),
        (
            WSS + GIVEN + 'tokn_file = "x"\n',
            "node.toml:7: controller.tokn_file: unknown key; did you mean token_file?",
        ),
    ],
)
def test_problems_have_their_line(tmp_path: Path, controller: str, expected: str) -> None:
    assert problems_of(write(tmp_path, controller)) == [expected.format(tmp_path)]


def test_a_node_behind_a_wildcard_says_where_it_is_reached(tmp_path: Path) -> None:
    head = HEAD.replace("127.0.0.1", "0.0.0.0")
    (problem,) = problems_of(write(tmp_path, WSS + GIVEN, head))
    assert problem.startswith("node.toml: advertised_as: is needed with [controller]")
    load(write(tmp_path, WSS + GIVEN, head + 'advertised_as = "192.0.2.1:7000"\n'))


def test_plain_text_on_loopback_may_be_allowed(tmp_path: Path) -> None:
    text = GIVEN + 'url = "ws://127.0.0.1:7443/control"\nallow_plain_text = true\n'
    controller = load(write(tmp_path, text)).controller
    assert controller is not None
    assert controller.is_plain_text


def test_more_broadcasts_than_the_channel_takes() -> None:
    track = {"kind": "audio", "codec": "opus", "payload_type": 111, "clock_rate": 48_000}
    ingests = [
        {"name": f"s{n}", "tracks": [{**track, "listen": f"127.0.0.1:{10_000 + 2 * n}"}]}
        for n in range(257)
    ]
    with pytest.raises(ConfigError, match="ingests: are 257; a node with"):
        NodeConfig.model_validate(
            {
                "name": "a",
                "node_id": 1,
                "listen": "127.0.0.1:7000",
                "ingests": ingests,
                "limits": {"ports": 600},
                "controller": {"url": "wss://brain:1/control", "token": TOKEN},
            }
        )
