"""How a node's events are logged: which are warnings, which are for debugging only."""

import dataclasses
import logging

from control_client.messages import TableVersion
from relay.control import agent_events
from relay.control.agent_events import AgentEvent
from relay.events import (
    BroadcastChanged,
    FeatureRefused,
    KeyFrameMissing,
    NeighbourDown,
    NeighbourMoved,
    NodeEvent,
    OverloadBegan,
    OverloadEnded,
    PathsWanted,
    TableFull,
    WorkersBlocked,
)
from service.log import Logger, event_name

_ERRORS = (
    agent_events.ControllerRefused,
    agent_events.TableNotStored,
    agent_events.StoredTableUnusable,
)
_WARNINGS = (
    NeighbourDown,
    NeighbourMoved,
    WorkersBlocked,
    FeatureRefused,
    OverloadBegan,
    OverloadEnded,
    TableFull,
    agent_events.ControllerLost,
    agent_events.TableTurnedDown,
    agent_events.AnnouncementTurnedDown,
    agent_events.StreamIdsReplaced,
    agent_events.BroadcasterDisputed,
    agent_events.AlarmRaised,
)
_DEBUG = (
    KeyFrameMissing,  # repeats for as long as an encoder sends none; the metrics count it
    PathsWanted,  # as often as a second way is missing
)


def report(logger: Logger, event: NodeEvent | AgentEvent) -> None:
    """Log one of a node's events: NeighbourUp(neighbour="a") as neighbour_up neighbour=a."""
    values = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    shown = {k: str(v) if isinstance(v, TableVersion) else v for k, v in values.items()}
    logger.log(_level(event), event_name(event), **shown)


def _level(event: NodeEvent | AgentEvent) -> int:
    if isinstance(event, _ERRORS):
        return logging.ERROR
    is_lost = isinstance(event, BroadcastChanged) and event.state == "lost"
    if is_lost or isinstance(event, _WARNINGS):
        return logging.WARNING
    return logging.DEBUG if isinstance(event, _DEBUG) else logging.INFO
