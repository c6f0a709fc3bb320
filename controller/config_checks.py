"""What a brain's configuration must not contradict itself in: names, ids, pairs, TLS.

Works on the parts that are well formed by themselves, so one typing error hides no other problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controller.tls import TlsError, server_context
from service.address import ip_of, parse_address
from service.errors import Problem

if TYPE_CHECKING:
    from controller.config import IntervalsModel, Link, Node


@dataclass(frozen=True, slots=True)
class Parts:
    """The well-formed parts; list entries with their index in the file."""

    listen: str | None
    certificate_file: Path | None
    key_file: Path | None
    client_ca_file: Path | None
    allow_plain_text: bool
    nodes: Sequence[tuple[int, Node]]
    links: Sequence[tuple[int, Link]]
    intervals: IntervalsModel | None
    has_all_nodes: bool


def cross_check(parts: Parts) -> list[Problem]:
    """Every contradiction between parts."""
    return [
        *_check_tls(parts),
        *_check_nodes(parts),
        *_check_links(parts),
        *_check_intervals(parts),
    ]


def _check_tls(parts: Parts) -> Iterator[Problem]:
    certificate, key = parts.certificate_file, parts.key_file
    if (certificate is None) != (key is None):
        yield Problem("certificate_file", "comes with key_file, and the other way round")
        return
    if certificate is None or key is None:
        yield from _check_plain_text(parts)
        return
    if parts.allow_plain_text:
        yield Problem("allow_plain_text", "is true, but there is a certificate: drop one of them")
    try:
        server_context(certificate, key, parts.client_ca_file)
    except TlsError as error:
        yield Problem(error.key, str(error))


def _check_plain_text(parts: Parts) -> Iterator[Problem]:
    if not parts.allow_plain_text:
        text = "is missing: make one with overlane token brain, or bring your own"
        yield Problem("certificate_file", text)
    elif parts.listen is not None and not ip_of(parse_address(parts.listen)).is_loopback:
        yield Problem("allow_plain_text", f"is for loopback only, and listen is {parts.listen}")
    if parts.client_ca_file is not None:
        yield Problem("client_ca_file", "needs TLS: certificate_file and key_file")


def _check_nodes(parts: Parts) -> Iterator[Problem]:
    yield from _repeated("name", [(f"nodes[{i}].name", n.name) for i, n in parts.nodes])
    yield from _repeated("id", [(f"nodes[{i}].node_id", n.node_id) for i, n in parts.nodes])
    hashes = [(f"nodes[{i}].token_hash", n.token_hash) for i, n in parts.nodes if n.token_hash]
    first: dict[object, str] = {}
    for key, value in hashes:
        if (other := first.setdefault(value, key)) != key:
            yield Problem(key, f"is also that of {other}; each node has a token of its own")
    for i, node in parts.nodes:
        given = (node.token_hash is not None) + (node.token_hash_file is not None)
        if given != 1:
            text = "give token_hash or token_hash_file" + (", not both" if given else "")
            yield Problem(f"nodes[{i}].token_hash", text)


def _check_links(parts: Parts) -> Iterator[Problem]:
    names = {node.name for _, node in parts.nodes}
    first: dict[frozenset[str], str] = {}
    for i, link in parts.links:
        key = f"links[{i}]"
        if link.a == link.b:
            yield Problem(f"{key}.b", f"{link.b} has no link with itself")
            continue
        for end in ("a", "b"):
            name = getattr(link, end)
            if parts.has_all_nodes and name not in names:
                yield Problem(f"{key}.{end}", f"no node is called {name}")
        pair = frozenset((link.a, link.b))
        if (other := first.setdefault(pair, key)) != key:
            yield Problem(key, f"{link.a} and {link.b} have an entry already: {other}")


def _check_intervals(parts: Parts) -> Iterator[Problem]:
    times = parts.intervals
    if times is not None and times.dead_after_s < 2 * times.heartbeat_s:
        text = f"is {times.dead_after_s:g}, at least two heartbeats ({2 * times.heartbeat_s:g})"
        yield Problem("intervals.dead_after_s", text)


def _repeated(what: str, values: Iterable[tuple[str, object]]) -> Iterator[Problem]:
    first: dict[object, str] = {}
    for key, value in values:
        if (other := first.setdefault(value, key)) != key:
            yield Problem(key, f"{what} {value} is already that of {other}")
