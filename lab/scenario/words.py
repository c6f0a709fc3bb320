"""An event in a few words, for reports and views."""

from __future__ import annotations

from lab.scenario.model import (
    BrainEvent,
    ChangeLink,
    Cut,
    Event,
    Mend,
    MoveBroadcast,
    MoveViewer,
    NodeEvent,
    RestartEncoder,
    ViewerEvent,
)


def describe(event: Event) -> str:
    """As in "cut london - tokyo"."""
    match event:
        case Cut() | Mend():
            return f"{event.do} {event.a} - {event.b}"
        case ChangeLink():
            changes = {
                "delay": event.delay_ms and f"{event.delay_ms:g} ms",
                "jitter": event.jitter_ms and f"{event.jitter_ms:g} ms",
                "loss": None if event.loss is None else f"{event.loss:.1%}",
                "rate": event.rate_bps and f"{event.rate_bps / 1e6:g} Mbit/s",
            }
            told = ", ".join(f"{name} {value}" for name, value in changes.items() if value)
            return f"link {event.a} - {event.b}: {told}"
        case NodeEvent():
            return f"{event.do} {event.node}"
        case BrainEvent():
            return event.do.replace("_", " ")
        case ViewerEvent():
            return f"{event.viewer} {'joins' if event.do == 'join' else 'leaves'}"
        case MoveViewer():
            return f"{event.viewer} moves to {event.to}"
        case MoveBroadcast():
            return f"{event.broadcast} moves to {event.to}"
        case RestartEncoder():
            return f"restart the encoder of {event.broadcast}"
