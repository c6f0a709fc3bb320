"""Servers that are no node: one line each, and nothing that steers a terminal."""

import asyncio

import pytest

from overlane.http_json import AnswerError
from overlane.peer import printable
from overlane.play.errors import PlayError
from overlane.play.node_api import NodeApi
from overlane.status import fetch


def http(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def asked(answer: bytes) -> tuple[str, str]:
    """What status and play say of a server that answers so, without its address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        with pytest.raises(AnswerError) as of_status:
            await fetch([address])
        async with NodeApi(f"http://{address}", "s") as api:
            with pytest.raises(PlayError) as of_play:
                await api.subscribe({}, 0)
    assert str(of_status.value).startswith(address)
    return str(of_status.value), str(of_play.value)


GRANTED = b'{"viewer": "x", "stream": "s", "state": "live", "path": [], "expires_s": %s}'
ANSWERS = [
    (http(b"{"), "is no node: its answer is not JSON", "refuses"),
    (http(b"[" * 100_000), "is no node: its answer is not JSON", "refuses"),
    (http(b"[]"), "its answer is not a node's status", "refuses"),
    (http(b'{"node": "\\u001b[31m"}'), "its answer is not a node's status", "refuses"),
    (http(b'{"error": "\\u001b[31m\\n"}', "404 N"), "404", "refuses 's': [31m (404)"),
    (http(b"[" * 100_000, "201 C"), "is not JSON", "answers what is no viewer"),
    (http(GRANTED % b"0", "201 C"), "is not a node's status", "answers what is no viewer"),
    (http(GRANTED % b"-1e9", "201 C"), "is not a node's status", "answers what is no viewer"),
    (b"SSH-2.0-x\r\n", "Bad status line", "Bad status line"),
    (b"", "Server disconnected", "Server disconnected"),
]


@pytest.mark.parametrize(("answer", "of_status", "of_play"), ANSWERS)
def test_what_is_no_node_is_one_line(answer: bytes, of_status: str, of_play: str) -> None:
    status, play = asyncio.run(asked(answer))
    assert of_status in status
    assert of_play in play
    assert (status + play).isprintable()


@pytest.mark.parametrize("url", ["", ":::", "http://[::1", "127.0.0.1:99999", "\udcff"])
def test_what_is_no_address_is_one_line(url: str) -> None:
    with pytest.raises(AnswerError, match="is not an address of the form host:port"):
        asyncio.run(fetch([url]))


def test_texts_of_a_peer_cannot_steer_a_terminal() -> None:
    said = {"\x1b[2J": ["a\nb\u202e", 1, None, {"k": "x" * 999}]}
    assert printable(said) == {"[2J": ["a b", 1, None, {"k": "x" * 200}]}
