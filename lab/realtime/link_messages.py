"""What the lab and its process of links say to each other: JSON, a line each, answered in order."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from lab.link import LinkConfig
from lab.udp_link import UdpLinkCounters
from lab.udp_socket import Address

MAX_LINE_BYTES = 16 << 20  # far above what a run's links take


class LinkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One link to be, alike in both directions. a, b: the real addresses of its ends."""

    a: Address
    b: Address
    config: LinkConfig
    seed: int


class AccessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One access path to be. See `lab.udp_access`."""

    forward: LinkConfig
    back: LinkConfig
    lanes: int
    seed: int


class Open(msgspec.Struct, frozen=True, tag="open"):
    """Once, first. Answered by `Opened`."""

    links: list[LinkSpec]
    accesses: list[AccessSpec] = []


class Change(msgspec.Struct, frozen=True, tag="change"):
    """Of one link, by its place in `Open.links`, from now on. Answered by `Changed`."""

    index: int
    config: LinkConfig


class ChangeAccess(msgspec.Struct, frozen=True, tag="change_access"):
    """As `Change`, by its place in `Open.accesses`."""

    index: int
    forward: LinkConfig
    back: LinkConfig


class Aim(msgspec.Struct, frozen=True, tag="aim"):
    """Where a lane of an access path leads from now on. Answered by `Changed`."""

    access: int
    lane: int
    receiver: Address


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Answered by `Counted`."""


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """facing: where each link's ends must send, in the order of `Open.links`: (facing a, facing b).
    lanes: where media must be sent, by access path and lane."""

    facing: list[tuple[Address, Address]]
    lanes: list[list[Address]] = []


class Changed(msgspec.Struct, frozen=True, tag="changed"):
    """at_us: CLOCK_MONOTONIC, which all processes of a machine share."""

    at_us: int


class Counted(msgspec.Struct, frozen=True, tag="counted"):
    """In the order of `Open.links`. cpu_us: processor time that the process has used."""

    links: list[UdpLinkCounters]
    cpu_us: int
    accesses: list[UdpLinkCounters] = []


Request: TypeAlias = Open | Change | ChangeAccess | Aim | Count
Answer: TypeAlias = Opened | Changed | Counted
