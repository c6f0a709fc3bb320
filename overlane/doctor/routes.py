"""The way to each neighbour, as far as this host can tell: route, source address, MTU.

A connected UDP socket makes the kernel look its route up; nothing is sent. That a neighbour answers
cannot be told without its keys: the running node's links say so.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from overlane.doctor.check import Check, ok, problem, warning
from service.address import Address, format_address, ip_of

IP_MTU = 14  # linux/in.h: of the route of a connected socket
IPV6_MTU = 24  # linux/in6.h
FULL_MTU_BYTES = 1500  # the largest packets that a link carries


@dataclass(frozen=True, slots=True)
class Peer:
    """source: what names it: "configuration" or "stored table"."""

    name: str
    address: Address
    source: str


def check_routes(
    peers: Sequence[Peer], listen: Address, links: Mapping[str, Mapping[str, object]]
) -> list[Check]:
    """listen: the overlay's address here. links: what the running node says, by neighbour."""
    return [_check_route(peer, listen, links.get(peer.name)) for peer in peers]


def _check_route(peer: Peer, listen: Address, link: Mapping[str, object] | None) -> Check:
    where = format_address(peer.address)
    what = f"neighbour {peer.name} ({peer.source})"
    try:
        source, mtu_bytes = route_to(peer.address, listen[0])
    except OSError as error:
        return problem(what, f"no way to {where}: {_reason(error)}", _mend(error, listen))
    found = f"{where} from {source}, MTU {mtu_bytes}"
    if mtu_bytes < FULL_MTU_BYTES:
        return warning(
            what,
            f"{found}: full packets need {FULL_MTU_BYTES}",
            f"raise the MTU on the way, or make encoders send packets {FULL_MTU_BYTES - mtu_bytes} "
            "bytes smaller (ffmpeg ?pkt_size=, GStreamer mtu=)",
        )
    if link is None:
        return ok(what, f"{found}; unproven: no node runs here")
    if not link.get("is_up"):
        handshake = link.get("handshake", "unknown")
        return warning(
            what,
            f"{found}; its link is down (handshake: {handshake})",
            f"see that {peer.name} runs, that UDP to {where} passes the firewalls both ways, and "
            "that both have the same secret",
        )
    rtt_us = link.get("rtt_us")
    rtt = f", rtt {rtt_us / 1000:.1f} ms" if isinstance(rtt_us, int) and rtt_us else ""
    return ok(what, f"{found}; its link is up{rtt}")


def route_to(address: Address, source: str) -> tuple[str, int]:
    """The source address packets will have, and the route's MTU in bytes. Raises OSError.

    source: what the socket is bound to; a wildcard lets the route decide.
    """
    is_v6 = ip_of(address).version == 6
    family = socket.AF_INET6 if is_v6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        probe.bind((source, 0))
        probe.connect(address)
        level, option = (socket.IPPROTO_IPV6, IPV6_MTU) if is_v6 else (socket.IPPROTO_IP, IP_MTU)
        return str(probe.getsockname()[0]), probe.getsockopt(level, option)


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


def _mend(error: OSError, listen: Address) -> str:
    if error.errno == errno.EADDRNOTAVAIL:
        return f"this host has no address {listen[0]}: list those it has with: ip address"
    if error.errno == errno.EINVAL and ip_of(listen).is_loopback:
        return f"listen is {format_address(listen)}, which reaches this host only: listen elsewhere"
    if error.errno == errno.EAFNOSUPPORT:
        return "switch IPv6 on, or give listen and the neighbour IPv4 addresses"
    return "add a route: see ip route, and whether the interface is up"
