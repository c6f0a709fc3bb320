"""Errors of the lab: all are misuse by the caller, none is caused by traffic."""

from __future__ import annotations


class LabError(Exception):
    """Base of all errors raised by `lab`."""


class LinkConfigError(LabError):
    """A `LinkConfig` with values out of range; the message lists every problem."""


class ClockError(LabError):
    """Time handed to a link went backwards."""


class NoLinkError(LabError):
    """A link was named that the network does not have."""


class AddressError(LabError):
    """Not a numeric IPv4 address with a port."""


class UnknownCityError(LabError):
    """A city that is not in the data; `near` holds the closest names that are."""

    def __init__(self, name: str, near: tuple[str, ...]) -> None:
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        super().__init__(f"unknown city {name!r}{hint}")
        self.name = name
        self.near = near


class NoMeasurementError(LabError):
    """Both cities are known, but nobody measured between them in either direction."""
