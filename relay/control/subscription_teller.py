"""How this node gets broadcasts from elsewhere, told to the brain as it changes."""

from __future__ import annotations

from control_client.messages import MAX_STREAMS, SubscriptionState
from control_client.session import NodeSession
from relay.node import Node
from relay.slowpath.broadcast import Broadcast


class SubscriptionTeller:
    """Of one node, to one session."""

    def __init__(self, node: Node, session: NodeSession) -> None:
        self._node = node
        self._session = session
        self._told: dict[str, SubscriptionState] = {}

    def begin(self) -> tuple[SubscriptionState, ...]:
        """All there are, for an inventory; what changes from now on is told."""
        found = self._node.subscriptions.broadcasts
        states = [_state_of(broadcast) for broadcast in found if not broadcast.is_local]
        self._told = {state.broadcast: state for state in states[:MAX_STREAMS]}
        return tuple(self._told.values())

    def sweep(self, now_us: int) -> None:
        """Each second: what changed without an event, as where an upstream gets it from."""
        for broadcast in self._node.subscriptions.broadcasts:
            self._tell(broadcast, now_us)
        found = self._node.subscriptions
        for stream in [name for name in self._told if found.find(name) is None]:
            self._end(stream, now_us)

    def on_change(self, stream: str, now_us: int) -> None:
        """It came, was lost, ended, came another way, or is here no longer."""
        broadcast = self._node.subscriptions.find(stream)
        if broadcast is not None:
            self._tell(broadcast, now_us)
        else:
            self._end(stream, now_us)

    def _end(self, stream: str, now_us: int) -> None:
        """It is not had from elsewhere any more."""
        if self._told.pop(stream, None) is not None:
            self._session.subscription_changed(SubscriptionState(stream, "ended"), now_us)

    def _tell(self, broadcast: Broadcast, now_us: int) -> None:
        """If it stands otherwise than it was told; numbers of viewers alone are in reports."""
        if broadcast.is_local:
            self._end(broadcast.name, now_us)  # its broadcaster has come here
            return
        state, before = _state_of(broadcast), self._told.get(broadcast.name)
        if before is None or (state.state, state.ancestors) != (before.state, before.ancestors):
            self._told[broadcast.name] = state
            self._session.subscription_changed(state, now_us)


def _state_of(broadcast: Broadcast) -> SubscriptionState:
    return SubscriptionState(
        broadcast.name,
        broadcast.state.value,
        broadcast.ancestors,
        len(broadcast.viewers),
        len(broadcast.nodes),
    )
