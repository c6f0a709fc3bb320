"""Logging: named events with fields, as JSON lines or for a console, on standard error.

A daemon outlives its log: a line that standard error does not take (closed, a full disk, a reader
that has gone or is stuck) is counted, `overlane_log_lines_lost_total`, and work goes on.
"""

import logging
import os
import re
import select
import sys
from typing import TextIO, TypeAlias, cast

import structlog
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web import RequestPayloadError

from service.config_model import Log

Logger: TypeAlias = structlog.typing.FilteringBoundLogger


class LineWriter:
    """Writes whole lines to a descriptor, or counts them as lost. Never raises, never waits.

    A pipe that is ready takes 4,096 bytes at once (PIPE_BUF, pipe(7)), more than any event.
    """

    def __init__(self, descriptor: int) -> None:
        self.lost_lines = 0
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, text: str) -> None:
        """text: one line with its end."""
        try:
            ready = self._poll.poll(0)
            if not ready or not ready[0][1] & select.POLLOUT:
                self.lost_lines += 1
            else:
                os.write(self._descriptor, text.encode(errors="backslashreplace"))
        except OSError:
            self.lost_lines += 1

    def flush(self) -> None:
        """Nothing is held back."""


standard_error = LineWriter(2)


def say(message: object) -> None:
    """One line to an operator on standard error, outside of the log: why a daemon cannot start."""
    standard_error.write(f"{message}\n")


def configure(config: Log) -> None:
    """For the whole process."""
    is_terminal = sys.stderr is not None and sys.stderr.isatty()
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if config.format == "json"
        else structlog.dev.ConsoleRenderer(colors=is_terminal)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelName(config.level.upper())
        ),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, standard_error)),
    )
    logging.basicConfig(handlers=[_LibraryEvents()], level=logging.WARNING, force=True)


class _LibraryEvents(logging.Handler):
    """What libraries say, as events of the same form. That a client does not speak HTTP, or
    goes in the middle of it, is no fault of this process and tells no traceback."""

    def emit(self, record: logging.LogRecord) -> None:
        logger = structlog.get_logger(library=record.name)
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | RequestPayloadError | ConnectionResetError):
            logger.warning("bad_http", reason=" ".join(str(error).split()))
        else:
            logger.log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def get_logger(**fields: str) -> Logger:
    """A logger whose events all have these fields."""
    logger: Logger = structlog.get_logger(**fields)
    return logger


def event_name(event: object) -> str:
    """NeighbourUp as neighbour_up."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()
