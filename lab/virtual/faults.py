"""Mechanisms broken on purpose, one for each invariant, to show that it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lab.virtual.node_host import NodeHost
from lab.virtual.run import VirtualOverlay
from relay.node import Node
from relay.qoe_sampler import QoeSampler
from relay.slowpath.broadcast import Broadcast
from relay.slowpath.subscription import SubscriptionTable
from relay.slowpath.switch import Switches
from relay.workers import Workers

ECHO_EVERY = 997
OMIT_EVERY = 97


def _forget_loops(_overlay: VirtualOverlay) -> None:
    """Neither who is asked nor who asks minds where a stream has been."""
    _replace(Broadcast, "loop_with", lambda *_: None)
    _replace(SubscriptionTable, "_leave_loop", lambda *_: None)


def _keep_viewers(_overlay: VirtualOverlay) -> None:
    _replace(Node, "remove_viewer", lambda *_: None)


def _echo(overlay: VirtualOverlay) -> None:
    overlay.world.break_by_echo(ECHO_EVERY)


def _ignore_paths(_overlay: VirtualOverlay) -> None:
    """The brain's answers are not used."""
    _replace(Node, "on_paths", lambda *_: None)


def _restore_old_tables(_overlay: VirtualOverlay) -> None:
    """A node's disk gives back the first table it was ever given."""
    first: dict[str, Any] = {}
    start, settle = NodeHost.start, NodeHost.settle

    def start_with_old(host: NodeHost) -> None:
        host.disk = first.get(host.name, host.disk)
        start(host)

    def settle_and_note(host: NodeHost) -> None:
        settle(host)
        if host.disk is not None:
            first.setdefault(host.name, host.disk)

    _replace(NodeHost, "start", start_with_old)
    _replace(NodeHost, "settle", settle_and_note)


def _keep_copies(_overlay: VirtualOverlay) -> None:
    """Nobody ends what premium viewers had sent twice."""
    _replace(SubscriptionTable, "_end_copies", lambda *_: None)


def _keep_views(_overlay: VirtualOverlay) -> None:
    _replace(QoeSampler, "on_leaving", lambda *_: None)


def _leave_out_video(overlay: VirtualOverlay) -> None:
    overlay.world.break_by_omission(OMIT_EVERY, of_video=True)


def _leave_out_audio(overlay: VirtualOverlay) -> None:
    overlay.world.break_by_omission(OMIT_EVERY, of_video=False)


def _lose_to_viewers(overlay: VirtualOverlay) -> None:
    overlay.world.break_by_loss(OMIT_EVERY)


def _lose_between_nodes(overlay: VirtualOverlay) -> None:
    overlay.world.break_by_loss(ECHO_EVERY, between_nodes=True)


def _do_not_switch(_overlay: VirtualOverlay) -> None:
    """Whom the engine has moved is not known to have moved, and nobody is moved late."""
    _replace(Switches, "on_switched", lambda *_: None)
    _replace(Switches, "overdue", lambda *_: [])


def _raise_ceilings(_overlay: VirtualOverlay) -> None:
    """Viewers' links are given more than what is configured."""
    add_link = Workers.add_viewer_link

    def add_wider(workers: Workers, *, rate_bps: int, **keys: Any) -> int:
        return add_link(workers, rate_bps=4 * rate_bps, **keys)

    _replace(Workers, "add_viewer_link", add_wider)


def _keep_subscriptions(_overlay: VirtualOverlay) -> None:
    _replace(SubscriptionTable, "leave_viewer", lambda *_: None)


def _starve(overlay: VirtualOverlay) -> None:
    """Half of the frames do not come, in the end too."""
    overlay.world.break_by_loss(2)


_undo: list[tuple[type, str, Any]] = []
BREAKS: dict[str, Callable[[VirtualOverlay], None]] = {
    "no-loop": _forget_loops,
    "memory": _keep_viewers,
    "packets": _echo,
    "recovery": _ignore_paths,
    "versions": _restore_old_tables,
    "copies": _keep_copies,
    "views": _keep_views,
    "decodable": _leave_out_video,
    "audio": _leave_out_audio,
    "numbers": _lose_to_viewers,
    "requests": _lose_between_nodes,
    "moves": _do_not_switch,
    "budget": _raise_ceilings,
    "returned": _keep_subscriptions,
    "whole": _starve,
}


def _replace(kind: type, name: str, function: Callable[..., Any]) -> None:
    _undo.append((kind, name, kind.__dict__.get(name)))
    setattr(kind, name, function)


@contextmanager
def broken(mechanism: str | None, overlay: VirtualOverlay) -> Iterator[None]:
    """Within, this mechanism does not work; None: all do."""
    try:
        if mechanism is not None:
            BREAKS[mechanism](overlay)
        yield
    finally:
        while _undo:
            kind, name, function = _undo.pop()
            if function is None:
                delattr(kind, name)
            else:
                setattr(kind, name, function)
