"""Drive the native engine and its plain-Python twin with the same random traffic.

python -m tests.fastpath.differential SEED              one scenario, shrunk if it fails
python -m tests.fastpath.differential --seconds 600     as many as fit, on all cores
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import time

from fastpath.reference.siphash import siphash24
from fastpath.reference.wire import Digest, Header, PacketType, parse
from fastpath.siphash import digest
from tests.support.random_traffic import Traffic
from tests.support.twins import Call, MismatchError, Step, replay, shrink

TURNS = 40
PLAIN_EVERY = 20  # one scenario in so many also computes its tags in Python


def digest_of(seed: int) -> Digest:
    return siphash24 if seed % PLAIN_EVERY == 0 else digest


def run_seed(seed: int) -> None:
    """One scenario. Raises MismatchError; whatever it raises names the seed."""
    traffic = Traffic(seed, digest_of(seed))
    try:
        traffic.run(TURNS)
    except Exception as error:
        error.add_note(f"seed {seed}; shrink it: python -m tests.fastpath.differential {seed}")
        raise


def describe(step: Step) -> str:
    if isinstance(step, Call):
        result = "" if step.result is None else f" -> {step.result}"
        return f"{step.name}({', '.join(f'{k}={v!r}' for k, v in step.arguments.items())}){result}"
    lines = [f"turn at {step.now_us} us"]
    for port, source, data in step.datagrams:
        header = parse(data)
        text = header
        if isinstance(header, Header):
            text = f"{PacketType(header.type).name} {header}"
        lines.append(f"    port {port & 0xFFFFF} from {source}, {len(data)} bytes: {text}")
        if isinstance(header, Header) and header.type in (PacketType.FEEDBACK, PacketType.PROBE):
            lines.append(f"        {data[header.header_bytes + 8 :].hex(' ', 4)}")
    return "\n".join(lines)


def explain(seed: int) -> bool:
    """Replay one scenario; if the twins differ, print the fewest steps that show it."""
    traffic = Traffic(seed, digest_of(seed))
    try:
        traffic.run(TURNS)
    except MismatchError as error:
        sys.stdout.write(f"seed {seed}, {error}\n")
        settings, steps = traffic.twins.settings, traffic.twins.steps
        fewest = shrink(settings, steps, digest_of(seed))
        sys.stdout.write(f"settings {settings}\n{len(steps)} steps, shrunk to {len(fewest)}:\n")
        sys.stdout.writelines(describe(step) + "\n" for step in fewest)
        try:
            replay(settings, fewest, digest_of(seed))
        except MismatchError as smaller:
            sys.stdout.write(f"{smaller}\n")
        return False
    sys.stdout.write(f"seed {seed}: {traffic.twins.turns} turns without a difference\n")
    return True


def work(first: int, step: int, until: float) -> tuple[int, list[int], float]:
    """Seeds first, first + step, ...: how many, which failed, CPU seconds."""
    failed: list[int] = []
    seed = first
    while time.monotonic() < until and len(failed) < 10:
        try:
            run_seed(seed)
        except Exception as error:  # noqa: BLE001  a crash of one scenario is a result too
            failed.append(seed)
            sys.stdout.write(f"seed {seed}: {type(error).__name__} {error}\n")
        seed += step
    return (seed - first) // step, failed, time.process_time()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("seed", nargs="?", type=int)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--first", type=int, help="first seed; random by default")
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return 0 if explain(arguments.seed) else 1
    first = random.SystemRandom().getrandbits(40) if arguments.first is None else arguments.first
    until = time.monotonic() + arguments.seconds
    sys.stdout.write(f"seeds from {first}\n")
    with multiprocessing.Pool(arguments.jobs) as pool:
        shares = [(first + job, arguments.jobs, until) for job in range(arguments.jobs)]
        results = pool.starmap(work, shares)
    seeds = sum(count for count, _, _ in results)
    failed = [seed for _, some, _ in results for seed in some]
    cpu_s = sum(cpu for _, _, cpu in results)
    sys.stdout.write(f"{seeds} scenarios, {cpu_s / 60:.1f} CPU minutes, failed: {failed}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
