"""The fuzzing loop, inside the instrumented process; `__main__` starts it and watches over it.

The input that runs stands in a file, so that whoever watches finds it after a crash. An input that
takes longer than 10 s ends the process by SIGALRM, whose default action works in native code too.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import mmap
import os
import signal
import sys
import time
from pathlib import Path
from random import Random
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

from tests.fuzz.mutate import mutate_bytes, mutate_records

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

EDGES = 65_536  # of edge_map.c
SLOWEST_S = 10
HEAD_BYTES = 4


class EdgeMap:
    """The map of edge_map.c. Make it before the first extension is loaded."""

    def __init__(self, library: Path) -> None:
        self._library = ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
        self._now = (ctypes.c_ubyte * EDGES).in_dll(self._library, "edge_now")
        self._traced: tuple[str, ...] = ()
        self._places: dict[CodeType, int] = {}
        self._line = 0

    def run(self, target: Target, data: bytes) -> int:
        """2: the input went where none went before; 1: more often than any; 0: neither."""
        self._traced = target.traced
        self._line = 0
        self._library.edge_begin()
        if self._traced:
            sys.settrace(self._on_call)
        try:
            target.run(data)
        finally:
            sys.settrace(None)
        return int(self._library.edge_end())

    def reached(self) -> frozenset[int]:
        """What the last input reached, each pair with its range of counts as one number."""
        now = bytes(self._now)
        return frozenset(at << 8 | now[at] for at in range(EDGES) if now[at])

    def count(self) -> int:
        """Pairs of blocks (of lines, in Python) reached by any input."""
        return int(self._library.edge_count())

    def _on_call(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        place = self._places.get(frame.f_code)
        if place is None:
            name = frame.f_globals.get("__name__", "")
            is_traced = name.startswith(self._traced)
            text = f"{name}:{frame.f_code.co_firstlineno}"
            digest = hashlib.blake2b(text.encode(), digest_size=4).digest()
            place = int.from_bytes(digest) if is_traced else -1
            self._places[frame.f_code] = place
        return self._on_line if place >= 0 else None

    def _on_line(self, frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line":
            here = (self._places[frame.f_code] + frame.f_lineno * 0x9E37) & (EDGES - 1)
            at = here ^ self._line
            if self._now[at] < 255:
                self._now[at] += 1
            self._line = here >> 1
        return self._on_line


class Current:
    """The input that runs now, in a file that outlives the process."""

    def __init__(self, path: Path, size: int) -> None:
        path.write_bytes(bytes(HEAD_BYTES + size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)

    def set(self, data: bytes) -> None:
        self._map[HEAD_BYTES : HEAD_BYTES + len(data)] = data
        self._map[:HEAD_BYTES] = len(data).to_bytes(HEAD_BYTES)

    @staticmethod
    def read(path: Path) -> bytes:
        """What ran last."""
        data = path.read_bytes()
        return data[HEAD_BYTES : HEAD_BYTES + int.from_bytes(data[:HEAD_BYTES])]


def name_of(data: bytes) -> str:
    """The name of an input's file."""
    return hashlib.blake2b(data, digest_size=8).hexdigest()


def inputs_in(folder: Path) -> list[bytes]:
    """All inputs of a folder, the smallest first."""
    found = [path.read_bytes() for path in folder.glob("*") if path.is_file()]
    return sorted(set(found), key=lambda data: (len(data), data))


def minimal(reached: dict[bytes, frozenset[int]]) -> list[bytes]:
    """A few inputs that together reach what all reach: greedy, the most news for its size first."""
    left = set().union(*reached.values()) if reached else set()
    kept = []
    while left:
        best = max(
            reached, key=lambda data: (len(reached[data] & left) / (len(data) + 40), -len(data))
        )
        if not reached[best] & left:
            break
        kept.append(best)
        left -= reached[best]
    return kept


class Session:
    """One target in this process. work: where crashes and finds go; corpus: what is committed."""

    def __init__(self, name: str, work: Path, corpus: Path, library: Path) -> None:
        self._edges = EdgeMap(library)
        from tests.fuzz.targets import TARGETS  # loads the extensions, which need the map

        self._target = TARGETS[name]
        self._found = work / "found"
        self._corpus = corpus
        self._current = Current(work / "current", 1 << 17)

    def fuzz(self, seconds: float, seed: int) -> dict[str, object]:
        """Mutate until the time is over; what reaches something new is kept. Returns figures."""
        target, rng = self._target, Random(seed)
        mutate = mutate_records if target.is_story else mutate_bytes
        started = time.monotonic()
        pool = [data for data in self._known() if self._execute(data)] or [b""]
        runs = 0
        while time.monotonic() - started < seconds:
            # More often one of the newest: what was found last leads further.
            parent = pool[-1 - int(len(pool) * rng.random() ** 2)]
            data = mutate(rng, parent, rng.choice(pool), target.most_bytes)
            runs += 1
            if self._execute(data):
                pool.append(data)
                (self._found / name_of(data)).write_bytes(data)
        signal.setitimer(signal.ITIMER_REAL, 0)
        usage = os.times()
        return {
            "target": target.name,
            "seed": seed,
            "runs": runs,
            "cpu_s": round(usage.user + usage.system, 1),
            "edges": self._edges.count(),
            "inputs": len(pool),
        }

    def minimise(self) -> dict[str, object]:
        """Leave in the corpus what is needed to reach all that was reached; crashes stay."""
        reached: dict[bytes, frozenset[int]] = {}
        for data in self._known():
            self._execute(data)
            # Pairs without their counts: a corpus to replay, not the one that fuzzing grows.
            reached[data] = frozenset(at >> 8 for at in self._edges.reached())
        signal.setitimer(signal.ITIMER_REAL, 0)
        kept = minimal(reached)
        for path in self._corpus.glob("*"):
            if not path.name.startswith("crash-"):
                path.unlink()
        for data in kept:
            (self._corpus / name_of(data)).write_bytes(data)
        size = sum(map(len, kept))
        return {"target": self._target.name, "of": len(reached), "kept": len(kept), "bytes": size}

    def replay(self, data: bytes) -> dict[str, object]:
        """Run one input."""
        self._execute(data)
        return {"target": self._target.name, "edges": self._edges.count()}

    def _known(self) -> list[bytes]:
        known = [*inputs_in(self._corpus), *self._target.seeds(), *inputs_in(self._found)]
        return list(dict.fromkeys(known))

    def _execute(self, data: bytes) -> int:
        self._current.set(data)
        signal.setitimer(signal.ITIMER_REAL, SLOWEST_S)
        return self._edges.run(self._target, data)


def main() -> None:
    """Arguments: target, working folder, corpus, library, then what to do; prints JSON."""
    name, work, corpus, library, action, *options = sys.argv[1:]
    session = Session(name, Path(work), Path(corpus), Path(library))
    if action == "fuzz":
        report = session.fuzz(float(options[0]), int(options[1]))
    elif action == "minimise":
        report = session.minimise()
    else:
        report = session.replay(Path(options[0]).read_bytes())
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
