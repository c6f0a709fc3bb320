"""What a run writes before it starts: certificates, tokens, and the configurations of brain and
nodes. All of it can be read, and used again by hand, in the run's directory."""

from __future__ import annotations

import json
import random
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from control_client.certificates import issue, new_lab_ca
from control_client.tokens import new_token, token_hash
from lab.node_config import (
    BasicPorts,
    ingest_lines,
    neighbour_lines,
    node_lines,
    path_lines,
    write_private,
)
from lab.ports import free_ports
from lab.realtime.links import LinkSet
from lab.scenario.model import Broadcast, Scenario
from lab.scenario.topology import Pair, ceilings
from relay.config import Dropping, Rate

_HOST = "127.0.0.1"
_SECRET_BYTES = 32
_SPARE = 64  # viewers above those of the file, for those who come back before the old one expires
_VIEWERS = 1024  # a node's default


@dataclass(frozen=True, slots=True)
class IngestPorts:
    """video: of each version, the best first."""

    video: tuple[int, ...]
    audio: int | None


@dataclass(slots=True)
class NodeFiles:
    """One node: where it listens, and its configuration once `write_nodes` has written it."""

    name: str
    node_id: int
    ports: BasicPorts
    config: Path
    ingests: dict[str, IngestPorts] = field(default_factory=dict)
    """By broadcast, of all that its encoder ever sends to this node."""

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.ports.admin}"

    @property
    def address(self) -> tuple[str, int]:
        return (_HOST, self.ports.overlay)


@dataclass(frozen=True, slots=True)
class BrainFiles:
    config: Path
    control_port: int
    api_port: int

    @property
    def url(self) -> str:
        return f"http://{_HOST}:{self.api_port}"


class RunFiles:
    """All files of a run."""

    def __init__(self, scenario: Scenario, directory: Path, *, repair: bool) -> None:
        """Draws the ports. Raises NoPortError."""
        self.scenario = scenario
        self.directory = directory
        self.repair = repair
        hosted = [(b, host) for b in scenario.broadcasts for host in scenario.hosts_of(b)]
        count = 2 + 3 * len(scenario.nodes) + sum(1 + len(b.bitrates) for b, _ in hosted)
        ports = iter(free_ports(count, random.Random(secrets.randbits(64))))
        self.brain = BrainFiles(directory / "brain.toml", next(ports), next(ports))
        self.nodes = {
            node.name: NodeFiles(
                node.name,
                number,
                BasicPorts(overlay=next(ports), admin=next(ports), viewers=next(ports)),
                directory / f"{node.name}.toml",
            )
            for number, node in enumerate(scenario.nodes, 1)
        }
        for broadcast, host in hosted:
            self.nodes[host].ingests[broadcast.name] = IngestPorts(
                tuple(next(ports) for _ in broadcast.bitrates),
                next(ports) if broadcast.audio else None,
            )

    def write(self, links: LinkSet) -> None:
        """links: open, so that their addresses are known."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if self.scenario.brain is not None:
            self._write_brain(links)
        bitrates = {each.name: each.bitrates for each in self.scenario.broadcasts}
        shared = {pair: secrets.token_hex(_SECRET_BYTES) for pair in links.links}
        for node in self.nodes.values():
            lines = node_lines(node.name, node.node_id, node.ports, repair=self.repair)
            lines += ["[limits]", f"viewers = {self._viewers_at(node.name)}"]
            lines += _rate_lines(self.scenario.rate)
            lines += _dropping_lines(self.scenario.dropping)
            if self.scenario.brain is not None:
                lines += self._controller_lines(node.name)
            else:
                lines += self._static_lines(node.name, links, shared)
            for stream, ports in node.ingests.items():
                lines += ingest_lines(stream, ports.video, ports.audio, bitrates[stream])
            write_private(node.config, "\n".join(lines) + "\n")

    def ingest(self, broadcast: Broadcast, host: str) -> IngestPorts:
        """Where the encoder of a broadcast sends to."""
        return self.nodes[host].ingests[broadcast.name]

    def _viewers_at(self, node: str) -> int:
        moved_here = {
            event.viewer for event in self.scenario.events if getattr(event, "to", None) == node
            and event.do == "move_viewer"
        }  # fmt: skip
        counts = [v.count for v in self.scenario.viewers if v.node == node or v.name in moved_here]
        return max(_VIEWERS, sum(counts) + _SPARE)

    def _controller_lines(self, name: str) -> list[str]:
        return [
            "[controller]",
            f'url = "wss://{_HOST}:{self.brain.control_port}/control"',
            f'token_file = "{name}.token"',
            'ca_file = "ca.pem"',
            f'table_file = "{name}.table"',
        ]

    def _static_lines(self, name: str, links: LinkSet, shared: dict[Pair, str]) -> list[str]:
        lines = []
        for pair, link in links.links.items():
            if name in pair:
                other = self.nodes[pair[0] if pair[1] == name else pair[1]]
                facing = link.facing[name]
                lines += neighbour_lines(
                    other.name,
                    other.node_id,
                    facing,
                    shared[pair],
                    ceilings(self.scenario).get(pair),
                )
        for path in self.scenario.paths:
            if path.node == name:
                lines += path_lines(path.stream, path.via)
        return lines

    def _write_brain(self, links: LinkSet) -> None:
        brain = self.scenario.brain
        assert brain is not None
        now = datetime.now(UTC)
        authority = new_lab_ca(f"lab of {self.scenario.name}", now)
        pair = issue(authority, "brain", [_HOST], "brain", now)
        (self.directory / "ca.pem").write_bytes(authority.certificate_pem)
        (self.directory / "brain.pem").write_bytes(pair.certificate_pem)
        write_private(self.directory / "brain.key", pair.key_pem.decode())
        lines = [
            f'listen = "{_HOST}:{self.brain.control_port}"',
            'certificate_file = "brain.pem"',
            'key_file = "brain.key"',
            'state_dir = "brain"',
            "[api]",
            f'listen = "{_HOST}:{self.brain.api_port}"',
            "[log]",
            'format = "json"',
            "[intervals]",
            f"report_s = {brain.report_s}",
            "[rehome]",
            f"hold_s = {brain.rehome_hold_s}",
            "[mesh]",
            "all_pairs = false",
        ]
        for node, files in zip(self.scenario.nodes, self.nodes.values(), strict=True):
            token = new_token()
            write_private(self.directory / f"{node.name}.token", token + "\n")
            lines += [
                "[[nodes]]",
                f'name = "{node.name}"',
                f"node_id = {files.node_id}",
                f'token_hash = "{token_hash(token)}"',
                f"last_resort = {str(node.last_resort).lower()}",
            ]
        for (a, b), link in links.links.items():
            lines += [
                "[[links]]",
                f'a = "{a}"',
                f'b = "{b}"',
                "enabled = true",
                f'a_reaches_b_at = "{_text(link.facing[a])}"',
                f'b_reaches_a_at = "{_text(link.facing[b])}"',
            ]
        write_private(self.brain.config, "\n".join(lines) + "\n")


def _dropping_lines(dropping: Dropping) -> list[str]:
    keys = dropping.model_dump(exclude_unset=True)
    return ["[dropping]", *(f"{key} = {each}" for key, each in keys.items())] if keys else []


def _rate_lines(rate: Rate) -> list[str]:
    """What the scenario says of it."""
    lines = []
    for table, keys in rate.model_dump(exclude_unset=True).items():
        lines += [f"[rate.{table}]", *(f"{key} = {json.dumps(each)}" for key, each in keys.items())]
    return lines


def _text(address: tuple[str, int]) -> str:
    return f"{address[0]}:{address[1]}"
