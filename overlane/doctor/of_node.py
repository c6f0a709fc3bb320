"""A node's configuration as a subject."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yarl import URL

from fastpath.footprint import state_bytes
from overlane.doctor.brain import BrainAddress
from overlane.doctor.certificates import CertificateFile
from overlane.doctor.check import ok, problems_of
from overlane.doctor.files import PrivateFile
from overlane.doctor.ports import WantedSocket
from overlane.doctor.resources import Needs
from overlane.doctor.routes import Peer
from overlane.doctor.subject import Subject
from relay.config import NodeConfig
from relay.config_checks import tls_of
from relay.config_file import load
from relay.ports import ingest_tracks
from service.address import Address, parse_address
from service.errors import ConfigError

FILES_BESIDE_SOCKETS = 128  # chosen: HTTP clients, logs, libraries
FILES_OF_WORKER = 4  # fastpath: two mailboxes' bells, epoll, timer
RINGS_OF_STREAM = 7  # classes of rings, with equal memory
PROCESS_BYTES = 100 << 20  # chosen: the interpreter and its libraries


def of_node(file: Path, tables: Mapping[str, Any]) -> Subject:
    """tables: what stands in the file."""
    subject = Subject(
        kind="node",
        files=tuple(_private_files(file, tables)),
        certificates=tuple(_certificate_files(file, tables)),
    )
    try:
        config = load(file)
    except ConfigError as error:
        return replace(subject, configuration=problems_of(error, file))
    controller = config.controller
    return replace(
        subject,
        name=config.name,
        configuration=(ok("valid", f"{file}: node {config.name}, id {config.node_id}"),),
        sockets=tuple(_sockets(config)),
        table_file=controller.table_file if controller is not None else None,
        brain=BrainAddress(URL(controller.url), tls_of(controller)) if controller else None,
        listen=config.endpoint,
        peers=tuple(Peer(each.name, each.endpoint, "configuration") for each in config.neighbours),
        http=parse_address(config.admin.listen),
        needs=needs_of(config),
        use_gso=config.kernel.use_gso,
        use_gro=config.kernel.use_gro,
    )


def _sockets(config: NodeConfig) -> Iterator[WantedSocket]:
    """Those of relay/sockets.py and relay/admin.py, each once."""
    found: dict[tuple[str, Address], str] = {}
    listeners = {"listen": config.worker_endpoints, "viewers.listen": config.viewer_endpoints}
    for key, endpoints in listeners.items():
        for worker, endpoint in enumerate(endpoints):
            found.setdefault(("UDP", endpoint), f"{key}, worker {worker}" if worker else key)
    for key, _, track in ingest_tracks(config):
        found.setdefault(("UDP", track.endpoint), f"{key}.listen")
        if track.rtcp_endpoint is not None:
            found.setdefault(("UDP", track.rtcp_endpoint), f"{key}.rtcp")
    for (_, address), key in found.items():
        yield WantedSocket(key, "UDP", address)
    yield WantedSocket("admin.listen", "TCP", parse_address(config.admin.listen))


def _private_files(file: Path, tables: Mapping[str, Any]) -> Iterator[PrivateFile]:
    """The configuration itself if a secret stands in it, and the files it names.

    From its text, as `load` needs these files itself and says less about them.
    """
    listed = tables.get("neighbours")
    neighbours = listed if isinstance(listed, list) else []
    neighbours = [each if isinstance(each, dict) else {} for each in neighbours]
    controller = _table(tables, "controller")
    if "token" in controller or any("secret" in each for each in neighbours):
        yield PrivateFile("secrets in the file", file, "configuration")
    for index, neighbour in enumerate(neighbours):
        if isinstance(name := neighbour.get("secret_file"), str):
            yield PrivateFile(f"neighbours[{index}].secret_file", file.parent / name, "secret")
    if isinstance(name := controller.get("token_file"), str):
        yield PrivateFile("controller.token_file", file.parent / name, "token")


def _certificate_files(file: Path, tables: Mapping[str, Any]) -> Iterator[CertificateFile]:
    """A node's."""
    controller = _table(tables, "controller")
    if isinstance(name := controller.get("ca_file"), str):
        yield CertificateFile("controller.ca_file", file.parent / name, "authority")
    if isinstance(name := controller.get("certificate_file"), str):
        key = controller.get("key_file")
        key_file = file.parent / key if isinstance(key, str) else None
        yield CertificateFile("controller.certificate_file", file.parent / name, "node", key_file)


def _table(tables: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tables.get(key)
    return found if isinstance(found, dict) else {}


def needs_of(config: NodeConfig) -> Needs:
    """Of a node, when all that `limits` allows is in use."""
    limits, workers = config.limits, config.worker_count
    sockets = len(list(_sockets(config))) + workers - 1  # viewers' of any port
    each = state_bytes()
    memory_bytes = (
        (limits.slab_mib << 20)
        + limits.node_links * workers * each["node_link"]
        + limits.viewers * each["link"]
        + limits.cursors * each["cursor"]
        + limits.streams * (each["stream"] + RINGS_OF_STREAM * each["smallest_ring"])
        + PROCESS_BYTES
    )
    files = FILES_BESIDE_SOCKETS + FILES_OF_WORKER * workers + sockets
    return Needs(files, workers + 1, memory_bytes=memory_bytes, worker_cpus=config.worker_cpus)
