"""The consumer node's HTTP API for viewers: subscribe, keep alive, leave."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Annotated, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from overlane.peer import printable_line, read_answer, why_unanswered
from overlane.play.errors import PlayError

_RETRY_STATUS = frozenset({404, 503, 504})
FIRST_RETRY_S = 0.1  # ours; doubles
LAST_RETRY_S = 1.0
_TIMEOUT = aiohttp.ClientTimeout(total=10)
_SWITCH_TIMEOUT = aiohttp.ClientTimeout(total=30)  # a node's own is 15 s, unless configured
_LEAVE_TIMEOUT = aiohttp.ClientTimeout(total=1)


class TrackInfo(msgspec.Struct, frozen=True):
    """How the packets of one track look."""

    ssrc: Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]
    payload_type: Annotated[int, msgspec.Meta(ge=0, le=127)]


class Viewer(msgspec.Struct, frozen=True):
    """What a node answers to POST, as far as it is used here. expires_s: how long the node keeps a
    viewer that is silent. tracks: by "video" and "audio"."""

    viewer: str
    stream: str
    expires_s: Annotated[float, msgspec.Meta(ge=0.1)]
    state: str
    path: list[str]
    tracks: dict[str, TrackInfo] = {}


class RateInfo(msgspec.Struct, frozen=True):
    """What a node's rate controller makes of a viewer's path."""

    target_bps: int


class ViewerState(msgspec.Struct, frozen=True):
    """What a node answers to PUT."""

    state: str
    path: list[str] = []
    tracks: dict[str, TrackInfo] = {}
    rate: RateInfo | None = None


_AnswerT = TypeVar("_AnswerT", Viewer, ViewerState)


class NodeApi:
    """One HTTP session with a node, as an async context manager."""

    def __init__(self, base: str, stream: str, wishes: Mapping[str, object] | None = None) -> None:
        """wishes: what is asked for beside the addresses; None: no RTCP."""
        self._wishes = {"rtcp": "none"} if wishes is None else wishes
        self._base = base
        self._watch(stream)
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)

    async def __aenter__(self) -> "NodeApi":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def subscribe(self, addresses: dict[str, str], wait_seconds: float) -> Viewer:
        """Ask until the node agrees. addresses: "video" and "audio" to "host:port".

        Raises PlayError.
        """
        give_up = time.monotonic() + wait_seconds
        pause = FIRST_RETRY_S
        while True:
            answer = await self._subscribe_once(addresses)
            if isinstance(answer, Viewer):
                return answer
            left = give_up - time.monotonic()
            if left <= 0:
                raise PlayError(answer)
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 2, LAST_RETRY_S)

    async def refresh(self, viewer: str) -> ViewerState | None:
        """Keep the viewer alive; None if the node has forgotten it. Raises PlayError."""
        try:
            async with self._session.put(self._viewer_url(viewer)) as response:
                body = await read_answer(response)
                if response.status == 404:
                    return None
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PlayError(f"no answer from {self._base}: {_reason(error)}") from error
        if response.status != 200:
            raise PlayError(self._refusal(response.status, body))
        return self._decode(body, ViewerState)

    async def switch(self, viewer: str, stream: str) -> None:
        """Let it go on with another broadcast; returns once it does. Raises PlayError."""
        try:
            url = URL(f"{self._viewer_url(viewer)}/switch", encoded=True)
            async with self._session.post(
                url, json={"stream": stream}, timeout=_SWITCH_TIMEOUT
            ) as response:
                body = await read_answer(response)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise PlayError(f"no answer from {self._base}: {_reason(error)}") from error
        if response.status != 200:
            raise PlayError(self._refusal(response.status, body))
        self._watch(stream)

    def _watch(self, stream: str) -> None:
        """What is asked for the next time."""
        self._viewers = f"{self._base}/streams/{quote(stream, safe='')}/viewers"
        self._stream = stream

    async def leave(self, viewer: str) -> None:
        """Best effort: a node that cannot be told lets the viewer expire."""
        try:
            async with self._session.delete(self._viewer_url(viewer), timeout=_LEAVE_TIMEOUT):
                pass
        except (aiohttp.ClientError, TimeoutError):
            return

    async def _subscribe_once(self, addresses: dict[str, str]) -> Viewer | str:
        """The viewer, or why not for now. Raises PlayError if asking again is no use."""
        try:
            url = URL(self._viewers, encoded=True)
            async with self._session.post(url, json={**addresses, **self._wishes}) as response:
                body = await read_answer(response)
        except aiohttp.InvalidURL as error:
            raise PlayError(f"not an HTTP address: {self._base}") from error
        except (aiohttp.ClientError, TimeoutError, UnicodeError) as error:
            return f"no answer from {self._base}: {_reason(error)}"
        if response.status == 201:
            return self._decode(body, Viewer)
        refusal = self._refusal(response.status, body)
        if response.status in _RETRY_STATUS:
            return refusal
        raise PlayError(refusal)

    def _viewer_url(self, viewer: str) -> URL:
        return URL(f"{self._base}/viewers/{quote(viewer, safe='')}", encoded=True)

    def _refusal(self, status: int, body: bytes) -> str:
        try:
            found = msgspec.json.decode(body, type=dict[str, object]).get("error", "")
        except (msgspec.MsgspecError, RecursionError):
            found = ""
        reason = printable_line(str(found)) or "no reason given"
        return f"{self._base} refuses {self._stream!r}: {reason} ({status})"

    def _decode(self, body: bytes, kind: type[_AnswerT]) -> _AnswerT:
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise PlayError(f"{self._base} answers what is no viewer: {error}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"nothing within {_TIMEOUT.total:g} s"
    return why_unanswered(error)
