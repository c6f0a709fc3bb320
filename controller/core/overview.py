"""Puts together from the brain's parts what people ask for. Reads, and changes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from control_client.messages import NodeLoad
from controller.core import answers
from controller.core.consumers import Consumer, Consumers
from controller.core.members import Member, Members
from controller.core.path_requests import explain_refusal
from controller.core.reports import Reports
from controller.core.tables import Tables
from controller.discovery import NetworkView
from controller.paths import (
    Broadcast,
    PathBase,
    PathDecision,
    Paths,
    StreamBase,
    explain,
)
from controller.tables.registry import KnownNode


@dataclass(frozen=True, slots=True)
class Overview:
    """The parts that it reads."""

    members: Members
    view: NetworkView
    streams: StreamBase
    paths: PathBase
    decision: PathDecision
    consumers: Consumers
    reports: Reports
    tables: Tables

    def nodes(self, known: tuple[KnownNode, ...]) -> tuple[answers.Node, ...]:
        """All that the operator has added, by name."""
        return tuple(self._node(node) for node in sorted(known, key=lambda node: node.name))

    def links(self, node: str | None) -> tuple[answers.Link, ...]:
        """All that tables have or nodes report; node: those that begin or end there."""
        names = self.paths.graph.names
        pairs = set(self.tables.pairs)
        finite = np.argwhere(np.isfinite(self.paths.graph.snapshot.rtt_us))
        pairs.update((names[i], names[j]) for i, j in finite.tolist() if names[i] < names[j])
        found = [pair for pair in sorted(pairs) if node is None or node in pair]
        return tuple(self._link(*ends) for a, b in found for ends in ((a, b), (b, a)))

    def stream(self, broadcast: Broadcast, now_us: int) -> answers.Stream:
        """One that is live."""
        return answers.Stream(
            name=broadcast.name,
            producer=broadcast.producer,
            since_s=_seconds(now_us - broadcast.since_us),
            tracks=tuple(
                answers.Track(
                    stream.stream_id,
                    stream.track.media,
                    stream.track.codec,
                    stream.track.payload_type,
                    stream.track.clock_rate,
                    stream.track.fmtp,
                )
                for stream in broadcast.streams
            ),
            consumers=tuple(_consumer(c) for c in self.consumers.of(broadcast.name)),
        )

    def path(self, broadcast: Broadcast, consumer: str, now_us: int) -> answers.PathReport:
        """Why a consumer gets the path it gets."""
        explained = explain(self.decision, self.paths, broadcast.name, consumer, now_us)
        answer = explained.answer
        kind, code, error = None, None, None
        if isinstance(answer, Paths):
            kind = answer.kind.value
        else:
            request_code, error = explain_refusal(answer)
            code = request_code.value
        return answers.PathReport(
            stream=broadcast.name,
            producer=broadcast.producer,
            consumer=consumer,
            kind=kind,
            error=error,
            code=code,
            candidates=tuple(
                answers.Candidate(
                    candidate.nodes,
                    candidate.cost_us,
                    candidate.verdict.value,
                    candidate.reasons,
                    tuple(answers.Hop(**asdict(hop)) for hop in candidate.hops),
                )
                for candidate in explained.candidates
            ),
            state=self._state(broadcast, consumer),
            current=self._current(self.consumers.find(broadcast.name, consumer)),
            age_s=_seconds(explained.age_us),
            version=explained.version,
        )

    def _node(self, known: KnownNode) -> answers.Node:
        member = self.members.get(known.name)
        snapshot = self.view.snapshot
        place = snapshot.index.get(known.name)
        return answers.Node(
            name=known.name,
            node_id=known.node_id,
            address=member.address if member else None,
            admin_url=member.admin_url if member else "",
            software=member.software if member else "",
            is_connected=member is not None and member.connection is not None,
            is_suspect=place is not None and bool(snapshot.suspect[place]),
            is_overloaded=place is not None and bool(snapshot.node_overloaded[place]),
            is_last_resort=known.name in self.paths.config.last_resort,
            load=_load(member.load) if member and member.load else None,
            table=self._table(known.name, member),
        )

    def _table(self, name: str, member: Member | None) -> answers.TableState:
        problem = self.tables.mesh.problems.get(name, "")
        status = self.tables.status(name)
        if status is None:
            text = problem or ("not made yet" if member else "the node was never here")
            return answers.TableState(None, None, False, False, text)
        return answers.TableState(
            wanted=str(status.wanted),
            applied=str(status.applied) if status.applied else None,
            is_current=status.is_current,
            is_stored=status.is_stored,
            problem=problem or status.problem,
        )

    def _link(self, sender: str, receiver: str) -> answers.Link:
        graph = self.paths.graph
        index = graph.snapshot.index
        rate_bps = self.reports.rate_bps(sender, receiver)
        if sender not in index or receiver not in index:
            return answers.Link(sender, receiver, False, None, 0.0, 0.0, rate_bps, False, None)
        link = (index[sender], index[receiver])
        rtt_us, cost_us = graph.snapshot.rtt_us[link], graph.cost_us[link]
        is_up = bool(np.isfinite(rtt_us))
        return answers.Link(
            sender=sender,
            receiver=receiver,
            is_up=is_up,
            rtt_us=round(float(rtt_us)) if is_up else None,
            loss=float(graph.snapshot.loss[link]),
            utilisation=float(graph.snapshot.utilisation[link]),
            rate_bps=rate_bps,
            is_overloaded=bool(graph.snapshot.link_overloaded[link]),
            cost_us=int(cost_us) if is_up else None,
        )

    def _state(self, broadcast: Broadcast, consumer: str) -> str:
        member = self.members.get(consumer)
        if member is None or member.connection is None:
            return "away"
        if consumer == broadcast.producer:
            return "live"
        known = self.consumers.find(broadcast.name, consumer)
        return known.state if known is not None else "none"

    def _current(self, consumer: Consumer | None) -> answers.CurrentPath | None:
        if consumer is None or len(consumer.nodes) < 2 or consumer.state not in ("live", "lost"):
            return None
        counted = self.reports.hops(consumer.broadcast, consumer.nodes)
        hops = []
        for sender, receiver, report in counted:
            hops.append(
                answers.CurrentHop(
                    sender=sender,
                    receiver=receiver,
                    rtt_us=self._link(sender, receiver).rtt_us,
                    received_packets=report.received_packets if report else None,
                    lost_packets=report.lost_packets if report else None,
                    repaired_packets=report.repaired_packets if report else None,
                    given_up_packets=report.given_up_packets if report else None,
                    delay_us=report.delay_us if report else None,
                )
            )
        return answers.CurrentPath(consumer.nodes, tuple(hops))


def _consumer(consumer: Consumer) -> answers.Consumer:
    return answers.Consumer(
        consumer.node, consumer.state, consumer.nodes, consumer.viewers, consumer.subscribers
    )


def _load(load: NodeLoad) -> answers.Load:
    return answers.Load(
        load.cpu_permille / 1000,
        load.memory_permille / 1000,
        load.streams,
        load.viewers,
        load.egress_bps,
    )


def _seconds(duration_us: int) -> float:
    return round(max(0, duration_us) / 1_000_000, 3)
