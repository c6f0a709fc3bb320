"""Whether the sockets that a configuration names can be bound; if not, who has them.

Each is bound as the daemon would bind it, and closed at once. Nothing listens meanwhile.
"""

from __future__ import annotations

import errno
import re
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Literal

from overlane.doctor.check import Check, Host, ok, problem, warning
from service.address import Address, clashes, format_address, ip_of
from service.http_server import bind_error

TCP_LISTEN = "0A"  # include/net/tcp_states.h
MAX_SHOWN_COMMAND = 60


@dataclass(frozen=True, slots=True)
class WantedSocket:
    """key: of the configuration. transport: what is bound there."""

    key: str
    transport: Literal["UDP", "TCP"]
    address: Address


def check_ports(wanted: Sequence[WantedSocket], host: Host, running: str | None) -> list[Check]:
    """running: what runs with this configuration already, as "the running node"; None: nothing."""
    return [_check_port(each, host, running) for each in wanted]


def _check_port(wanted: WantedSocket, host: Host, running: str | None) -> Check:
    what = f"{wanted.transport} {format_address(wanted.address)} ({wanted.key})"
    try:
        _bind(wanted)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            reason, _, mend = str(
                bind_error(wanted.key, wanted.transport, wanted.address, error)
            ).partition("; ")
            return problem(what, reason.partition(": ")[2], mend or "choose another address")
        if running is not None:
            return ok(what, f"held by {running}")
        holder = holder_of(wanted, host) or "another process"
        return problem(what, f"taken by {holder}", f"stop it, or give {wanted.key} another port")
    return _check_privilege(wanted, what, host)


def _check_privilege(wanted: WantedSocket, what: str, host: Host) -> Check:
    port = wanted.address[1]
    lowest = host.number("proc/sys/net/ipv4/ip_unprivileged_port_start")
    if port == 0:
        return ok(what, "free: any port will do")
    if lowest is not None and port < lowest:
        return warning(
            what,
            f"free for this user; below {lowest} others need CAP_NET_BIND_SERVICE",
            "grant it to the service (AmbientCapabilities=CAP_NET_BIND_SERVICE), or take a port "
            f"from {lowest} up",
        )
    return ok(what, "free")


def _bind(wanted: WantedSocket) -> None:
    is_v6 = ip_of(wanted.address).version == 6
    kind = socket.SOCK_DGRAM if wanted.transport == "UDP" else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, kind) as made:
        if wanted.transport == "TCP":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as asyncio's servers
        if is_v6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(wanted.address)


def holder_of(wanted: WantedSocket, host: Host) -> str | None:
    """Who has the port, as "pid 4711 (nginx: worker process)"; None if no socket is found there."""
    sockets = list(_holding(wanted, host))
    if not sockets:
        return None
    inodes = {inode for inode, _ in sockets}
    for pid in _processes(host.proc):
        if inodes & _socket_inodes(host.proc / str(pid) / "fd"):
            return f"pid {pid} ({_command(host.proc / str(pid))})"
    return f"a process of user {sockets[0][1]}, which this user may not look into"


def _holding(wanted: WantedSocket, host: Host) -> Iterator[tuple[int, int]]:
    """(inode, user id) of the kernel's sockets that clash with the wanted one."""
    name = wanted.transport.lower()
    for table in (name, f"{name}6"):
        for line in (host.read(f"proc/net/{table}") or "").splitlines()[1:]:
            fields = line.split()
            if len(fields) < 10 or (name == "tcp" and fields[3] != TCP_LISTEN):
                continue
            address = kernel_address(fields[1])
            if clashes(address, wanted.address) or _is_dual_stack_wildcard(address, wanted):
                yield int(fields[9]), int(fields[7])


def _is_dual_stack_wildcard(address: Address, wanted: WantedSocket) -> bool:
    return address == ("::", wanted.address[1])


def kernel_address(text: str) -> Address:
    """ "0100007F:1F90" of /proc/net: 32-bit words in the host's byte order, then the port."""
    words, _, port = text.partition(":")
    packed = b"".join(
        int(word, 16).to_bytes(4, sys.byteorder) for word in re.findall(r".{8}", words)
    )
    ip: IPv4Address | IPv6Address = ip_address(packed)
    return str(ip), int(port, 16)


def _processes(proc: Path) -> Iterable[int]:
    return sorted(int(entry.name) for entry in proc.iterdir() if entry.name.isdecimal())


def _socket_inodes(descriptors: Path) -> set[int]:
    found = set()
    with suppress(OSError):  # another user's, or it has ended
        for descriptor in descriptors.iterdir():
            with suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink())):
                    found.add(int(match[1]))
    return found


def _command(process: Path) -> str:
    try:
        words = (process / "cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
    except OSError:
        words = b""
    text = "".join(c if c.isprintable() else " " for c in words.decode(errors="replace"))
    return text if len(text) <= MAX_SHOWN_COMMAND else f"{text[: MAX_SHOWN_COMMAND - 3]}..."
