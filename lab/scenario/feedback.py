"""What a viewer of a scenario says back, and how it wants what it asks for again: the same in
virtual and in real time.
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.scenario.model import Feedback, ScenarioViewer

FLAGS: dict[Feedback, int] = {"reports": 1, "nack": 2, "transport_cc": 4, "pli": 8}
"""As native viewers take them."""
USUAL: tuple[Feedback, ...] = ("reports", "nack")
RTX_PAYLOAD_TYPE = 97  # unlike all of the lab's media


@dataclass(frozen=True, slots=True)
class Speech:
    """feedback: the RTCP that it sends. rtx_payload_type: None: what comes again does so under its
    own number."""

    feedback: tuple[Feedback, ...] = ()
    rtx_payload_type: int | None = None

    @property
    def flags(self) -> int:
        return sum(FLAGS[word] for word in set(self.feedback))

    @property
    def tells_arrivals(self) -> bool:
        """So its packets need transport-wide numbers."""
        return "transport_cc" in self.feedback


NO_SPEECH = Speech()


def speech_of(entry: ScenarioViewer, *, has_access: bool) -> Speech:
    """has_access: it is behind an access path, which may lose something."""
    said = entry.feedback
    feedback = (USUAL if has_access else ()) if said is None else said
    wants_rtx = "transport_cc" in feedback if entry.rtx is None else entry.rtx
    return Speech(feedback, RTX_PAYLOAD_TYPE if wants_rtx else None)
