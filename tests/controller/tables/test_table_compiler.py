"""From what is wanted to tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from control_client.messages import Path
from control_client.table import NodeTable
from controller.tables.adjacency_secrets import Party, adjacency_secret
from controller.tables.errors import CompileError
from controller.tables.table_compiler import Adjacency, Place, TableCompiler

KEY = bytes(range(32))
PLACES = [
    Place(name, number, f"192.0.2.{number}:7000", 64)
    for number, name in enumerate(("london", "paris", "tokyo"), 1)
]
LINKS = [
    Adjacency("paris", "london", 1_000_000, 2_000_000),
    Adjacency("paris", "tokyo", 3_000_000, 4_000_000),
]
PATHS = {"tokyo": {"demo": (Path(("paris", "london"), 81_000),)}}


def test_both_sides_of_a_pair_fit() -> None:
    tables = TableCompiler(KEY).compile(PLACES, LINKS, PATHS)
    assert {name: sorted(table.neighbours) for name, table in tables.items()} == {
        "london": ["paris"],
        "paris": ["london", "tokyo"],
        "tokyo": ["paris"],
    }
    here, there = tables["paris"].neighbours["london"], tables["london"].neighbours["paris"]
    assert (here.node_id, here.address, here.rate_bps) == (1, "192.0.2.1:7000", 1_000_000)
    assert (there.node_id, there.address, there.rate_bps) == (2, "192.0.2.2:7000", 2_000_000)
    assert here.secret == there.secret != tables["tokyo"].neighbours["paris"].secret
    assert tables["tokyo"].paths == PATHS["tokyo"]
    assert tables["london"].paths == {}


def test_the_same_is_wanted_the_same_is_sent() -> None:
    """Whatever the order it is written down in, and after a restart."""
    compiler = TableCompiler(KEY)
    first = compiler.compile(PLACES, LINKS, PATHS)
    turned = [Adjacency(x.b, x.a, x.b_to_a_bps, x.a_to_b_bps) for x in reversed(LINKS)]
    for other in (compiler, TableCompiler(KEY)):
        again = other.compile(PLACES[::-1], turned, PATHS)
        assert again == first
        for name, table in again.items():
            assert list(table.neighbours) == list(first[name].neighbours)


def test_a_generation_changes_the_secrets_of_one_node() -> None:
    before = TableCompiler(KEY).compile(PLACES, LINKS, {})
    after = TableCompiler(KEY).compile(
        [replace(place, generation=2) if place.name == "london" else place for place in PLACES],
        LINKS,
        {},
    )
    assert before["london"] != after["london"]
    assert before["tokyo"] == after["tokyo"]


@pytest.mark.parametrize(
    ("compile_", "text"),
    [
        (lambda c: c(PLACES, [Adjacency("paris", "rome", 1, 1)], {}), "no node rome"),
        (lambda c: c(PLACES, [LINKS[0], LINKS[0]], {}), "paris to london is there twice"),
        (lambda c: c(PLACES, [Adjacency("paris", "paris", 1, 1)], {}), "or to itself"),
        (lambda c: c(PLACES * 2, [], {}), "node london is there twice"),
        (lambda c: c([PLACES[0], replace(PLACES[1], node_id=1)], [], {}), "both have id 1"),
        (
            lambda c: c([PLACES[0], replace(PLACES[1], address="192.0.2.1:7000")], [], {}),
            "london and paris are both at 192.0.2.1:7000",
        ),
        (
            lambda c: c([replace(place, max_neighbours=1) for place in PLACES], LINKS, {}),
            "paris: 2 neighbours, its limit is 1",
        ),
        (lambda c: c(PLACES, LINKS, {"rome": {}}), "paths of rome"),
        (
            lambda c: c(PLACES, LINKS, {"tokyo": {"demo": (Path(("london",), 1),)}}),
            "path tokyo london to demo: tokyo and london are not adjacent",
        ),
        (
            lambda c: c(PLACES, LINKS, {"tokyo": {"demo": (Path(("paris", "tokyo"), 1),)}}),
            "visits a node twice",
        ),
    ],
)
def test_what_contradicts_itself_makes_no_table(
    compile_: Callable[[object], dict[str, NodeTable]], text: str
) -> None:
    with pytest.raises(CompileError, match=text):
        compile_(TableCompiler(KEY).compile)


def test_secrets_differ_by_pair_key_and_generation() -> None:
    a, b = Party("a"), Party("b")
    secrets = [
        adjacency_secret(KEY, a, b),
        adjacency_secret(KEY[::-1], a, b),
        adjacency_secret(KEY, Party("a", 2), b),
        adjacency_secret(KEY, a, Party("b", 2)),
        adjacency_secret(KEY, a, Party("c")),
        adjacency_secret(KEY, Party("ab"), Party("c")),
        adjacency_secret(KEY, Party("a"), Party("bc")),
    ]
    assert len(set(secrets)) == len(secrets)
    assert {len(secret) for secret in secrets} == {32}
    assert adjacency_secret(KEY, b, a) == secrets[0]


def test_the_secret_is_hkdf_of_rfc_5869() -> None:
    """Against another implementation: secrets must not change with a version of this one."""
    info = b"overlane adjacency" + b"\x05paris\x00\x00\x00\x01" + b"\x05tokyo\x00\x00\x00\x02"
    expected = HKDFExpand(SHA256(), 32, info).derive(KEY)
    assert adjacency_secret(KEY, Party("tokyo", 2), Party("paris")) == expected


def test_a_bad_key_or_pair_is_an_error() -> None:
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        adjacency_secret(KEY[1:], Party("a"), Party("b"))
    with pytest.raises(ValueError, match="no neighbour of itself"):
        adjacency_secret(KEY, Party("a"), Party("a", 2))
