"""A brain's HTTP API with set answers, on a real socket: for what a real brain would not say."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


@asynccontextmanager
async def serving(answers: Mapping[str, Any]) -> AsyncIterator[str]:
    """answers: JSON by path and query ("/paths/live?consumer=tokyo"); (status, JSON) for others
    than 200. Yields "127.0.0.1:PORT"."""

    async def answer(request: web.Request) -> web.Response:
        found = answers.get(request.path_qs, (404, {"error": "no such route", "code": "not_found"}))
        status, body = found if isinstance(found, tuple) else (200, found)
        return web.json_response(body, status=status)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
