"""The process of a lab's links: `python -m lab.realtime.link_process`, spoken to over its standard
input and output (`link_messages`). It ends when its input does.

Links have a process of their own so that nothing else in the lab (drawing, starting processes,
judging frames) makes a datagram late.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import msgspec
import uvloop

from lab.realtime.link_messages import (
    MAX_LINE_BYTES,
    Aim,
    Answer,
    Change,
    ChangeAccess,
    Changed,
    Count,
    Counted,
    Open,
    Opened,
    Request,
)
from lab.timer_fd import now_us
from lab.udp_access import UdpAccess
from lab.udp_link import UdpLink


class _Links:
    """Answers one request after the other."""

    def __init__(self) -> None:
        self.links: list[UdpLink] = []
        self.accesses: list[UdpAccess] = []

    async def answer(self, request: Request) -> Answer:
        match request:
            case Open(specs, accesses):
                for spec in specs:
                    link = await UdpLink.open(
                        a=spec.a, b=spec.b, config_ab=spec.config, seed=spec.seed
                    )
                    self.links.append(link)
                for each in accesses:
                    access = await UdpAccess.open(
                        lanes=each.lanes, forward=each.forward, back=each.back, seed=each.seed
                    )
                    self.accesses.append(access)
                return Opened(
                    [(link.address_facing_a, link.address_facing_b) for link in self.links],
                    [access.addresses for access in self.accesses],
                )
            case Change(index, config):
                self.links[index].set_config(config_ab=config, config_ba=config)
                return Changed(now_us())
            case ChangeAccess(index, forward, back):
                self.accesses[index].set_config(forward=forward, back=back)
                return Changed(now_us())
            case Aim(index, lane, receiver):
                self.accesses[index].aim(lane, receiver)
                return Changed(now_us())
            case Count():
                cpu_us = time.process_time_ns() // 1_000
                return Counted(
                    [link.counters() for link in self.links],
                    cpu_us,
                    [access.counters() for access in self.accesses],
                )


async def _main() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    links, decoder = _Links(), msgspec.json.Decoder(Request)
    while line := await reader.readline():
        answer = await links.answer(decoder.decode(line))
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    # An interrupt of the terminal is the lab's: it ends this process with the end of its input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvloop.run(_main())
