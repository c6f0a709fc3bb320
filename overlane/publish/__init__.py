"""`overlane publish`: a test encoder: H.264 and Opus over RTP, and a record of all it sent."""

from overlane.publish.errors import PublishError
from overlane.publish.options import PublishOptions
from overlane.publish.report import ProgressCallback, PublishReport
from overlane.publish.sample_video import make_test_video
from overlane.publish.session import publish

__all__ = [
    "ProgressCallback",
    "PublishError",
    "PublishOptions",
    "PublishReport",
    "make_test_video",
    "publish",
]
