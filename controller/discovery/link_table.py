"""The last measurement of each directed link, in square arrays that grow with the nodes.

Row = the node that measured, column = its peer; in `picture` row = sending node. Both ends measure
one and the same round trip, with their own clock; `picture` decides which reading counts:

- both sides, of about the same age: the smaller, since what a side adds is its own waiting;
- both sides, one much older: the newer;
- one side only: that one, for both directions;
- a side that says "no answer": no link, until that side has a reading again, or has said nothing
  for so long that the other's is much newer. The other side may hear what this one does not.

Loss and utilisation belong to a direction. Utilisation is known to the sender, and 0 if it was not
measured, as nobody sends there; loss is known to the receiver alone, and taken from the other
direction if it was not measured, the best guess there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float64]
BoolArray: TypeAlias = NDArray[np.bool_]
TimeArray: TypeAlias = NDArray[np.int64]

NEVER_US = -(2**62)  # before every time, and a difference to any time still fits in 64 bits
FIRST_CAPACITY = 16


@dataclass(frozen=True, slots=True)
class LinkPicture:
    """One number for each directed link, all (N, N), row = sender.

    rtt_us: symmetric, inf = no link, also on the diagonal. loss, utilisation: 0..1.
    """

    rtt_us: FloatArray
    loss: FloatArray
    utilisation: FloatArray
    overloaded: BoolArray


class SavedLinks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A LinkTable as bytes: each a square of len(names) rows, little endian, numbers of 4 bytes
    (exact to 1 us up to 16 s), times of 8, truths of 1."""

    names: tuple[str, ...]
    rtt_us: bytes
    loss: bytes
    utilisation: bytes
    overloaded: bytes
    measured_us: bytes


class LinkTable:
    """Arrays are views of the first `count` rows and columns; writing to them is how to fill it.

    rtt_us: NaN = never measured or forgotten, inf = the peer does not answer. loss: of what came
    from the peer, utilisation: of what goes there; NaN like rtt_us. measured_us, asked_us: when
    last measured, when a ping was last asked for.
    """

    def __init__(self) -> None:
        self.count = 0
        self._allocate(FIRST_CAPACITY)

    def _allocate(self, capacity: int) -> None:
        shape = (capacity, capacity)
        self._rtt_us = np.full(shape, np.nan)
        self._loss = np.full(shape, np.nan)
        self._utilisation = np.full(shape, np.nan)
        self._overloaded = np.zeros(shape, np.bool_)
        self._measured_us = np.full(shape, NEVER_US, np.int64)
        self._asked_us = np.full(shape, NEVER_US, np.int64)

    @property
    def rtt_us(self) -> FloatArray:
        return self._rtt_us[: self.count, : self.count]

    @property
    def loss(self) -> FloatArray:
        return self._loss[: self.count, : self.count]

    @property
    def utilisation(self) -> FloatArray:
        return self._utilisation[: self.count, : self.count]

    @property
    def overloaded(self) -> BoolArray:
        return self._overloaded[: self.count, : self.count]

    @property
    def measured_us(self) -> TimeArray:
        return self._measured_us[: self.count, : self.count]

    @property
    def asked_us(self) -> TimeArray:
        return self._asked_us[: self.count, : self.count]

    def _contents(self) -> tuple[FloatArray | BoolArray | TimeArray, ...]:
        return (
            self.rtt_us,
            self.loss,
            self.utilisation,
            self.overloaded,
            self.measured_us,
            self.asked_us,
        )

    def add_node(self) -> None:
        """Room for one more node, the last, without measurements."""
        if self.count == len(self._rtt_us):
            self._keep(np.arange(self.count), 2 * self.count)
        self.count += 1

    def remove_node(self, index: int) -> None:
        """Later nodes move one place up."""
        self._keep(np.delete(np.arange(self.count), index), len(self._rtt_us))

    def _keep(self, indices: NDArray[np.intp], capacity: int) -> None:
        kept = [np.array(array[np.ix_(indices, indices)]) for array in self._contents()]
        self._allocate(capacity)
        self.count = len(indices)
        for array, values in zip(self._contents(), kept, strict=True):
            array[...] = values

    def saved(self, names: tuple[str, ...]) -> SavedLinks:
        """names: of the rows."""
        return SavedLinks(
            names=names,
            rtt_us=self.rtt_us.astype("<f4").tobytes(),
            loss=self.loss.astype("<f4").tobytes(),
            utilisation=self.utilisation.astype("<f4").tobytes(),
            overloaded=self.overloaded.tobytes(),
            measured_us=self.measured_us.astype("<i8").tobytes(),
        )

    def restore(self, saved: SavedLinks, kept: Sequence[int], now_us: int) -> None:
        """The saved rows `kept` become the first ones. Times after now_us count as now. Raises
        ValueError if the bytes are not those of that many nodes."""
        size = len(saved.names)
        place = slice(0, len(kept))
        for mine, data, kind in (
            (self.rtt_us, saved.rtt_us, "<f4"),
            (self.loss, saved.loss, "<f4"),
            (self.utilisation, saved.utilisation, "<f4"),
            (self.overloaded, saved.overloaded, "?"),
            (self.measured_us, saved.measured_us, "<i8"),
        ):
            values = np.frombuffer(data, kind).reshape(size, size)
            mine[place, place] = values[np.ix_(kept, kept)]
        np.minimum(self.measured_us, now_us, out=self.measured_us)

    def forget_before(self, time_us: int) -> None:
        """Links last measured before this are as if they had never been."""
        old = (self.measured_us < time_us) & (self.measured_us > NEVER_US)
        for values in (self.rtt_us, self.loss, self.utilisation):
            values[old] = np.nan
        self.overloaded[old] = False
        self.measured_us[old] = NEVER_US

    def picture(self, pairing_us: int) -> LinkPicture:
        """pairing_us: readings of two sides further apart than this do not compete."""
        measured_us = self.measured_us
        too_old = measured_us < measured_us.T - pairing_us
        own = np.where(too_old, np.nan, self.rtt_us)
        rtt_us = np.fmin(own, own.T)
        silent = np.isposinf(own)
        rtt_us[np.isnan(rtt_us) | silent | silent.T] = np.inf
        np.fill_diagonal(rtt_us, np.inf)
        loss = np.where(np.isnan(self.loss.T), self.loss, self.loss.T)
        return LinkPicture(
            rtt_us, np.nan_to_num(loss), np.nan_to_num(self.utilisation), self.overloaded.copy()
        )
