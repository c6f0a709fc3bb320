"""Which streams there are, which paths join their producers to consumers, and which one to take."""

from controller.paths.explain import Candidate, Explanation, Hop, Verdict, explain
from controller.paths.overlay_path import OverlayPath
from controller.paths.path_answer import (
    NoPath,
    PathAnswer,
    PathKind,
    Paths,
    UnknownConsumer,
    UnknownProducer,
    UnknownStream,
)
from controller.paths.path_base import Invalidation, PathBase, PathConfig, SearchMode
from controller.paths.path_decision import Decision, PathDecision
from controller.paths.popularity import Popularity, PopularityConfig, PopularityState
from controller.paths.rehome import (
    ActivePath,
    Keep,
    Move,
    MoveReason,
    Rehome,
    RehomeConfig,
    Rehoming,
)
from controller.paths.stream_base import (
    Announced,
    Broadcast,
    Ended,
    Stream,
    StreamBase,
    Superseded,
    Track,
)
from controller.paths.stream_ids import StreamIds

__all__ = [
    "ActivePath",
    "Announced",
    "Broadcast",
    "Candidate",
    "Decision",
    "Ended",
    "Explanation",
    "Hop",
    "Invalidation",
    "Keep",
    "Move",
    "MoveReason",
    "NoPath",
    "OverlayPath",
    "PathAnswer",
    "PathBase",
    "PathConfig",
    "PathDecision",
    "PathKind",
    "Paths",
    "Popularity",
    "PopularityConfig",
    "PopularityState",
    "Rehome",
    "RehomeConfig",
    "Rehoming",
    "SearchMode",
    "Stream",
    "StreamBase",
    "StreamIds",
    "Superseded",
    "Track",
    "UnknownConsumer",
    "UnknownProducer",
    "UnknownStream",
    "Verdict",
    "explain",
]
