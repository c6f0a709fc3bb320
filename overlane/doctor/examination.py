"""All checks of a subject, side by side, each topic with a limit on its time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from overlane.doctor.brain import CONNECT_S, RESOLVE_S, check_brain
from overlane.doctor.certificates import check_certificate
from overlane.doctor.check import Check, Host, Topic, Verdict, problem
from overlane.doctor.clock import check_clock
from overlane.doctor.configuration import subject_of
from overlane.doctor.files import check_directory, check_files, read_table
from overlane.doctor.kernel import check_kernel
from overlane.doctor.patience import Started
from overlane.doctor.ports import check_ports
from overlane.doctor.resources import check_resources
from overlane.doctor.routes import Peer, check_routes
from overlane.doctor.running import ask_brain, ask_node, check_running
from overlane.doctor.subject import Subject
from service.address import parse_address

TOPIC_S = RESOLVE_S + 3 * CONNECT_S + 1.0  # the brain's, which takes longest, with some to spare
READ_S = 5.0

Checks = Callable[[], list[Check]]


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found. kind: "host", "node" or "brain"; name: the node's."""

    kind: str
    name: str
    topics: tuple[Topic, ...]

    def count(self, verdict: Verdict) -> int:
        """How many checks ended so."""
        return sum(check.verdict is verdict for topic in self.topics for check in topic.checks)


@dataclass(frozen=True, slots=True)
class _Running:
    """links: of a node, by neighbour."""

    is_there: bool = False
    links: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


def examine(config: Path | None, host: Host | None = None) -> Examination:
    """config: of a node or brain; None: the host alone. Changes nothing, and ends in any case."""
    host = host or Host()
    subject = _subject(config)
    running, answer = _running(subject)
    table_checks: list[Check] = []
    if subject.table_file is not None:
        subject, table_checks = _with_stored_table(subject, subject.table_file)
    works = _works(subject, host, running)
    if subject.configuration:
        works = {"configuration": lambda: list(subject.configuration), **works}
    started = [(name, Started(work)) for name, work in works.items()]
    deadline_s = time.monotonic() + TOPIC_S
    topics = [
        Topic(name, _result(name, work, deadline_s - time.monotonic())) for name, work in started
    ]
    if answer:
        topics.insert(1, Topic(f"this {subject.kind}", answer))
    if table_checks:
        topics = [
            replace(topic, checks=[*topic.checks, *table_checks])
            if topic.name == "files"
            else topic
            for topic in topics
        ]
    return Examination(subject.kind, subject.name, tuple(t for t in topics if t.checks))


def _subject(config: Path | None) -> Subject:
    if config is None:
        return Subject()
    try:
        return Started(lambda: subject_of(config)).result(READ_S)
    except TimeoutError:
        found = f"reading {config}, or a file that it names, takes longer than {READ_S:.0f} s"
        return Subject(configuration=(problem("file", found, "see what is wrong with the disk"),))


def _running(subject: Subject) -> tuple[_Running, list[Check]]:
    """Whether a daemon runs with this configuration, and what it says of itself."""
    address = subject.http
    if address is None:
        return _Running(), []
    what = f"this {subject.kind}"
    try:
        if subject.kind == "brain":
            is_there, check = Started(lambda: ask_brain(address)).result(READ_S)
            return _Running(is_there), [check]
        node, check = Started(lambda: ask_node(address, subject.name)).result(READ_S)
    except TimeoutError:
        mend = "see who listens there (below), and whether it is stuck"
        return _Running(), [problem(what, "its HTTP side answers, but never ends", mend)]
    if node is None:
        return _Running(), [check]
    return _Running(True, node.links), [check, *check_running(node)]


def _with_stored_table(subject: Subject, file: Path) -> tuple[Subject, list[Check]]:
    """The neighbours of the table, unless the configuration has them."""
    try:
        held, check = Started(lambda: read_table(file, subject.name)).result(READ_S)
    except TimeoutError:
        return subject, [problem("stored table", f"reading {file} does not end", "see the disk")]
    known = {peer.name for peer in subject.peers}
    entries = held.table.neighbours.values() if held is not None else ()
    peers = [
        Peer(entry.name, parse_address(entry.address), "stored table")
        for entry in entries
        if entry.name not in known
    ]
    return replace(subject, peers=(*subject.peers, *peers)), [check]


def _works(subject: Subject, host: Host, running: _Running) -> Mapping[str, Checks]:
    """By topic, in the order shown."""
    now = datetime.now(UTC)
    listen, brain, state_dir = subject.listen, subject.brain, subject.state_dir
    holder = f"the running {subject.kind}" if running.is_there else None
    return {
        "files": lambda: [
            *check_files(subject.files),
            *([check_directory("state_dir", state_dir)] if state_dir else []),
        ],
        "certificates": lambda: [
            check for file in subject.certificates for check in check_certificate(file, now)
        ],
        "ports": lambda: check_ports(subject.sockets, host, holder),
        "neighbours": lambda: check_routes(subject.peers, listen, running.links) if listen else [],
        "brain": lambda: check_brain(brain) if brain else [],
        "clock": lambda: check_clock(host),
        "kernel": lambda: (
            check_kernel(host, subject.use_gso, subject.use_gro)
            if subject.kind != "brain"  # it has no engine
            else []
        ),
        "resources": lambda: check_resources(host, subject.needs, running.is_there),
    }


def _result(name: str, work: Started[list[Check]], within_s: float) -> list[Check]:
    try:
        return work.result(within_s)
    except TimeoutError:
        found = f"not done after {TOPIC_S:.0f} s"
        return [problem(name, found, "see what blocks: a disk or a server that does not answer")]
    except OSError as error:
        found = f"cannot be looked at: {error.strerror or error}"
        return [problem(name, found, "see the reason, and run this as the service's user")]
