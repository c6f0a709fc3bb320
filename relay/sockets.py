"""Opens and binds a node's UDP sockets, before the engine takes them over."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from relay.config import NodeConfig
from relay.errors import SocketError
from relay.ports import IngestKey, Ports, ingest_tracks
from service.address import Address, ip_of
from service.http_server import bind_error
from service.log import Logger

SO_SNDBUFFORCE = 32  # asm-generic/socket.h; Python names neither
SO_RCVBUFFORCE = 33
RECEIVE_BUFFER_BYTES = 8 << 20  # chosen: 60 ms at 1 Gbit/s, the longest stall of a shared core
SEND_BUFFER_BYTES = 4 << 20


def open_sockets(config: NodeConfig, logger: Logger) -> Ports:
    """Bind everything the configuration names. Raises SocketError, and leaves nothing open then."""
    opened: list[socket.socket] = []
    try:
        overlays = [_bind("listen", each, opened, logger) for each in config.worker_endpoints]
        viewers = [
            _bind("viewers.listen", each, opened, logger) for each in config.viewer_endpoints
        ]
        bound: dict[Address, int] = {}
        ingests: dict[IngestKey, int] = {}
        reports: dict[IngestKey, int] = {}
        for what, key, track in ingest_tracks(config):
            if track.endpoint not in bound:
                bound[track.endpoint] = _bind(f"{what}.listen", track.endpoint, opened, logger)
            ingests[key] = bound[track.endpoint]
            rtcp = track.rtcp_endpoint
            if rtcp is not None:
                if rtcp not in bound:
                    bound[rtcp] = _bind(f"{what}.rtcp", rtcp, opened, logger)
                reports[key] = bound[rtcp]
    except SocketError:
        for opened_socket in opened:
            opened_socket.close()
        raise
    for opened_socket in opened:
        opened_socket.detach()
    return Ports(tuple(overlays), tuple(viewers), ingests, reports)


def _bind(what: str, address: Address, opened: list[socket.socket], logger: Logger) -> int:
    """A bound socket's descriptor, still owned by the object added to `opened`."""
    is_v6 = ip_of(address).version == 6
    with _as_socket_error(what, address):
        bound = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_DGRAM)
        opened.append(bound)
        bound.setblocking(False)
        if is_v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
    _enlarge(bound, what, "receive", SO_RCVBUFFORCE, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES, logger)
    _enlarge(bound, what, "send", SO_SNDBUFFORCE, socket.SO_SNDBUF, SEND_BUFFER_BYTES, logger)
    return bound.fileno()


@contextmanager
def _as_socket_error(what: str, address: Address) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SocketError(str(bind_error(what, "UDP", address, error))) from None


def _enlarge(
    bound: socket.socket,
    what: str,
    which: str,
    force_option: int,
    option: int,
    wanted_bytes: int,
    logger: Logger,
) -> None:
    """As much buffer as the system gives; warn if that is less."""
    try:
        bound.setsockopt(socket.SOL_SOCKET, force_option, wanted_bytes)
    except PermissionError:
        bound.setsockopt(socket.SOL_SOCKET, option, wanted_bytes)
    given_bytes = bound.getsockopt(socket.SOL_SOCKET, option) // 2  # the kernel doubles it
    if given_bytes < wanted_bytes:
        sysctl = "net.core.rmem_max" if which == "receive" else "net.core.wmem_max"
        logger.warning(
            f"{which}_buffer_small",
            socket=what,
            wanted_bytes=wanted_bytes,
            given_bytes=given_bytes,
            hint=f"raise {sysctl}, or grant CAP_NET_ADMIN",
        )
