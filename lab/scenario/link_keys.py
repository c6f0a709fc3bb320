"""The keys that say what a path does to datagrams: the same in [mesh], [[links]], [[access]] and in
events, in virtual and in real time. `lab.link` says what each of them means."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, model_validator

from lab.link import BurstLoss, LinkConfig
from service.config_model import Model

MAX_DURATION_S = 86_400.0
MAX_TRACE_STEPS = 100_000

Seconds = Annotated[float, Field(ge=0, le=MAX_DURATION_S)]
DelayMs = Annotated[float, Field(ge=0, le=10_000)]
Share = Annotated[float, Field(ge=0, le=1)]
QueueBytes = Annotated[int, Field(ge=1_500, le=1 << 30)]
PathRateBps = Annotated[int, Field(ge=10_000, le=100_000_000_000)]


def _trace(steps: tuple[tuple[float, int], ...]) -> tuple[tuple[float, int], ...]:
    if steps[0][0] != 0:
        raise ValueError("must begin at 0 s")
    if any(a >= b for (a, _), (b, _) in pairwise(steps)):
        raise ValueError("times must rise")
    return steps


RateTrace = Annotated[
    tuple[tuple[Seconds, PathRateBps], ...],
    Field(min_length=1, max_length=MAX_TRACE_STEPS),
    AfterValidator(_trace),
]


class BurstLossTable(Model):
    """See `lab.link.BurstLoss`."""

    p_bad: Share
    p_good: Share
    loss_bad: Share = 1.0
    loss_good: Share = 0.0


class LinkKeys(Model):
    """None: not said here."""

    jitter_ms: DelayMs | None = None
    loss: Share | None = None
    burst_loss: BurstLossTable | None = None
    reorder: Share | None = None
    reorder_extra_ms: DelayMs | None = None
    duplicate: Share | None = None
    duplicate_extra_ms: DelayMs | None = None
    rate_bps: PathRateBps | None = None
    rate_trace: RateTrace | None = None
    """[s, rate_bps], ...: s from the scenario's beginning; in an event, from the event."""
    queue_bytes: QueueBytes | None = None
    queue_ms: DelayMs | None = None
    """What the rate of the moment sends in this time, instead of `queue_bytes`."""

    @model_validator(mode="after")
    def _say_it_once(self) -> Self:
        for one, other in (("rate_bps", "rate_trace"), ("queue_bytes", "queue_ms")):
            if getattr(self, one) is not None and getattr(self, other) is not None:
                raise ValueError(f"{one} and {other} exclude each other")
        return self

    def fields(self) -> dict[str, Any]:
        """Those of a `LinkConfig` that are said here."""
        return dict(self._fields())

    def _fields(self) -> Iterator[tuple[str, Any]]:
        for name in ("loss", "reorder", "duplicate"):
            if (value := getattr(self, name)) is not None:
                yield name, value
        for name in ("jitter", "reorder_extra", "duplicate_extra"):
            if (value := getattr(self, f"{name}_ms")) is not None:
                yield f"{name}_us", ms_to_us(value)
        if self.burst_loss is not None:
            yield "burst_loss", BurstLoss(**self.burst_loss.model_dump())
        if self.rate_bps is not None:
            yield from (("rate_bps", self.rate_bps), ("rate_trace", ()))
        if self.rate_trace is not None:
            steps = tuple((round(at_s * 1_000_000), bps) for at_s, bps in self.rate_trace)
            yield from (("rate_bps", None), ("rate_trace", steps))
        if self.queue_bytes is not None:
            yield from (("queue_bytes", self.queue_bytes), ("queue_us", None))
        if self.queue_ms is not None:
            yield "queue_us", ms_to_us(self.queue_ms)


def ms_to_us(value: float) -> int:
    """Milliseconds of a file as whole microseconds."""
    return round(value * 1_000)


def link_config(delay_us: int, *said: LinkKeys) -> LinkConfig:
    """One direction; what is said later wins, what nobody says is as `LinkConfig` has it."""
    fields: dict[str, Any] = {}
    for keys in said:
        fields |= keys.fields()
    return LinkConfig(delay_us, **fields)
