"""Two node processes of two workers each, joined by real sockets: two broadcasts, two lanes."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path
from random import Random
from typing import Any

import pytest
import uvloop

from lab.node_config import (
    BasicPorts,
    ingest_lines,
    neighbour_lines,
    node_lines,
    overlane,
    write_private,
)
from lab.ports import free_pairs, free_ports
from lab.processes import Child, Processes
from overlane.http_json import AnswerError
from overlane.play import PlayOptions, play
from overlane.publish.options import PublishOptions
from overlane.publish.session import publish
from overlane.status import fetch

pytestmark = pytest.mark.integration

SECONDS = 4.0
STREAMS = ("one", "two")


def configurations(rtp_ports: list[int], admin: list[int]) -> dict[str, str]:
    """rtp_ports: each is free, and so is the next."""
    overlay, secret = rtp_ports[:2], secrets.token_hex(32)
    viewers, encoders = rtp_ports[2:4], rtp_ports[4:]
    found = {}
    for number, (own, other) in enumerate((("a", "b"), ("b", "a"))):
        ports = BasicPorts(overlay=overlay[number], admin=admin[number], viewers=viewers[number])
        lines = ["workers = 2", *node_lines(own, number + 1, ports, repair=True)]
        address = ("127.0.0.1", overlay[1 - number])
        lines += neighbour_lines(other, 2 - number, address, secret)
        if own == "a":
            for place, stream in enumerate(STREAMS):
                lines += ingest_lines(
                    stream, encoders[2 * place : 2 * place + 1], encoders[2 * place + 1]
                )
        else:
            lines += ["[[paths]]", 'stream = "*"', 'via = ["a"]']
        found[own] = "\n".join(lines) + "\n"
    return found


async def wait_until_keyed(urls: list[str], children: list[Child]) -> None:
    async with asyncio.timeout(30):
        while True:
            for child in children:
                child.check_alive()
            try:
                found = await fetch(urls)
            except AnswerError:  # they are starting
                found = []
            states = [each["neighbours"][0] for each in found]
            if states and all(s["handshake"] == "keyed" and s["workers"] == 2 for s in states):
                return
            await asyncio.sleep(0.1)


def homes(status: dict[str, Any]) -> set[int]:
    """The workers that the broadcasts' videos are in."""
    found = [stream["tracks"].get("video", {}).get("worker") for stream in status["streams"]]
    return {worker for worker in found if worker is not None}


async def status_with_both(urls: list[str]) -> list[dict[str, Any]]:
    """Of both nodes, once both broadcasts have come over a pair; else the last that they said."""
    end = time.monotonic() + SECONDS
    while True:
        found = await fetch(urls)
        is_there = all(homes(s) == {0, 1} and s["neighbours"][0]["pairs"] for s in found)
        if is_there or time.monotonic() > end:
            return found
        await asyncio.sleep(0.1)


def test_two_broadcasts_go_between_two_workers_each(tmp_path: Path) -> None:
    rng = Random(secrets.randbits(64))
    rtp_ports, admin = free_pairs(8, rng), free_ports(2, rng)

    async def run() -> None:
        urls = [f"http://127.0.0.1:{port}" for port in admin]
        async with Processes(tmp_path) as processes:
            children = []
            for name, text in configurations(rtp_ports, admin).items():
                write_private(tmp_path / f"{name}.toml", text)
                command = overlane("relay", "--config", tmp_path / f"{name}.toml")
                children.append(await processes.start(name, command))
            await wait_until_keyed(urls, children)
            sending = [
                asyncio.create_task(
                    publish(
                        PublishOptions(
                            stream=stream,
                            to=f"127.0.0.1:{rtp_ports[4 + 2 * place]}",
                            audio_to=f"127.0.0.1:{rtp_ports[5 + 2 * place]}",
                            seconds=SECONDS,
                            manifest=tmp_path / f"{stream}.jsonl",
                            handle_signals=False,
                        )
                    )
                )
                for place, stream in enumerate(STREAMS)
            ]
            await asyncio.sleep(1)
            watching = [
                asyncio.create_task(
                    play(
                        PlayOptions(
                            stream=stream,
                            node=urls[1],
                            manifest=tmp_path / f"{stream}.jsonl",
                            idle_seconds=1,
                            handle_signals=False,
                        )
                    )
                )
                for stream in STREAMS
            ]
            during = await status_with_both(urls)
            reports = await asyncio.gather(*watching)
            await asyncio.gather(*sending)
        for report in reports:
            assert report.intact_ratio == 1
            assert report.path == ["a", "b"]
            assert report.packets_lost == 0
        for status in during:
            assert homes(status) == {0, 1}
            assert len(status["workers"]) == 2
            assert all(worker["cpu_s"] is not None for worker in status["workers"])
            (neighbour,) = status["neighbours"]
            assert neighbour["pairs"]
            assert neighbour["is_up"]

    uvloop.run(run())
