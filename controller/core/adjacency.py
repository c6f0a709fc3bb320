"""Which nodes have links with each other.

Every pair of members, as long as each node has room for all others (its limits.node_links). A pair
that has a rule of its own follows it. Where there is no room for all, pairs are taken in this
order while both have room: those with a rule, those with a last-resort node, then the nearest by
round trip, where a pair that has a link already counts as a fifth nearer, so that links do not come
and go with each measurement; pairs never measured come last, in an order that favours no node.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple, TypeAlias

from control_client.messages import MAX_NEIGHBOURS
from controller.core.members import Member
from controller.core.settings import BrainSettings, LinkRule
from controller.tables.table_compiler import Adjacency, Place
from service.address import ip_of, parse_address

STAYING = 0.8  # chosen: what a link that is there already counts of its round trip

Pair: TypeAlias = tuple[str, str]
RttUs: TypeAlias = Callable[[str, str], float]


@dataclass(frozen=True, slots=True)
class Mesh:
    """adjacencies: by pair, names in order. limited: nodes that have no room for all they should
    have links with. problems: nodes and pairs that had to be left out, and why, one line each."""

    places: tuple[Place, ...]
    adjacencies: tuple[Adjacency, ...]
    limited: tuple[str, ...]
    problems: dict[str, str]

    @property
    def pairs(self) -> frozenset[Pair]:
        return frozenset((adjacency.a, adjacency.b) for adjacency in self.adjacencies)


def build_mesh(
    members: Sequence[Member], settings: BrainSettings, rtt_us: RttUs, before: frozenset[Pair]
) -> Mesh:
    """rtt_us: of two nodes, inf if there is no link. before: pairs that have a link already."""
    problems: dict[str, str] = {}
    placed = frozenset(name for pair in before for name in pair)
    places = _places(members, placed, problems)
    rules = {rule.pair: rule for rule in settings.links}
    wanted = list(_wanted([place.name for place in places], rules, settings.joins_all_pairs))
    room = {place.name: place.max_neighbours for place in places}
    short = _short(wanted, room)
    if short:
        order = _Order(settings.last_resort, rules, rtt_us, before)
        wanted.sort(key=order.rank)
    addresses: dict[str, dict[str, str]] = {place.name: {} for place in places}
    by_name = {place.name: place for place in places}
    taken = []
    for pair in wanted:
        a, b = (by_name[name] for name in pair)
        if not room[a.name] or not room[b.name]:
            continue
        adjacency = _adjacency(a, b, rules.get(pair), settings.link_rate_bps)
        unreached = _unreached(adjacency, a, b)
        if unreached is not None:
            problems.setdefault(*unreached)
            continue
        if (problem := _clash(adjacency, by_name, addresses)) is not None:
            problems[f"{a.name} to {b.name}"] = problem
            continue
        room[a.name] -= 1
        room[b.name] -= 1
        taken.append(adjacency)
    taken.sort(key=lambda adjacency: (adjacency.a, adjacency.b))
    return Mesh(tuple(places), tuple(taken), short, problems)


def _places(
    members: Sequence[Member], placed: frozenset[str], problems: dict[str, str]
) -> list[Place]:
    """placed: who has links. Of two nodes at one address that is the one that is connected; if both
    are, who had its place before the other claimed it."""

    def rank(member: Member) -> tuple[bool, bool, int, str]:
        is_away = member.connection is None
        age = -member.seen_us if is_away else member.joined_us
        return is_away, member.name not in placed, age, member.name

    taken: dict[str, str] = {}
    places = []
    for member in sorted(members, key=rank):
        if _host(member.address).is_none:
            problems[member.name] = f"its address {member.address} is no host"
            continue
        other = taken.setdefault(member.address, member.name)
        if other != member.name:
            problems[member.name] = f"its address {member.address} is that of {other} as well"
            continue
        known = member.known
        places.append(
            Place(
                member.name,
                known.node_id,
                member.address,
                member.capacity.node_links,
                known.generation,
            )
        )
    places.sort(key=lambda place: place.name)
    return places


def _wanted(
    names: Sequence[str], rules: dict[Pair, LinkRule], joins_all_pairs: bool
) -> Iterator[Pair]:
    if joins_all_pairs:
        for pair in combinations(names, 2):
            if pair not in rules or rules[pair].is_enabled:
                yield pair
    else:
        present = set(names)
        for pair, rule in sorted(rules.items()):
            if rule.is_enabled and present.issuperset(pair):
                yield pair


def _short(wanted: Iterable[Pair], room: dict[str, int]) -> tuple[str, ...]:
    """Who has no room for all."""
    count = dict.fromkeys(room, 0)
    for a, b in wanted:
        count[a] += 1
        count[b] += 1
    return tuple(name for name in sorted(room) if count[name] > room[name])


@dataclass(frozen=True, slots=True)
class _Order:
    last_resort: frozenset[str]
    rules: dict[Pair, LinkRule]
    rtt_us: RttUs
    before: frozenset[Pair]

    def rank(self, pair: Pair) -> tuple[int, float, int, Pair]:
        a, b = pair
        is_reserved = a in self.last_resort or b in self.last_resort
        group = 0 if pair in self.rules else 1 if is_reserved else 2
        distance_us = self.rtt_us(a, b) * (STAYING if pair in self.before else 1.0)
        return group, distance_us, zlib.crc32(f"{a} {b}".encode()), pair


def _adjacency(a: Place, b: Place, rule: LinkRule | None, rate_bps: int) -> Adjacency:
    if rule is None:
        return Adjacency(a.name, b.name, rate_bps, rate_bps)
    rate_bps = rule.rate_bps or rate_bps
    b_at, a_at = rule.a_reaches_b_at, rule.b_reaches_a_at
    if rule.a != a.name:
        b_at, a_at = a_at, b_at
    return Adjacency(a.name, b.name, rate_bps, rate_bps, b_address=b_at, a_address=a_at)


def _unreached(adjacency: Adjacency, a: Place, b: Place) -> tuple[str, str] | None:
    """Whom a node refuses as a neighbour, and with it the whole table: as `_address_fault` of
    `relay/neighbourhood`. Returns of whom, and why."""
    has_no_override = adjacency.a_address is None and adjacency.b_address is None
    if has_no_override and _host(a.address) == _host(b.address):
        return None  # nearly all of them
    for node, peer, override in ((a, b, adjacency.b_address), (b, a, adjacency.a_address)):
        address = override or peer.address
        own, there = _host(node.address), _host(address)
        if there.version != own.version:
            return (
                f"{a.name} to {b.name}",
                f"{node.name} is reached by IPv{own.version}, {peer.name} is at {address}",
            )
        if there.is_loopback and not own.is_loopback:
            if override is None:
                return peer.name, f"its address {address} is its own host alone"
            return f"{a.name} to {b.name}", f"{address} is {node.name}'s own host alone"
        if there.is_none:
            return f"{a.name} to {b.name}", f"{address} is no host"
    return None


class _Host(NamedTuple):
    """What matters of an address. is_none: nobody is to be reached there."""

    version: int
    is_loopback: bool
    is_none: bool


@lru_cache(maxsize=2 * MAX_NEIGHBOURS)  # each is looked at once a pair
def _host(address: str) -> _Host:
    ip = ip_of(parse_address(address))
    is_none = ip.is_multicast or ip.is_unspecified or str(ip) == "255.255.255.255"
    return _Host(ip.version, ip.is_loopback, is_none)


def _clash(
    adjacency: Adjacency, places: dict[str, Place], addresses: dict[str, dict[str, str]]
) -> str | None:
    """A node cannot tell two neighbours at one address apart."""
    a, b = places[adjacency.a], places[adjacency.b]
    ends = (
        (a, b, adjacency.b_address or b.address),
        (b, a, adjacency.a_address or a.address),
    )
    for node, _, address in ends:
        other = addresses[node.name].get(address)
        if other is not None:
            return f"{node.name} reaches {other} at {address} as well"
    for node, peer, address in ends:
        addresses[node.name][address] = peer.name
    return None
