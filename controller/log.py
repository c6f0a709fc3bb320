"""How the brain's events are logged."""

import dataclasses
import logging

from controller.core import events
from controller.core.events import BrainEvent
from controller.discovery import NodeLost, NodeSuspected
from controller.tables.node_session import NodeLeft, NodeTurnedAway, RefusedByNode
from service.log import Logger, event_name

_ERRORS = (events.StateIgnored, events.TablesNotMade)
_WARNINGS = (
    NodeLeft,
    NodeTurnedAway,
    RefusedByNode,
    NodeLost,
    NodeSuspected,
    events.NodeNotPlaced,
    events.MeshLimited,
    events.TableNotApplied,
    events.AnnouncementRefused,
)
_DEBUG = (events.StateChanged, events.PathRefused)


def report(logger: Logger, event: BrainEvent) -> None:
    """Log one of them: NodeLost(node="a") as node_lost node=a."""
    fields = {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}
    logger.log(_level(event), event_name(event), **fields)


def _level(event: BrainEvent) -> int:
    if isinstance(event, _ERRORS):
        return logging.ERROR
    if isinstance(event, NodeLeft) and event.was_replaced:
        return logging.INFO
    if isinstance(event, _WARNINGS):
        return logging.WARNING
    return logging.DEBUG if isinstance(event, _DEBUG) else logging.INFO
