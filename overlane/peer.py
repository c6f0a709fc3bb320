"""What the other side of an HTTP connection says, which may be anything: limited, and printable."""

import os
from typing import TypeVar

import aiohttp

MAX_ANSWER_BYTES = 32 << 20  # chosen: the /status of a node with 10,000 viewers is half of it

JsonT = TypeVar("JsonT")


async def read_answer(response: aiohttp.ClientResponse, limit: int = MAX_ANSWER_BYTES) -> bytes:
    """The body; a longer one is cut, and then is no JSON."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > limit:
            break
    return bytes(body)


def why_unanswered(error: Exception) -> str:
    """One line of why a request had no answer, in the system's words where it has some."""
    if isinstance(error, aiohttp.ClientConnectorError):
        number, text = error.os_error.errno, error.os_error.strerror
        # Only an errno above 0 is one of the system's; others are of the look-up of a name.
        return f"cannot connect: {os.strerror(number) if number and number > 0 else text}"
    return printable_line(str(error)) or type(error).__name__


def printable_line(text: str, limit: int = 200) -> str:
    """Text of a peer, fit for one line of a terminal."""
    return "".join(each if each.isprintable() else " " for each in text[:limit]).strip()


def printable(value: JsonT) -> JsonT:
    """Parsed JSON whose texts cannot steer a terminal."""
    if isinstance(value, str):
        return printable_line(value)  # type: ignore[return-value]  # a str again
    if isinstance(value, list):
        return [printable(each) for each in value]  # type: ignore[return-value]
    if isinstance(value, dict):
        return {printable(k): printable(v) for k, v in value.items()}  # type: ignore[return-value]
    return value
