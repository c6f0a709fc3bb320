"""Where a viewer's media may not be sent, whoever asks for it."""

import socket
from collections.abc import Mapping
from ipaddress import IPv4Address

from relay.config import NodeConfig
from relay.config_checks import MAX_PORT
from relay.errors import RefusalCode, Refused
from service.address import Address, clashes, format_address, ip_of

_BROADCAST = IPv4Address("255.255.255.255")


def check_destination(address: Address, config: NodeConfig) -> None:
    """Raises ValueError with the reason. The broadcast address of a network cannot be told from a
    host here; the kernel refuses it."""
    ip, port = ip_of(address), address[1]
    if port == 0:
        raise ValueError("the port cannot be 0")
    if ip.is_unspecified or ip == _BROADCAST:
        raise ValueError(f"{ip} is no host; give the viewer's own address")
    if ip.is_multicast and not config.viewers.allow_multicast:
        raise ValueError(f"{ip} is multicast; viewers.allow_multicast = true would allow it")
    if _is_own(address, config):
        raise ValueError(f"{format_address(address)} is a socket of this node itself")


def _is_own(address: Address, config: NodeConfig) -> bool:
    """A wildcard socket hears what goes to any address of this host."""
    tracks = [track for ingest in config.ingests for track in ingest.tracks]
    own = [*config.worker_endpoints, *config.viewer_endpoints]
    own += [track.endpoint for track in tracks]
    own += [track.rtcp_endpoint for track in tracks if track.rtcp_endpoint is not None]
    met = [each for each in own if clashes(address, each)]
    return address in met or (bool(met) and _is_of_this_host(address[0]))


def _is_of_this_host(host: str) -> bool:
    """Only an address of its own can be bound."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((host, 0))
    except OSError:
        return False
    return True


def check_report_ports(addresses: Mapping[str, Address]) -> None:
    """Of a viewer whose reports go to the port after each. Raises Refused."""
    media_at = {address: media for media, address in addresses.items()}
    for media, (host, port) in addresses.items():
        if port == MAX_PORT:
            text = f'there is no port after {port} for RTCP: use another, or rtcp "mux"'
            raise Refused(RefusalCode.BAD_REQUEST, f"{media}: {text}", field=media)
        if other := media_at.get((host, port + 1)):
            text = f'the port after {port}, for RTCP, is that of {other}: use rtcp "mux"'
            raise Refused(RefusalCode.BAD_REQUEST, f"{media}: {text}", field=media)
