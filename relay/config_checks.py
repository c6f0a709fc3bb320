"""What a configuration must not contradict itself in: names, ids, sockets, paths, limits.

Works on the parts that are well formed by themselves, so one typing error hides no other problem.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from control_client.connection import Tls, check_url, ssl_context
from control_client.errors import ConnectionConfigError
from relay.messages import is_name
from service.address import Address, ip_of, parse_address
from service.errors import Problem

if TYPE_CHECKING:
    from relay.config import (
        Controller,
        Ingest,
        Limits,
        Neighbour,
        NodeConfig,
        Rate,
        StreamPath,
        Track,
        Viewers,
    )


MAX_TRACKS_OF_PORT = 4  # the engine's limit

MAX_PORT = 65_535
MIN_SLAB_MIB = 4  # of a worker; the least that limits.slab_mib may be

MAX_PRODUCED = 256  # the control channel's limit


@dataclass(frozen=True, slots=True)
class Parts:
    """The well-formed parts; list entries with their index in the file."""

    name: str | None
    node_id: int | None
    listen: str | None
    advertised_as: str | None
    controller: Controller | None
    viewers: Viewers | None
    neighbours: Sequence[tuple[int, Neighbour]]
    ingests: Sequence[tuple[int, Ingest]]
    paths: Sequence[tuple[int, StreamPath]]
    limits: Limits | None
    rate: Rate | None
    workers: int
    worker_cpus: tuple[int, ...] | None

    @classmethod
    def of(cls, config: NodeConfig) -> Parts:
        """All parts of a configuration."""
        return cls(
            name=config.name,
            node_id=config.node_id,
            listen=config.listen,
            advertised_as=config.advertised_as,
            controller=config.controller,
            viewers=config.viewers,
            neighbours=tuple(enumerate(config.neighbours)),
            ingests=tuple(enumerate(config.ingests)),
            paths=tuple(enumerate(config.paths)),
            limits=config.limits,
            rate=config.rate,
            workers=config.worker_count,
            worker_cpus=config.worker_cpus,
        )


def cross_check(parts: Parts) -> list[Problem]:
    """Every contradiction between parts."""
    return [
        *_check_neighbours(parts),
        *_check_secrets(parts),
        *_check_ingests(parts),
        *_check_sockets(parts),
        *_check_paths(parts),
        *_check_limits(parts),
        *_check_rate(parts),
        *_check_workers(parts),
        *_check_controller(parts),
    ]


def _repeated(what: str, values: Iterable[tuple[str, object]]) -> Iterator[Problem]:
    """values: (key path, value); each must be unlike all before it."""
    first: dict[object, str] = {}
    for key, value in values:
        if value in first:
            yield Problem(key, f"{what} {value} is already that of {first[value]}")
        else:
            first[value] = key


def _check_neighbours(parts: Parts) -> Iterator[Problem]:
    own = [("name", parts.name)] if parts.name else []
    names = [(f"neighbours[{i}].name", neighbour.name) for i, neighbour in parts.neighbours]
    yield from _repeated("node name", [*own, *names])
    own_id = [("node_id", parts.node_id)] if parts.node_id else []
    ids = [(f"neighbours[{i}].node_id", neighbour.node_id) for i, neighbour in parts.neighbours]
    yield from _repeated("node id", [*own_id, *ids])
    yield from _repeated(
        "address", [(f"neighbours[{i}].address", n.address) for i, n in parts.neighbours]
    )
    if parts.listen is None:
        return
    listen = parse_address(parts.listen)
    for i, neighbour in parts.neighbours:
        address = parse_address(neighbour.address)
        key = f"neighbours[{i}].address"
        if ip_of(address).version != ip_of(listen).version:
            yield Problem(key, f"is IPv{ip_of(address).version}, but listen is {parts.listen}")
        elif address == listen:
            yield Problem(key, "is this node's own listen address")


def _check_secrets(parts: Parts) -> Iterator[Problem]:
    for i, neighbour in parts.neighbours:
        given = (neighbour.secret is not None) + (neighbour.secret_file is not None)
        if given != 1:
            text = "give secret or secret_file" + (", not both" if given else "")
            yield Problem(f"neighbours[{i}].secret", text)
    given_secrets = [(f"neighbours[{i}].secret", n.secret) for i, n in parts.neighbours if n.secret]
    seen: dict[str | None, str] = {}
    for key, secret in given_secrets:
        if secret in seen:
            yield Problem(key, f"is also that of {seen[secret]}; each pair of nodes has its own")
        seen.setdefault(secret, key)


def _check_ingests(parts: Parts) -> Iterator[Problem]:
    codecs = {"video": ("H264", "H265", "VP8", "VP9", "AV1"), "audio": ("opus",)}
    names = [
        (f"ingests[{i}].name", part.name)
        for i, ingest in parts.ingests
        for part in ingest.by_version
    ]
    yield from _repeated("stream name", names)
    for key, name in names:
        if not is_name(name):
            yield Problem(key, f"is too long: {name} is a version of it, and has a name as well")
    for i, ingest in parts.ingests:
        kinds = [
            (f"ingests[{i}].tracks[{j}].kind", t.kind)
            for j, t in enumerate(ingest.tracks)
            if t.version == 0
        ]
        yield from _repeated("kind", kinds)
        yield from _check_versions(f"ingests[{i}]", ingest)
        for j, track in enumerate(ingest.tracks):
            key = f"ingests[{i}].tracks[{j}]"
            if track.codec not in codecs[track.kind]:
                yield Problem(f"{key}.codec", f"{track.codec} is not a codec of {track.kind}")
            if parse_address(track.listen)[1] == 0:
                yield Problem(f"{key}.listen", "an encoder needs a fixed port, not 0")
        numbered = [track.endpoint for track in ingest.tracks if track.transport_cc_id]
        if len(set(numbered)) > 1:
            text = "numbers go across tracks: those that have them share one socket"
            yield Problem(f"ingests[{i}].tracks", text)


def _check_versions(key: str, ingest: Ingest) -> Iterator[Problem]:
    """Of its video: counted from 0, each smaller than the one before."""
    videos = [(f"{key}.tracks[{j}]", t) for j, t in enumerate(ingest.tracks) if t.kind == "video"]
    for track_key, track in [(f"{key}.tracks[{j}]", t) for j, t in enumerate(ingest.tracks)]:
        if track.kind != "video" and track.version:
            yield Problem(f"{track_key}.version", "only video has versions")
    if len(videos) < 2 and all(track.version == 0 for _, track in videos):
        return
    versions = [track.version for _, track in videos]
    if versions.count(0) > 1:
        return  # the kind is repeated
    if sorted(versions) != list(range(len(versions))):
        text = f"versions are {sorted(versions)}; they are to be 0, 1, 2 and so on, 0 the best"
        yield Problem(f"{key}.tracks", text)
        return
    ordered = sorted(videos, key=lambda entry: entry[1].version)
    for track_key, track in ordered:
        if track.bitrate_bps is None:
            text = "is needed of each of several versions"
            yield Problem(f"{track_key}.bitrate_bps", text)
        if (track.codec, track.clock_rate) != (ordered[0][1].codec, ordered[0][1].clock_rate):
            text = (
                "codec and clock_rate are to be those of version 0: viewers go from one to another"
            )
            yield Problem(f"{track_key}.codec", text)
    for (_, better), (track_key, track) in pairwise(ordered):
        if better.bitrate_bps and track.bitrate_bps and track.bitrate_bps >= better.bitrate_bps:
            text = f"is {track.bitrate_bps}, not below the {better.bitrate_bps} of a better version"
            yield Problem(f"{track_key}.bitrate_bps", text)


def _check_sockets(parts: Parts) -> Iterator[Problem]:
    taken = Sockets()
    if parts.listen is not None:
        taken.add_all(_of_workers("listen", parse_address(parts.listen), parts.workers))
        if parse_address(parts.listen)[1] == 0:
            yield Problem("listen", "neighbours need a fixed port, not 0")
    if parts.viewers is not None:
        first = parse_address(parts.viewers.listen)
        sockets = _of_workers("viewers.listen", first, parts.workers)
        for _, address in sockets:
            yield from _clashes("viewers.listen", address, taken)
        taken.add_all(sockets)
    tracks = [
        (f"ingests[{i}].tracks[{j}]", track)
        for i, ingest in parts.ingests
        for j, track in enumerate(ingest.tracks)
    ]
    shared: dict[Address, list[tuple[str, Track]]] = {}
    for key, track in tracks:
        shared.setdefault(track.endpoint, []).append((key, track))
    for address, users in shared.items():
        yield from _clashes(f"{users[0][0]}.listen", address, taken)
        taken.add(f"{users[0][0]}.listen", address)
        yield from _check_shared(users)
    for users in shared.values():
        key, track = users[0]
        if track.rtcp_endpoint is not None:
            for problem in _clashes(f"{key}.rtcp", track.rtcp_endpoint, taken):
                hint = 'use rtcp = "mux", or leave the port after "listen" free'
                yield Problem(problem.key, f"{problem.text}: {hint}")
            taken.add(f"{key}.rtcp", track.rtcp_endpoint)


def _of_workers(key: str, first: Address, workers: int) -> list[tuple[str, Address]]:
    """One socket for each worker, at consecutive ports."""
    host, port = first
    if port == 0:
        return [(key, first)]
    names = [key, *(f"{key} (worker {worker})" for worker in range(1, workers))]
    return [(name, (host, port + worker)) for worker, name in enumerate(names)]


def _check_shared(users: Sequence[tuple[str, Track]]) -> Iterator[Problem]:
    """Tracks on one socket are told apart by payload type, and report to one place."""
    if len(users) > MAX_TRACKS_OF_PORT:
        key = f"{users[MAX_TRACKS_OF_PORT][0]}.listen"
        yield Problem(key, f"at most {MAX_TRACKS_OF_PORT} tracks share a socket")
    yield from _repeated(
        "on the same socket, payload type",
        [(f"{k}.payload_type", t.payload_type) for k, t in users]
        + [(f"{k}.rtx_payload_type", t.rtx_payload_type) for k, t in users if t.rtx_payload_type],
    )
    for key, track in users:
        if track.rtcp != users[0][1].rtcp:
            yield Problem(f"{key}.rtcp", f"differs from {users[0][0]}, which has the same socket")


class Sockets:
    """Addresses with their keys, found by what they clash with (`service.address.clashes`): a node
    may have thousands."""

    def __init__(self) -> None:
        self._keys: list[str] = []
        self._same: defaultdict[Address, list[int]] = defaultdict(list)
        self._wildcards: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
        self._family: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def add(self, key: str, address: Address) -> None:
        """One more; whether it clashes is another question."""
        ip, port = ip_of(address), address[1]
        at = len(self._keys)
        self._keys.append(key)
        self._same[address].append(at)
        self._family[ip.version, port].append(at)
        if ip.is_unspecified:
            self._wildcards[ip.version, port].append(at)

    def add_all(self, sockets: Iterable[tuple[str, Address]]) -> None:
        """By key."""
        for key, address in sockets:
            self.add(key, address)

    def clashing_with(self, address: Address) -> list[str]:
        """The keys of those that could not be bound beside it, in the order they were added."""
        ip, port = ip_of(address), address[1]
        if port == 0:
            return []
        if ip.is_unspecified:
            found = set(self._family.get((ip.version, port), ()))
        else:
            found = {
                *self._same.get(address, ()),
                *self._wildcards.get((ip.version, port), ()),
            }
        return [self._keys[at] for at in sorted(found)]


def _clashes(key: str, address: Address, taken: Sockets) -> Iterator[Problem]:
    for other in taken.clashing_with(address):
        yield Problem(key, f"the same UDP socket as {other}")


def _check_paths(parts: Parts) -> Iterator[Problem]:
    neighbours = {neighbour.name for _, neighbour in parts.neighbours}
    ingests = {ingest.name for _, ingest in parts.ingests}
    yield from _repeated("the path of", [(f"paths[{i}].stream", p.stream) for i, p in parts.paths])
    for i, path in parts.paths:
        key = f"paths[{i}].via"
        if path.via[0] not in neighbours:
            yield Problem(key, f"starts at {path.via[0]}, which is not a neighbour of this node")
        if parts.name in path.via:
            yield Problem(key, f"leads through this node ({parts.name}) itself")
        for name in sorted({name for name in path.via if path.via.count(name) > 1}):
            yield Problem(key, f"visits {name} twice")
        if path.stream in ingests:
            yield Problem(f"paths[{i}].stream", f"{path.stream} starts at this node (ingests)")


def _check_limits(parts: Parts) -> Iterator[Problem]:
    if parts.limits is None:
        return
    tracks = [track for _, ingest in parts.ingests for track in ingest.tracks]
    sockets = {t.endpoint for t in tracks} | {t.rtcp_endpoint for t in tracks if t.rtcp_endpoint}
    needs = {
        "node_links": (len(parts.neighbours), "neighbours"),
        "streams": (len(tracks), "tracks of the ingests"),
        "ports": (2 * parts.workers + len(sockets), "sockets"),
    }
    for key, (need, what) in needs.items():
        limit = getattr(parts.limits, key)
        if need > limit:
            yield Problem(f"limits.{key}", f"is {limit}, but there are {need} {what}")
    cursors, viewers = parts.limits.cursors, parts.limits.viewers
    if cursors < viewers:
        text = f"is {cursors}, but each of {viewers} viewers needs one for each track"
        yield Problem("limits.cursors", text)


def _check_rate(parts: Parts) -> Iterator[Problem]:
    """Lowest, start and ceiling in this order."""
    if parts.rate is None:
        return
    viewers, links = parts.rate.viewers, parts.rate.node_links
    if viewers.min_bps > viewers.start_bps:
        yield Problem("rate.viewers.min_bps", f"is above start_bps, {viewers.start_bps}")
    if parts.viewers is not None and viewers.min_bps > parts.viewers.rate_bps:
        text = f"is above viewers.rate_bps, {parts.viewers.rate_bps}"
        yield Problem("rate.viewers.min_bps", text)
    if links.start_bps is not None and links.min_bps > links.start_bps:
        yield Problem("rate.node_links.min_bps", f"is above start_bps, {links.start_bps}")


def _check_workers(parts: Parts) -> Iterator[Problem]:
    for key, text in (("listen", parts.listen), ("advertised_as", parts.advertised_as)):
        if text is not None and parse_address(text)[1] + parts.workers - 1 > MAX_PORT:
            yield Problem(key, f"leaves no room for the ports of {parts.workers} workers after it")
    viewers = parse_address(parts.viewers.listen)[1] if parts.viewers is not None else 0
    if viewers + parts.workers - 1 > MAX_PORT:
        text = f"leaves no room for the ports of {parts.workers} workers after it"
        yield Problem("viewers.listen", text)
    if parts.worker_cpus:
        if len(set(parts.worker_cpus)) != len(parts.worker_cpus):
            yield Problem("worker_cpus", "names a core twice")
        if len(parts.worker_cpus) != parts.workers:
            text = f"names {len(parts.worker_cpus)} cores for {parts.workers} workers"
            yield Problem("worker_cpus", text)
    if parts.limits is not None and parts.limits.slab_mib < MIN_SLAB_MIB * parts.workers:
        text = (
            f"is {parts.limits.slab_mib}, shared by {parts.workers} workers, "
            f"which need {MIN_SLAB_MIB} each"
        )
        yield Problem("limits.slab_mib", text)


def _check_controller(parts: Parts) -> Iterator[Problem]:
    controller = parts.controller
    if controller is None:
        return
    given = (controller.token is not None) + (controller.token_file is not None)
    if given != 1:
        text = "give token_file" + (" or token, not both" if given else "")
        yield Problem("controller.token_file", text)
    if (controller.certificate_file is None) != (controller.key_file is None):
        yield Problem("controller.certificate_file", "comes with key_file, and the other way round")
    yield from _check_channel(controller)
    if (
        parts.advertised_as is None
        and parts.listen is not None
        and ip_of(parse_address(parts.listen)).is_unspecified
    ):
        text = f"is needed with [controller]: neighbours cannot send to {parts.listen}"
        yield Problem("advertised_as", text)
    produced = sum(len(ingest.by_version) for _, ingest in parts.ingests)
    if produced > MAX_PRODUCED:
        text = f"are {produced}; a node with [controller] has at most {MAX_PRODUCED}"
        yield Problem("ingests", text)


def _check_channel(controller: Controller) -> Iterator[Problem]:
    """What the connection would not use."""
    tls = tls_of(controller)
    try:
        check_url(controller.url, tls, allow_plain_text=controller.allow_plain_text)
    except ConnectionConfigError as error:
        yield Problem("controller.url", str(error))
        return
    files = {}
    if tls is not None and controller.ca_file is not None:
        files["ca_file"] = Tls(controller.ca_file)
    if tls is not None and controller.certificate_file and controller.key_file:
        files["certificate_file"] = Tls(None, controller.certificate_file, controller.key_file)
    for key, part in files.items():
        try:
            ssl_context(part)
        except ConnectionConfigError as error:
            yield Problem(f"controller.{key}", str(error))


def tls_of(controller: Controller) -> Tls | None:
    """None for plain text."""
    if controller.is_plain_text:
        return None
    return Tls(controller.ca_file, controller.certificate_file, controller.key_file)
