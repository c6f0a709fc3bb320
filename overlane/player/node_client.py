"""The consumer node's HTTP API as a viewer uses it: ask, refresh, leave."""

import asyncio
from typing import Any

import aiohttp

_REQUEST_S = 10.0  # above the node's own wait for a stream
_RETRY_S = 0.25
_WORTH_RETRYING = (404, 503, 504)  # not published yet, full, upstream silent


class PlayError(Exception):
    """The stream cannot be watched; the message is one line for the user."""


class NodeClient:
    """One viewer at one node. Use as an async context manager."""

    def __init__(self, node: str, stream: str, addresses: dict[str, str], wait_s: float) -> None:
        self._node = node.rstrip("/")
        self._stream = stream
        self._addresses = addresses
        self._wait_s = wait_s
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_REQUEST_S))
        self.viewer = ""
        self.state = "subscribing"
        self.path: list[str] = []
        self.expires_s = 15.0

    async def __aenter__(self) -> "NodeClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def join(self) -> None:
        """POST, again while it may help and time is left. Raises PlayError."""
        deadline = asyncio.get_running_loop().time() + self._wait_s
        while True:
            problem, is_final = await self._try_to_join()
            if problem is None:
                return
            if is_final or asyncio.get_running_loop().time() >= deadline:
                raise PlayError(f"{self._stream} at {self._node}: {problem}")
            await asyncio.sleep(_RETRY_S)

    async def refresh(self) -> bool:
        """PUT; False if the node has forgotten this viewer. A node that is away keeps its state."""
        try:
            async with self._session.put(f"{self._node}/viewers/{self.viewer}") as response:
                if response.status == 404:
                    return False
                self._take(await response.json())
        except (aiohttp.ClientError, TimeoutError, ValueError):
            self.state = "unreachable"
        return True

    async def leave(self) -> None:
        """DELETE. A node that does not answer forgets the viewer by itself."""
        try:
            async with self._session.delete(f"{self._node}/viewers/{self.viewer}"):
                pass
        except (aiohttp.ClientError, TimeoutError):
            return

    async def _try_to_join(self) -> tuple[str | None, bool]:
        url = f"{self._node}/streams/{self._stream}/viewers"
        try:
            async with self._session.post(url, json=self._addresses) as response:
                found = await response.json()
                if response.status == 201:
                    self._take(found)
                    return None, True
                problem = str(found.get("error", response.reason))
                return problem, response.status not in _WORTH_RETRYING
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            return str(error) or "no answer", False

    def _take(self, found: dict[str, Any]) -> None:
        self.viewer = found.get("viewer", self.viewer)
        self.state = found["state"]
        self.path = list(found["path"])
        self.expires_s = float(found.get("expires_s", self.expires_s))
