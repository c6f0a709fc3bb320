"""A brain's HTTP API with set answers, on a real socket: for what a real brain would not say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import web


@dataclass(frozen=True)
class Failure:
    """An answer with another status than 200."""

    status: int
    body: Any


@asynccontextmanager
async def serving(answers: Mapping[str, Any]) -> AsyncIterator[str]:
    """answers: what becomes JSON, or a Failure, by path and query ("/paths/live?consumer=tokyo").
    Yields "127.0.0.1:PORT"."""

    async def answer(request: web.Request) -> web.Response:
        found = answers.get(request.path_qs, Failure(404, {"error": "no such route"}))
        failure = found if isinstance(found, Failure) else Failure(200, found)
        body = msgspec.json.encode(failure.body)
        return web.Response(body=body, status=failure.status, content_type="application/json")

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
