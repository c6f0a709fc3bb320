"""The control channel's server: WebSockets at /control, each the connection of one node.

It decides nothing: what comes in goes to the brain, what the brain wants sent stands in a bounded
queue, and a node that does not read is cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

import aiohttp
from aiohttp import WSMsgType, web

from control_client.codec import MAX_MESSAGE_BYTES
from control_client.connection import CLOSE_WITHIN_S, MAX_CLOSE_TEXT_BYTES
from control_client.outbox import Outbox
from control_client.refusals import GOING_AWAY
from controller.brain import Brain
from controller.core.events import BrainOutput, SendData

PATH = "/control"
# One byte more than a message may have is read, so that its session says what is wrong with it;
# aiohttp cuts what has as many bytes as it is told, or more.
MAX_RECEIVED_BYTES = MAX_MESSAGE_BYTES + 2
NOT_READING = "the node does not read what it is sent"


class _Connection:
    """One open WebSocket. closing: the close code and text that the brain wants."""

    def __init__(self, socket: web.WebSocketResponse, task: asyncio.Task[None] | None) -> None:
        self.outbox = Outbox()
        self.has_output = asyncio.Event()
        self.closing: tuple[int, str] | None = None
        self.cut_reason = ""
        self.socket = socket
        self.task = task


class ControlServer:
    """clock: the brain's time. on_input: called after each input of the brain."""

    def __init__(self, brain: Brain, clock: Callable[[], int], on_input: Callable[[], None]):
        self.cut = 0
        self._brain = brain
        self._clock = clock
        self._on_input = on_input
        self._connections: dict[int, _Connection] = {}
        self._is_stopping = False

    def application(self) -> web.Application:
        """Its one route."""
        application = web.Application()
        application.router.add_get(PATH, self._serve)
        return application

    def carry_out(self, output: BrainOutput) -> None:
        """What the brain wants sent or closed."""
        connection = self._connections.get(output.connection)
        if connection is None:
            return
        if not isinstance(output, SendData):
            connection.closing = connection.closing or (output.code, output.text)
        elif not connection.outbox.put(output.data):
            self._cut(connection)
        connection.has_output.set()

    async def close(self) -> None:
        """Tell all nodes that the brain stops."""
        self._is_stopping = True
        connections = list(self._connections.values())
        for connection in connections:
            connection.closing = connection.closing or (GOING_AWAY, "the brain stops")
            connection.has_output.set()
        tasks = [connection.task for connection in connections if connection.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_WITHIN_S)

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse(
            max_msg_size=MAX_RECEIVED_BYTES, timeout=CLOSE_WITHIN_S, compress=False
        )
        if self._is_stopping or not socket.can_prepare(request):
            return web.json_response(
                {"error": "a WebSocket is expected here", "code": "bad_request"}, status=400
            )
        await socket.prepare(request)
        connection = _Connection(socket, asyncio.current_task())
        number = self._brain.open_connection(_peer(request), self._clock())
        self._connections[number] = connection
        self._on_input()
        writer = asyncio.create_task(self._write(connection))
        reason = "the connection was cut"
        try:
            reason = await self._read(number, connection)
        finally:
            del self._connections[number]
            writer.cancel()
            if self._is_stopping:
                reason = "the brain stops"
            self._brain.on_closed(number, connection.cut_reason or reason, self._clock())
            self._on_input()
            await asyncio.wait((writer,))
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await _close(connection)
        return socket

    async def _read(self, number: int, connection: _Connection) -> str:
        """Until it ends; why it did."""
        while True:
            message = await connection.socket.receive()
            match message.type:
                case WSMsgType.BINARY:
                    self._brain.receive(number, message.data, self._clock())
                case WSMsgType.TEXT:  # none of the schema's: it is refused
                    self._brain.receive(number, message.data.encode(), self._clock())
                case WSMsgType.CLOSE:
                    text = f": {message.extra}" if message.extra else ""
                    return f"the node closed the connection ({message.data}{text})"
                case WSMsgType.ERROR:
                    return _explain(message.data)
                case _:
                    return _explain(connection.socket.exception())
            self._on_input()

    async def _write(self, connection: _Connection) -> None:
        socket = connection.socket
        try:
            while True:
                await connection.has_output.wait()
                connection.has_output.clear()
                while (data := connection.outbox.take()) is not None:
                    await socket.send_bytes(data)
                if connection.closing is not None:
                    await _close(connection)  # the reader ends
                    return
        except (aiohttp.ClientError, OSError):
            await socket.close()  # the reader learns of it, and says why

    def _cut(self, connection: _Connection) -> None:
        if connection.cut_reason or connection.task is None:
            return
        self.cut += 1
        connection.cut_reason = NOT_READING
        connection.outbox.clear()
        connection.task.cancel()


def _peer(request: web.Request) -> str:
    transport = request.transport
    peer = transport.get_extra_info("peername") if transport is not None else None
    if not peer:
        return "unknown"
    host, port = str(peer[0]), peer[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


async def _close(connection: _Connection) -> None:
    code, text = connection.closing or (GOING_AWAY, "")
    data = text.encode()[:MAX_CLOSE_TEXT_BYTES].decode(errors="ignore").encode()
    await connection.socket.close(code=code, message=data)


def _explain(error: BaseException | None) -> str:
    match error:
        case None:
            return "the connection was closed"
        case aiohttp.WebSocketError(code=aiohttp.WSCloseCode.MESSAGE_TOO_BIG):
            return f"a message of more than {MAX_MESSAGE_BYTES} bytes came from the node"
    return str(error) or type(error).__name__
