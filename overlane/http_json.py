"""GET of JSON from a node's or a brain's HTTP side; whatever goes wrong is one line."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, TypeVar

import aiohttp
import msgspec

from overlane.peer import printable, printable_line, read_answer, why_unanswered

T = TypeVar("T")

TIMEOUT_S = 5.0


class AnswerError(Exception):
    """No answer, or none of use; the message says whose and why."""


class JsonClient:
    """who: what is expected to answer: "node" or "brain"."""

    def __init__(self, who: str, hint: str, timeout_s: float = TIMEOUT_S) -> None:
        self._who = who
        self._hint = hint
        self._timeout_s = timeout_s

    async def __aenter__(self) -> JsonClient:
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        self._session = aiohttp.ClientSession(timeout=timeout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def get(self, url: str, path: str, query: Mapping[str, str] | None = None) -> Any:
        """url: "host:port", with http:// or without. Raises AnswerError.

        All texts in what is returned are fit for a terminal.
        """
        base = url if "://" in url else f"http://{url}"
        try:
            async with self._session.get(f"{base.rstrip('/')}{path}", params=query) as response:
                body = await read_answer(response)
                if response.status >= 400:
                    raise AnswerError(f"{url}: {self._refusal(response, body)}")
            return printable(msgspec.json.decode(body))
        except TimeoutError:
            text = f"{url} did not answer within {self._timeout_s:.0f} s"
            raise AnswerError(text) from None
        except aiohttp.InvalidURL:
            raise AnswerError(f"{url} is not an address of the form host:port") from None
        except (msgspec.DecodeError, RecursionError):
            raise AnswerError(f"{url} is no {self._who}: its answer is not JSON") from None
        except (aiohttp.ClientError, ValueError) as error:
            raise AnswerError(f"{url}: {why_unanswered(error)}; {self._hint}") from None

    def convert(self, url: str, found: Any, kind: type[T]) -> T:
        """An answer as what it should be. Raises AnswerError."""
        try:
            return msgspec.convert(found, kind)
        except msgspec.ValidationError as error:
            text = (
                f"{url} is no {self._who}, or one of another version: {printable_line(str(error))}"
            )
            raise AnswerError(text) from None

    def _refusal(self, response: aiohttp.ClientResponse, body: bytes) -> str:
        """{"error": ...} in the words of whoever refuses; else the status, and where to look."""
        try:
            said = msgspec.json.decode(body)
        except (msgspec.DecodeError, RecursionError):
            said = None
        text = said.get("error") if isinstance(said, dict) else None
        # A text that only repeats the status is no route's own: this may be another program.
        if isinstance(text, str) and text and text != response.reason:
            return f"{printable_line(text)} ({response.status})"
        return f"{response.status} {printable_line(response.reason or '')}; {self._hint}"
