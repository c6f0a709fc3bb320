"""A brain's configuration: the example, defaults, and every problem at once with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from control_client.tokens import token_hash
from controller.config import ControllerConfig
from controller.config_file import is_controller_file, load
from controller.paths import SearchMode
from relay.config_file import load as load_node
from service.errors import ConfigError
from tests.controller.running_brain import Site

CONFIGS = Path(__file__).parents[2] / "configs"
PLAIN = 'listen = "127.0.0.1:7100"\nstate_dir = "state"\nallow_plain_text = true\n'
HASHES = [token_hash(str(number)) for number in range(3)]


def node(number: int, **more: object) -> str:
    fields = {"name": f"n{number}", "node_id": number, "token_hash": HASHES[number], **more}
    lines = [f"{k} = {v!r}" if isinstance(v, int) else f'{k} = "{v}"' for k, v in fields.items()]
    return "[[nodes]]\n" + "\n".join(lines) + "\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "brain.toml"
    path.write_text(text)
    return path


def problems(tmp_path: Path, text: str, **flags: object) -> list[str]:
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as raised:
        load(path, {key.replace("__", "."): value for key, value in flags.items()})
    return [str(problem).replace(str(path), "F") for problem in raised.value.problems]


def test_the_example_is_the_defaults() -> None:
    config = load(CONFIGS / "controller.toml")
    assert [n.name for n in config.nodes] == ["london", "tokyo"]
    assert config.links[0].rate_bps == 50_000_000
    bare = ControllerConfig(
        listen=config.listen,
        state_dir=config.state_dir,
        allow_plain_text=True,
        nodes=config.nodes,
        links=config.links,
    )
    assert bare.settings() == config.settings()
    assert config.state_dir == CONFIGS / "controller-state"
    assert is_controller_file(CONFIGS / "controller.toml")
    assert not is_controller_file(CONFIGS / "relay.toml")


def test_every_key_reaches_the_core(tmp_path: Path) -> None:
    text = (
        PLAIN
        + node(1, last_resort=1, generation=4).replace("last_resort = 1", "last_resort = true")
        + node(2)
        + '[[links]]\na = "n2"\nb = "n1"\nenabled = false\na_reaches_b_at = "10.0.0.1:7"\n'
        "[mesh]\nall_pairs = false\nrate_bps = 5_000_000\n"
        '[routing]\nk = 2\nmax_hops = 2\nhop_cost_us = 7\nmode = "filter_after"\n'
        "[intervals]\nreport_s = 5\nheartbeat_s = 0.5\ndead_after_s = 1.5\nalarm_permille = 700\n"
        "[rehome]\nhold_s = 3.5\nmax_moves = 7\n[popularity]\npopular_views = 9\n"
    )
    settings = load(write(tmp_path, text)).settings()
    assert settings.last_resort == {"n1"}
    assert [(n.name, n.node_id, n.generation) for n in settings.nodes] == [
        ("n1", 1, 4),
        ("n2", 2, 1),
    ]
    (rule,) = settings.links
    assert (rule.pair, rule.is_enabled, rule.a_reaches_b_at) == (("n1", "n2"), False, "10.0.0.1:7")
    assert (settings.joins_all_pairs, settings.link_rate_bps) == (False, 5_000_000)
    routing = settings.path_config
    assert (routing.k, routing.max_hops, routing.mode) == (2, 2, SearchMode.FILTER_AFTER)
    assert (routing.cost.hop_cost_us, set(routing.last_resort)) == (7, {"n1"})
    times = settings.intervals
    assert (times.report_us, times.heartbeat_us, times.dead_after_us) == (
        5_000_000,
        500_000,
        1_500_000,
    )
    assert settings.discovery.report_period_us == 5_000_000
    assert settings.discovery.alarm_level == 0.7
    assert settings.rehome_config.hold_us == 3_500_000
    assert settings.popularity.popular_views == 9


def test_all_problems_at_once_with_their_lines(tmp_path: Path) -> None:
    text = (
        'listen = "127.0.0.1:7100"\n'
        "allow_plain_txt = true\n"
        "[intervals]\nreport_s = 0\n"
        + node(1)
        + node(1, token_hash="xyz")
        + '[[links]]\na = "n1"\nb = "n1"\n[[links]]\na = "n1"\nb = "paris"\n'
    )
    assert problems(tmp_path, text) == [
        "F: state_dir: is missing",
        "F:12: nodes[1].token_hash: must be 64 hex digits: overlane token node NAME makes token "
        "and hash",
        "F:4: intervals.report_s: input should be greater than or equal to 1; found 0",
        "F:2: allow_plain_txt: unknown key; did you mean allow_plain_text?",
        "F: certificate_file: is missing: make one with overlane token brain, or bring your own",
        "F:15: links[0].b: n1 has no link with itself",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (PLAIN + node(1) + node(2, node_id=1), "F:10: nodes[1].node_id: id 1 is already that of "),
        (PLAIN + node(1) + node(2, name="n1"), "F:9: nodes[1].name: name n1 is already that of "),
        (
            PLAIN + node(1) + node(2, token_hash=HASHES[1]),
            "F:11: nodes[1].token_hash: is also that of nodes[0].token_hash; each node has a token",
        ),
        (PLAIN + '[[nodes]]\nname = "a"\nnode_id = 1\n', "give token_hash or token_hash_file"),
        (
            PLAIN + node(1, token_hash_file="x"),
            "give token_hash or token_hash_file, not both",
        ),
        (
            PLAIN + '[[nodes]]\nname = "a"\nnode_id = 1\ntoken_hash_file = "no.hash"\n',
            "no.hash: No such file or directory",
        ),
        (
            PLAIN + node(1) + node(2) + 2 * '[[links]]\na = "n1"\nb = "n2"\n',
            "links[1]: n1 and n2 have an entry already: links[0]",
        ),
        (PLAIN.replace("127.0.0.1", "0.0.0.0"), "F:3: allow_plain_text: is for loopback only"),
        (PLAIN + 'certificate_file = "a"\n', "comes with key_file"),
        (
            PLAIN + 'certificate_file = "a"\nkey_file = "b"\n',
            "is true, but there is a certificate: drop one of them",
        ),
        (PLAIN + 'client_ca_file = "a"\n', "needs TLS: certificate_file and key_file"),
        (PLAIN + "[intervals]\ndead_after_s = 6\n", "is 6, at least two heartbeats (10)"),
        (PLAIN + "[routing]\nk = 5\n", "routing.k: input should be less than or equal to 4"),
        (PLAIN + "nodes = 3\n", "nodes: must be an array"),
    ],
)
def test_contradictions(tmp_path: Path, text: str, expected: str) -> None:
    assert any(expected in problem for problem in problems(tmp_path, text))


def test_certificates_are_tried_before_the_start(tmp_path: Path) -> None:
    site = Site(tmp_path).make()
    assert load(site.config).certificate_file == tmp_path / "brain.pem"
    (tmp_path / "brain.key").write_bytes((tmp_path / "ca.key").read_bytes())
    with pytest.raises(ConfigError, match="no certificate with its key"):
        load(site.config)
    (tmp_path / "brain.key").unlink()
    with pytest.raises(ConfigError, match=r"key_file: .*brain.key: No such file"):
        load(site.config)


def test_a_hash_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.hash").write_text(HASHES[0] + "\n")
    text = PLAIN + '[[nodes]]\nname = "a"\nnode_id = 1\ntoken_hash_file = "a.hash"\n'
    assert load(write(tmp_path, text)).known_nodes[0].token_hash == HASHES[0]


def test_environment_and_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, PLAIN)
    monkeypatch.setenv("OVERLANE_BRAIN_API__LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("OVERLANE_ADMIN__LISTEN", "127.0.0.1:2")  # a node's
    assert load(path).api.listen == "127.0.0.1:1"
    assert load(path, {"api.listen": "127.0.0.1:3"}).api.listen == "127.0.0.1:3"
    monkeypatch.setenv("OVERLANE_BRAIN_API__LISTN", "x")
    (problem,) = problems(tmp_path, PLAIN)
    assert problem == (
        "environment OVERLANE_BRAIN_API__LISTN: api.listn: unknown key; did you mean listen?"
    )


def test_a_nodes_configuration_does_not_mind_the_brains_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OVERLANE_BRAIN_API__LISTEN", "127.0.0.1:1")
    assert load_node(CONFIGS / "relay.toml").name
