"""When a link's packets arrived, told to who sent them. In network order, after the first byte:

ARRIVALS  6, base u32, settled u16, time u64, then for each number from base on one byte:
          0: has not arrived; 1 to 254: it has, (byte - 65) units after the one before it in this
          message; 255: the same by an i16 that follows

A unit is 64 us; `time` stands for the first that has arrived. `settled`: so many numbers, from base
on, are said for the last time: what has not arrived by now is lost. Each number is said twice.
"""

import struct

from fastpath.rate import PacketResult
from fastpath.reference.link import Link
from fastpath.reference.wire import LOW_32, PacketType
from fastpath.reference.worker import Worker
from rtp.sequence import difference

ARRIVALS = 6
HEAD = struct.Struct(">IHQ")
UNIT_US = 64
INTERVAL_US = 50_000
SOON = 400  # so many numbers are told without waiting for the interval's end
KEPT = 2048  # times that may still have to be told
NO_STEP = 65  # the byte of a step of 0
LONG_STEP = 255
FRESH_BYTES = 640
MAX_BYTES = 1400
CLOCK_BITS = 50


def begin_arrivals(link: Link) -> None:
    """Of what is there already no time is known."""
    link.tells_arrivals = True
    link.told_from = link.told_to = link.highest + 1
    link.next_arrivals_us = None


def note_arrival(link: Link, number: int, kind: int, arrived_us: int, now_us: int) -> None:
    """Only media and padding make a report due: reports do not answer each other."""
    if number + KEPT > link.highest:
        link.arrivals[number] = arrived_us // UNIT_US
        link.arrivals.pop(number - KEPT, None)
    if kind in (PacketType.MEDIA, PacketType.PADDING):
        if link.next_arrivals_us is None:
            link.next_arrivals_us = now_us + INTERVAL_US
        if link.highest >= link.told_to + SOON:
            link.next_arrivals_us = now_us


def say_arrivals(worker: Worker, link: Link, now_us: int) -> None:
    """All that is new, in as many messages as it takes."""
    from fastpath.reference.send import send_message

    link.next_arrivals_us = None
    while link.told_to <= link.highest:
        base = max(link.told_from, link.highest + 1 - KEPT)
        link.told_to = max(link.told_to, base)
        steps, end, first = _steps(link, base)
        message = bytes([ARRIVALS]) + HEAD.pack(base & LOW_32, link.told_to - base, first) + steps
        link.told_from, link.told_to = min(link.told_to, end), end
        send_message(worker, link, PacketType.FEEDBACK, message, now_us)


def _steps(link: Link, base: int) -> tuple[bytes, int, int]:
    """The bytes of the numbers from `base` on, the number behind them, and the time of the first
    that has arrived (0: none has)."""
    steps, number = b"", base
    first = before = None
    room, fresh_from = MAX_BYTES - 1 - HEAD.size, MAX_BYTES
    while number <= link.highest and len(steps) + 3 <= room:
        if len(steps) >= fresh_from + FRESH_BYTES:
            break
        if number == link.told_to:
            fresh_from = len(steps)
        if not link.was_seen(number):
            steps += b"\0"
        else:
            time = link.arrivals[number]
            first = time if first is None else first
            steps += _step(0 if before is None else time - before)
            before = time
        number += 1
    return steps, number, first or 0


def _step(step: int) -> bytes:
    if -NO_STEP < step < LONG_STEP - NO_STEP:
        return bytes([step + NO_STEP])
    return bytes([LONG_STEP]) + min(max(step, -(1 << 15)), (1 << 15) - 1).to_bytes(2, signed=True)


def on_arrivals(link: Link, body: bytes, now_us: int) -> None:
    """Join the report with what was sent. Numbers never sent, or forgotten, say nothing."""
    base, settled, time = HEAD.unpack_from(body)
    behind = difference(link.hop_seq & LOW_32, base, 32)
    if link.pacer is None or not 0 <= behind < link.hop_seq or time >> CLOCK_BITS:
        return
    number = link.hop_seq - behind
    settled += number
    results = []
    at = HEAD.size
    while at < len(body) and number <= link.hop_seq:
        has_arrived = body[at] != 0
        if body[at] == LONG_STEP:
            if at + 3 > len(body):
                break
            time += int.from_bytes(body[at + 1 : at + 3], signed=True)
            at += 3
        else:
            time += body[at] - NO_STEP if has_arrived else 0
            at += 1
        time = max(time, 0)
        sent = link.history.get(number)
        if sent is not None and sent.bytes and (has_arrived or number < settled):
            arrival_us = time * UNIT_US if has_arrived else -1
            probe = link.pacer.cluster_of(number)
            results.append(PacketResult(sent.sent_us, arrival_us, sent.bytes, probe))
            sent.bytes = 0
        number += 1
    if results:
        link.pacer.on_results(link, results, link.rtt_us, now_us)
