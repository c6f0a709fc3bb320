"""Addresses as text: "192.0.2.1:7000" and "[2001:db8::1]:7000"."""

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeAlias

Address: TypeAlias = tuple[str, int]


def split_host_port(text: str) -> Address:
    """("host", port) of "host:port" or "[v6]:port"; the host may be a name. Raises ValueError."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"{text!r}: an IPv6 address needs brackets, as in [::1]:7000")
    if not colon or not host or not (port.isascii() and port.isdecimal()) or int(port) > 65535:
        raise ValueError(f"{text!r} is not of the form ip:port")
    return host, int(port)


def parse_address(text: str) -> Address:
    """The same for a numeric address only, in its canonical form. Raises ValueError."""
    host, port = split_host_port(text)
    try:
        return str(ip_address(host)), port
    except ValueError:
        raise ValueError(f"{host!r} in {text!r} is not an IP address") from None


def format_address(address: Address) -> str:
    """The text that `parse_address` reads."""
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def ip_of(address: Address) -> IPv4Address | IPv6Address:
    """The numeric host."""
    return ip_address(address[0])


def clashes(a: Address, b: Address) -> bool:
    """Whether two UDP sockets could not be bound to both (port 0 is drawn, so it never clashes)."""
    if a[1] != b[1] or a[1] == 0:
        return False
    first, second = ip_of(a), ip_of(b)
    if first == second:
        return True
    same_family = first.version == second.version
    return same_family and (first.is_unspecified or second.is_unspecified)
