"""Logging: named events with fields, as JSON lines or for a console, on standard error."""

import dataclasses
import logging
import re
import sys
from typing import TypeAlias

import structlog

from relay.config import Log
from relay.events import (
    BroadcastChanged,
    FeatureRefused,
    KeyFrameMissing,
    NeighbourDown,
    NeighbourMoved,
    NodeEvent,
    TableFull,
)

Logger: TypeAlias = structlog.typing.FilteringBoundLogger

_WARNINGS = (NeighbourDown, NeighbourMoved, FeatureRefused, TableFull)
_DEBUG = (KeyFrameMissing,)  # repeats for as long as an encoder sends none; the metrics count it


def configure(config: Log) -> None:
    """For the whole process."""
    is_terminal = sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if config.format == "json"
        else structlog.dev.ConsoleRenderer(colors=is_terminal)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(config.level.upper())
        ),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
    )


def get_logger(node: str) -> Logger:
    """A logger whose events all name the node."""
    logger: Logger = structlog.get_logger(node=node)
    return logger


def report(logger: Logger, event: NodeEvent) -> None:
    """Log one of a node's events: NeighbourUp(neighbour="a") as neighbour_up neighbour=a."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
    logger.log(_level(event), name, **dataclasses.asdict(event))


def _level(event: NodeEvent) -> int:
    is_lost = isinstance(event, BroadcastChanged) and event.state == "lost"
    if is_lost or isinstance(event, _WARNINGS):
        return logging.WARNING
    return logging.DEBUG if isinstance(event, _DEBUG) else logging.INFO
