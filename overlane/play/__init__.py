"""`overlane play`: a test viewer that judges each frame by the publisher's manifest."""

from overlane.play.errors import PlayError
from overlane.play.options import PlayOptions
from overlane.play.report import PlayProgress, PlayReport, ProgressCallback
from overlane.play.session import play

__all__ = [
    "PlayError",
    "PlayOptions",
    "PlayProgress",
    "PlayReport",
    "ProgressCallback",
    "play",
]
