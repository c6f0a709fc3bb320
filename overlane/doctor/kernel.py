"""What the kernel does for the engine, tried on loopback sockets of our own."""

from __future__ import annotations

import ctypes
import errno
import platform
import socket
import struct
import time
from typing import Any

from overlane.doctor.check import Check, Host, ok, problem, size_text, warning
from relay.sockets import (
    RECEIVE_BUFFER_BYTES,
    SEND_BUFFER_BYTES,
    SO_RCVBUFFORCE,
    SO_SNDBUFFORCE,
)

UDP_SEGMENT = 103  # linux/udp.h; Python names neither
UDP_GRO = 104
SO_TIMESTAMPNS = 35  # asm-generic/socket.h
SYS_EPOLL_PWAIT2 = 441  # the same on all architectures: asm-generic/unistd.h
SEGMENT_BYTES = 1000
SEGMENTS = 4
LOOPBACK_S = 1.0
DROPS_SHOWN_PPM = 10  # chosen: one in 100,000 is a hundredth of the loss that links repair
CMSG_BYTES = 128


def check_kernel(host: Host, use_gso: bool, use_gro: bool) -> list[Check]:
    """use_gso, use_gro: what the configuration wants."""
    return [
        _check_wait(),
        _check_gso(use_gso),
        _check_gro(use_gro),
        _check_timestamps(),
        _check_buffer("receive", RECEIVE_BUFFER_BYTES, host),
        _check_buffer("send", SEND_BUFFER_BYTES, host),
        check_udp_errors(host),
        _check_ipv6(),
    ]


def _check_wait() -> Check:
    """Asked of a descriptor that is none, so that only its absence makes a difference."""
    what = "epoll_pwait2"
    none, nobody = None, ctypes.c_int(-1)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(ctypes.c_long(SYS_EPOLL_PWAIT2), nobody, none, ctypes.c_int(0), none, none, none)
    reason = ctypes.get_errno()
    if reason == errno.ENOSYS:
        found = f"Linux {platform.release()} has none: the engine cannot sleep by microseconds"
        return problem(what, found, "use Linux 5.11 or later")
    return ok(what, f"Linux {platform.release()}")


def _pair() -> tuple[socket.socket, socket.socket]:
    """A receiver on loopback, and a sender connected to it."""
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.settimeout(LOOPBACK_S)
    receiver.bind(("127.0.0.1", 0))
    sender.connect(receiver.getsockname())
    return receiver, sender


def _send_segments(sender: socket.socket) -> None:
    """One call, SEGMENTS packets, the last one shorter. Raises OSError without UDP_SEGMENT."""
    control = [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("=H", SEGMENT_BYTES))]
    sender.sendmsg([bytes(SEGMENT_BYTES * SEGMENTS - 1)], control)


def _check_gso(is_wanted: bool) -> Check:
    what = "UDP_SEGMENT (GSO)"
    if not is_wanted:
        return ok(what, "not used: kernel.use_gso is false")
    receiver, sender = _pair()
    with receiver, sender:
        try:
            _send_segments(sender)
            sizes = [len(receiver.recv(1 << 16)) for _ in range(SEGMENTS)]
        except TimeoutError:
            return _unheard(what)
        except OSError as error:
            return warning(
                what,
                f"refused ({error.strerror}): each packet takes a call of its own",
                "use Linux 4.18 or later for a third of the CPU time per packet sent",
            )
    if sizes != [SEGMENT_BYTES] * (SEGMENTS - 1) + [SEGMENT_BYTES - 1]:
        return warning(what, f"cuts wrongly: {sizes}", "set kernel.use_gso = false, update Linux")
    return ok(what, f"one call sent {SEGMENTS} packets")


def _check_gro(is_wanted: bool) -> Check:
    what = "UDP_GRO"
    if not is_wanted:
        return ok(what, "not used: kernel.use_gro is false")
    receiver, sender = _pair()
    with receiver, sender:
        try:
            receiver.setsockopt(socket.SOL_UDP, UDP_GRO, 1)
        except OSError as error:
            found = f"refused ({error.strerror}): packets arrive one by one"
            return warning(what, found, "use Linux 5.0 or later")
        try:
            _send_segments(sender)
        except OSError:
            return ok(what, "accepted; not tried, as nothing here sends segments")
        try:
            data, control, _, _ = receiver.recvmsg(1 << 16, CMSG_BYTES)
        except TimeoutError:
            return _unheard(what)
    sizes = [struct.unpack_from("=i", value)[0] for _, kind, value in control if kind == UDP_GRO]
    if len(data) == SEGMENT_BYTES:
        return ok(what, "accepted; loopback delivers one by one")
    if sizes != [SEGMENT_BYTES]:
        found = f"{len(data)} bytes came with segment sizes {sizes}"
        return warning(what, found, "set kernel.use_gro = false, update Linux")
    return ok(what, f"one call received {SEGMENTS} packets")


def _check_timestamps() -> Check:
    what = "SO_TIMESTAMPNS"
    mend = "use a kernel with SO_TIMESTAMPNS: without it, arrival times include waiting here"
    receiver, sender = _pair()
    with receiver, sender:
        try:
            receiver.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        except OSError as error:
            return warning(what, f"refused ({error.strerror})", mend)
        sender.send(b"now")
        try:
            control: list[Any] = receiver.recvmsg(16, CMSG_BYTES)[1]
        except TimeoutError:
            return _unheard(what)
    stamps = [
        struct.unpack_from("@ll", value)
        for level, kind, value in control
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS)
    ]
    if not stamps:
        return warning(what, "accepted, but no packet carries a time", mend)
    age_us = (time.time_ns() - stamps[0][0] * 1_000_000_000 - stamps[0][1]) / 1000
    return ok(what, f"a packet's own time came with it, {age_us:.0f} us ago")


def _unheard(what: str) -> Check:
    return problem(
        what,
        f"what was sent on loopback did not arrive within {LOOPBACK_S:.0f} s",
        "let UDP on 127.0.0.1 pass the firewall, and see that lo is up: ip link show lo",
    )


def _check_buffer(which: str, wanted_bytes: int, host: Host) -> Check:
    """As the node asks for it."""
    what = f"{which} buffer"
    sysctl, force, plain = {
        "receive": ("net.core.rmem_max", SO_RCVBUFFORCE, socket.SO_RCVBUF),
        "send": ("net.core.wmem_max", SO_SNDBUFFORCE, socket.SO_SNDBUF),
    }[which]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        is_forced = True
        try:
            made.setsockopt(socket.SOL_SOCKET, force, wanted_bytes)
        except PermissionError:
            is_forced = False
            made.setsockopt(socket.SOL_SOCKET, plain, wanted_bytes)
        given_bytes = made.getsockopt(socket.SOL_SOCKET, plain) // 2  # the kernel doubles it
    allowed_bytes = host.number(f"proc/sys/{sysctl.replace('.', '/')}") or 0
    mend = f"sysctl -w {sysctl}={wanted_bytes}, and the same in /etc/sysctl.d"
    if given_bytes < wanted_bytes:
        found = f"{size_text(given_bytes)} instead of {size_text(wanted_bytes)}: bursts are lost"
        return warning(what, found, mend)
    if is_forced and allowed_bytes < wanted_bytes:
        found = f"{size_text(given_bytes)}, by CAP_NET_ADMIN; {sysctl} gives others "
        return ok(what, found + size_text(allowed_bytes))
    return ok(what, size_text(given_bytes))


def check_udp_errors(host: Host) -> Check:
    """What this host's UDP sockets have lost since it started, whoever they belonged to."""
    what = "UDP errors so far"
    received = dropped = bad = 0
    for family, path in (("Udp", "proc/net/snmp"), ("Udp6", "proc/net/snmp6")):
        counters = _counters(host.read(path) or "", family)
        received += counters.get("InDatagrams", 0)
        dropped += counters.get("RcvbufErrors", 0)
        bad += counters.get("InErrors", 0) - counters.get("RcvbufErrors", 0)
    found = f"{dropped} lost to full buffers, {max(bad, 0)} otherwise, {received} received"
    if dropped * 1_000_000 > DROPS_SHOWN_PPM * max(received, 1):
        mend = "see who loses them (ss -uamp: d in skmem); give the node cores of its own"
        return warning(what, found, mend)
    return ok(what, found)


def _counters(text: str, family: str) -> dict[str, int]:
    """Of /proc/net/snmp (a line of names, a line of values) or snmp6 (a name and value a line)."""
    if family == "Udp6":
        pairs = [line.split() for line in text.splitlines() if line.startswith(family)]
        return {pair[0].removeprefix(family): int(pair[1]) for pair in pairs if len(pair) == 2}
    lines = [line.split()[1:] for line in text.splitlines() if line.startswith(f"{family}:")]
    return dict(zip(lines[0], map(int, lines[1]), strict=False)) if len(lines) == 2 else {}


def _check_ipv6() -> Check:
    """For information: what needs it fails at its own port or route."""
    what = "IPv6"
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
            made.bind(("::1", 0))
    except OSError as error:
        return ok(what, f"not on this host ({error.strerror}); only IPv4 addresses can be used")
    return ok(what, "there")
