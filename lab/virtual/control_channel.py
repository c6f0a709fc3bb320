"""Control connections between nodes and the brain: ordered, reliable, late, and cut at once.

What a killed process leaves behind tells the other side: its host closes the connection, and that
arrives as late as a message. What was under way when a connection ended is lost.
"""

from __future__ import annotations

from typing import Protocol

from lab.virtual.clock import Agenda


class NodeSide(Protocol):
    """A node's end."""

    name: str

    def on_connected(self) -> None: ...
    def on_data(self, data: bytes) -> None: ...
    def on_closed(self, reason: str) -> None: ...


class BrainSide(Protocol):
    """The brain's end of all of them."""

    @property
    def is_running(self) -> bool: ...

    def on_opened(self, link: ControlLink) -> None: ...
    def on_data(self, link: ControlLink, data: bytes) -> None: ...
    def on_closed(self, link: ControlLink, reason: str) -> None: ...


class ControlLink:
    """One connection, from the attempt on."""

    def __init__(self, node: NodeSide, brain: BrainSide, agenda: Agenda, delay_us: int) -> None:
        self.node = node
        self.connection = -1
        """The brain's number of it; -1: not open there."""
        self._brain = brain
        self._agenda = agenda
        self._delay_us = delay_us
        self._is_node_there = True
        self._is_brain_there = False
        agenda.after(delay_us, self._arrive)

    def to_brain(self, data: bytes) -> None:
        """Send. Nothing happens if the connection is over."""
        self._agenda.after(self._delay_us, lambda: self._give_to_brain(data))

    def to_node(self, data: bytes) -> None:
        """Send. Nothing happens if the connection is over."""
        self._agenda.after(self._delay_us, lambda: self._give_to_node(data))

    def close_by_node(self, reason: str) -> None:
        """The node's end is gone now."""
        self._is_node_there = False
        self._agenda.after(self._delay_us, lambda: self._tell_brain(reason))

    def close_by_brain(self, reason: str) -> None:
        """The brain's end is gone now."""
        self._is_brain_there = False
        self._agenda.after(self._delay_us, lambda: self._tell_node(reason))

    def _arrive(self) -> None:
        if not self._brain.is_running:
            self._agenda.after(self._delay_us, lambda: self._tell_node("connection refused"))
        elif self._is_node_there:
            self._is_brain_there = True
            self._brain.on_opened(self)
            self._agenda.after(self._delay_us, self._open)

    def _open(self) -> None:
        if self._is_node_there and self._is_brain_there:
            self.node.on_connected()

    def _give_to_brain(self, data: bytes) -> None:
        if self._is_brain_there:
            self._brain.on_data(self, data)

    def _give_to_node(self, data: bytes) -> None:
        if self._is_node_there:
            self.node.on_data(data)

    def _tell_brain(self, reason: str) -> None:
        if self._is_brain_there:
            self._is_brain_there = False
            self._brain.on_closed(self, reason)

    def _tell_node(self, reason: str) -> None:
        if self._is_node_there:
            self._is_node_there = False
            self.node.on_closed(reason)
