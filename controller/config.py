"""What a brain is told at start: frozen models, one per part; `config_file.load` reads them.

Unknown keys are errors, and all problems are reported at once, as for a node.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    TypeAdapter,
    ValidationError,
    model_validator,
)

from controller.config_checks import Parts, cross_check
from controller.core.settings import BrainSettings, LinkRule
from controller.paths import PathConfig, PopularityConfig, RehomeConfig, SearchMode
from controller.routing import CostConfig
from controller.tables.node_session import Intervals
from controller.tables.registry import KnownNode
from service.address import Address, parse_address
from service.config_model import AddressText, Log, Model, ReachableAddress, problems_of
from service.errors import ConfigError

T = TypeVar("T")


def _hash(text: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise ValueError("must be 64 hex digits: overlane token node NAME makes token and hash")
    return text


NodeName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=32)]
NodeId = Annotated[int, Field(ge=1, le=65_535)]
LinkRate = Annotated[int, Field(ge=100_000, le=100_000_000_000)]
TokenHash = Annotated[str, AfterValidator(_hash)]


class Api(Model):
    """The HTTP side: status, streams, paths, metrics."""

    listen: AddressText = "127.0.0.1:8090"
    """Chosen: loopback, because it tells everything to whoever asks. Port 0 draws one."""


class Node(Model):
    """A node that may connect."""

    name: NodeName
    node_id: NodeId
    """How links know it: what its own configuration says, and nobody else's."""
    token_hash: TokenHash | None = None
    """Of its token, as `overlane token node` prints it."""
    token_hash_file: Path | None = None
    """Or a file that holds it, relative to the configuration file."""
    last_resort: bool = False
    """Carries paths of pairs that have no other, and nothing else."""
    generation: int = Field(default=1, ge=1, le=0xFFFFFFFF)
    """Raise it, and the secrets of this node's links are others: its host was lost, or replaced."""


class Mesh(Model):
    """Which nodes have links with each other."""

    all_pairs: bool = True
    """Every two, as far as their limits.node_links allow. Otherwise only those of [[links]]."""
    rate_bps: LinkRate = 100_000_000
    """Pacing of each direction. Chosen: what the smallest hosts' uplinks carry."""


class Link(Model):
    """A pair of nodes that is not as the mesh would have it."""

    a: NodeName
    b: NodeName
    enabled: bool = True
    """false keeps the two apart; true joins them even without `mesh.all_pairs`."""
    rate_bps: LinkRate | None = None
    a_reaches_b_at: ReachableAddress | None = None
    """Where, if not at the address that b advertises: private networks, NAT."""
    b_reaches_a_at: ReachableAddress | None = None


class Routing(Model):
    """The search for paths (LiveNet, SIGCOMM 2022, 4.3)."""

    k: int = Field(default=3, ge=1, le=4)
    """How many paths of each pair. At most 4, as an answer has."""
    max_hops: int = Field(default=3, ge=1, le=3)
    hop_cost_us: int = Field(default=5_000, ge=0, le=1_000_000)
    """What a path pays for each hop beside the wire; see ARCHITECTURE.md."""
    mode: Literal["bounded", "filter_after"] = "bounded"
    """filter_after searches without a limit of hops and drops what is too long, as LiveNet does."""


class IntervalsModel(Model):
    """What nodes are told when they connect."""

    report_s: float = Field(default=60.0, ge=1, le=3600)
    """How often they report load, links and streams (LiveNet 4.2: each minute)."""
    heartbeat_s: float = Field(default=5.0, ge=0.1, le=60)
    dead_after_s: float = Field(default=15.0, ge=0.2, le=600)
    """Silence that ends a connection; at least two heartbeats."""
    alarm_permille: int = Field(default=800, ge=1, le=1000)
    """Share of a node's or link's capacity at which it reports at once."""


class Rehome(Model):
    """When a stream that flows moves to a cheaper path. A broken path is left at once."""

    min_gain_fraction: float = Field(default=0.05, ge=0, lt=1)
    min_gain_us: int = Field(default=5_000, ge=0, le=1_000_000)
    hold_s: float | None = Field(default=None, ge=0, le=3600)
    """How long a path is left alone after it was taken. None: a period of reports."""
    max_moves: int = Field(default=100, ge=1, le=100_000)
    """Of one period, the most gainful first."""


class PopularityModel(Model):
    """Which broadcasts' paths are pushed to all nodes."""

    popular_views: float = Field(default=100.0, gt=0)
    half_life_s: float = Field(default=86_400.0, gt=0)
    """A view loses half its weight in this time."""
    max_broadcasts: int = Field(default=1_000, ge=0, le=1_024)


class ControllerConfig(Model):
    """A brain's whole configuration."""

    listen: AddressText
    """The control channel's TCP port; nodes connect to wss://HOST:PORT/control."""
    certificate_file: Path | None = None
    """The brain's certificate in PEM, with what leads to its authority; relative to this file, as
    are the next three."""
    key_file: Path | None = None
    client_ca_file: Path | None = None
    """Authorities of nodes' certificates. If set, a node must show one as well as its token."""
    state_dir: Path
    """Master key, term and state, for the brain's eyes only. Back the key up: without it all links
    are keyed anew, and whoever has it has all links."""
    allow_plain_text: bool = False
    """No TLS; for loopback alone."""
    api: Api = Api()
    log: Log = Log()
    nodes: tuple[Node, ...] = ()
    mesh: Mesh = Mesh()
    links: tuple[Link, ...] = ()
    routing: Routing = Routing()
    intervals: IntervalsModel = IntervalsModel()
    rehome: Rehome = Rehome()
    popularity: PopularityModel = PopularityModel()

    @cached_property
    def endpoint(self) -> Address:
        """`listen` as a socket takes it."""
        return parse_address(self.listen)

    @cached_property
    def known_nodes(self) -> tuple[KnownNode, ...]:
        """`nodes` as the registry takes them; `load` has read the hashes' files."""
        return tuple(
            KnownNode(node.name, node.node_id, node.token_hash or "", node.generation)
            for node in self.nodes
        )

    @cached_property
    def last_resort(self) -> frozenset[str]:
        return frozenset(node.name for node in self.nodes if node.last_resort)

    def settings(self) -> BrainSettings:
        """What the core is told."""
        times, rehome, popularity = self.intervals, self.rehome, self.popularity
        report_us = _us(times.report_s)
        return BrainSettings(
            nodes=self.known_nodes,
            last_resort=self.last_resort,
            links=tuple(
                LinkRule(
                    link.a,
                    link.b,
                    link.enabled,
                    link.rate_bps,
                    link.a_reaches_b_at,
                    link.b_reaches_a_at,
                )
                for link in self.links
            ),
            joins_all_pairs=self.mesh.all_pairs,
            link_rate_bps=self.mesh.rate_bps,
            intervals=Intervals(
                _us(times.heartbeat_s), _us(times.dead_after_s), report_us, times.alarm_permille
            ),
            routing=PathConfig(
                k=self.routing.k,
                max_hops=self.routing.max_hops,
                mode=SearchMode(self.routing.mode),
                cost=CostConfig(hop_cost_us=self.routing.hop_cost_us),
            ),
            rehome=RehomeConfig(
                rehome.min_gain_fraction,
                rehome.min_gain_us,
                report_us if rehome.hold_s is None else _us(rehome.hold_s),
                rehome.max_moves,
            ),
            popularity=PopularityConfig(
                half_life_us=_us(popularity.half_life_s),
                popular_views=popularity.popular_views,
                max_broadcasts=popularity.max_broadcasts,
            ),
        )

    @model_validator(mode="wrap")
    @classmethod
    def _list_every_problem(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            config = handler(data)
        except ValidationError as error:
            problems = problems_of(error, cls) + cross_check(_valid_parts(data))
        else:
            problems = cross_check(_parts_of(config))
        if problems:
            raise ConfigError(problems)
        return config


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)


def _parts_of(config: ControllerConfig) -> Parts:
    return Parts(
        listen=config.listen,
        certificate_file=config.certificate_file,
        key_file=config.key_file,
        client_ca_file=config.client_ca_file,
        allow_plain_text=config.allow_plain_text,
        nodes=tuple(enumerate(config.nodes)),
        links=tuple(enumerate(config.links)),
        intervals=config.intervals,
        has_all_nodes=True,
    )


def _valid_parts(data: Any) -> Parts:
    """Whatever is well formed by itself, so that it can still be compared with the rest."""
    table = data if isinstance(data, Mapping) else {}

    def one(model: type[T] | Any, value: object) -> T | None:
        try:
            found: T = TypeAdapter(model).validate_python(value)
        except ValidationError:
            return None
        return found

    def each(key: str, model: type[T]) -> tuple[tuple[int, T], ...]:
        values = table.get(key)
        found: list[tuple[int, T]] = []
        for index, value in enumerate(values if isinstance(values, list | tuple) else ()):
            part: T | None = one(model, value)
            if part is not None:
                found.append((index, part))
        return tuple(found)

    nodes, given = each("nodes", Node), table.get("nodes", ())
    return Parts(
        listen=one(AddressText, table.get("listen")),
        certificate_file=one(Path, table.get("certificate_file")),
        key_file=one(Path, table.get("key_file")),
        client_ca_file=one(Path, table.get("client_ca_file")),
        allow_plain_text=bool(one(bool, table.get("allow_plain_text", False))),
        nodes=nodes,
        links=each("links", Link),
        intervals=one(IntervalsModel, table.get("intervals", {})),
        has_all_nodes=not isinstance(given, list | tuple) or len(nodes) == len(given),
    )
