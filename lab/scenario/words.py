"""An event in a few words, for reports and views."""

from __future__ import annotations

from lab.scenario.link_keys import LinkKeys
from lab.scenario.model import (
    BrainEvent,
    ChangeAccess,
    ChangeLink,
    Cut,
    Event,
    Mend,
    MoveBroadcast,
    MoveViewer,
    NodeEvent,
    PauseEncoder,
    RestartEncoder,
    SwitchViewer,
    ViewerEvent,
)


def describe(event: Event) -> str:
    """As in "cut london - tokyo"."""
    match event:
        case Cut() | Mend():
            return f"{event.do} {event.a} - {event.b}"
        case ChangeLink():
            return f"link {event.a} - {event.b}: {_changes(event, event.delay_ms)}"
        case ChangeAccess():
            parts = [_changes(event, event.delay_ms)]
            if event.back is not None:
                parts.append(f"back {_changes(event.back, event.back.delay_ms)}")
            return f"access of {event.viewers or event.broadcast}: {', '.join(filter(None, parts))}"
        case NodeEvent():
            return f"{event.do} {event.node}"
        case BrainEvent():
            return event.do.replace("_", " ")
        case ViewerEvent():
            return f"{event.viewer} {'joins' if event.do == 'join' else 'leaves'}"
        case MoveViewer():
            return f"{event.viewer} moves to {event.to}"
        case SwitchViewer():
            return f"{event.viewer} switches to {event.to}"
        case MoveBroadcast():
            return f"{event.broadcast} moves to {event.to}"
        case RestartEncoder() | PauseEncoder():
            return f"{event.do.removesuffix('_encoder')} the encoder of {event.broadcast}"


def _changes(keys: LinkKeys, delay_ms: float | None) -> str:
    burst, trace = keys.burst_loss, keys.rate_trace
    told = {
        "delay": delay_ms is not None and f"{delay_ms:g} ms",
        "jitter": keys.jitter_ms is not None and f"{keys.jitter_ms:g} ms",
        "loss": keys.loss is not None and f"{keys.loss:.1%}",
        "bursts": burst is not None and f"{burst.p_bad:g}/{burst.p_good:g}",
        "reordering": keys.reorder is not None and f"{keys.reorder:.1%}",
        "duplicates": keys.duplicate is not None and f"{keys.duplicate:.1%}",
        "rate": keys.rate_bps is not None and f"{keys.rate_bps / 1e6:g} Mbit/s",
        "rates": trace is not None and f"{len(trace)} from {trace[0][1] / 1e6:g} Mbit/s",
        "queue": keys.queue_ms is not None and f"{keys.queue_ms:g} ms",
    }
    return ", ".join(f"{name} {value}" for name, value in told.items() if value)
