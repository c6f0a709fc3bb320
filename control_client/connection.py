"""The asyncio shell of a node's session: a WebSocket over TLS, opened and closed as it says.

It decides nothing but what it may connect to: TLS with a given authority, or plain text to loopback
if that is asked for. Redirections are not followed, as they could lead elsewhere in plain text.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias

import aiohttp
from aiohttp import ClientWebSocketResponse, WSMsgType
from yarl import URL

from control_client.codec import MAX_MESSAGE_BYTES
from control_client.errors import ConnectionConfigError
from control_client.refusals import NORMAL
from control_client.session import NodeSession, SessionState
from control_client.session_events import Connect, Disconnect, SessionEvent

CLOSE_WITHIN_S = 2.0  # chosen: for the last message and the closing handshake; then it is cut
MAX_CLOSE_TEXT_BYTES = 123  # RFC 6455 5.5: 125, two of them the code

OnEvent: TypeAlias = Callable[[SessionEvent], None]


@dataclass(frozen=True, slots=True)
class Tls:
    """ca_file: authorities in PEM; None: the system's. The node's own certificate is optional."""

    ca_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None


def explain_certificate(error: Exception, host: str | None, ca_file: Path | None) -> str:
    """Why a brain's certificate was refused, for an operator.

    Codes: X509_V_ERR_... of OpenSSL's x509_vfy.h.
    """
    if not isinstance(error, ssl.SSLCertVerificationError):
        return f"the brain's certificate is no good: {error}"
    match error.verify_code:
        case 9:
            return "the brain's certificate is not valid yet; is this node's clock right?"
        case 10:
            return "the brain's certificate has expired, or this node's clock is wrong"
        case 18 | 19 | 20 | 21:
            authority = f"an authority in {ca_file}" if ca_file else "an authority known here"
            return f"the brain's certificate is not signed by {authority}"
        case 62 | 64:
            return f"the brain's certificate is not for {host}"
    return f"the brain's certificate is no good: {error.verify_message}"


class _RedirectedError(aiohttp.ClientError):
    pass


class ControlConnection:
    """url: as wss://HOST:PORT/PATH. Raises ConnectionConfigError for what must not be used.

    on_event: gets all of the session's events but Connect and Disconnect; it may call the session.
    Whoever calls the session at another time calls `flush` afterwards.
    """

    def __init__(
        self,
        url: str,
        session: NodeSession,
        on_event: OnEvent,
        *,
        tls: Tls | None = None,
        allow_plain_text: bool = False,
    ) -> None:
        self._url = check_url(url, tls, allow_plain_text=allow_plain_text)
        self._tls = tls
        self._ssl = ssl_context(tls) if tls is not None else None
        self._session = session
        self._on_event = on_event
        self._link: asyncio.Task[str] | None = None
        self._disconnect: Disconnect | None = None
        self._is_open = False
        self._has_work = asyncio.Event()
        self._has_output = asyncio.Event()

    async def run(self) -> None:
        """Until the session is stopped and its connection closed. Cancelling it cuts it."""
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_refuse_redirection)
        async with aiohttp.ClientSession(trace_configs=[trace]) as http:
            try:
                while not self._is_over:
                    await self._wait()
                    self._turn(http)
            finally:
                if self._link is not None:
                    self._link.cancel()
                    await asyncio.wait((self._link,))

    def flush(self) -> None:
        """Carry out and send what calls of the session have led to."""
        self._has_work.set()

    @property
    def _is_over(self) -> bool:
        return self._session.state is SessionState.STOPPED and self._link is None

    async def _wait(self) -> None:
        due_us = self._session.next_timer_us()
        delay_s = None if due_us is None else max(0.0, (due_us - _now_us()) / 1_000_000)
        try:
            async with asyncio.timeout(delay_s):
                await self._has_work.wait()
        except TimeoutError:
            pass
        self._has_work.clear()

    def _turn(self, http: aiohttp.ClientSession) -> None:
        if self._link is not None and self._link.done():
            link, self._link, self._is_open = self._link, None, False
            reason = "the connection was cut" if link.cancelled() else link.result()
            self._session.on_closed(reason, _now_us())
        self._session.handle_timer(_now_us())
        while (event := self._session.next_event()) is not None:
            match event:
                case Connect():
                    self._disconnect = None
                    self._link = asyncio.create_task(self._serve(http))
                    self._link.add_done_callback(lambda _: self._has_work.set())
                case Disconnect():
                    self._close(event)
                case _:
                    self._on_event(event)
        self._has_output.set()
        if self._is_over:
            self._has_work.set()

    def _close(self, wish: Disconnect) -> None:
        link = self._link
        if link is None:
            return
        self._disconnect = wish
        if self._is_open:
            asyncio.get_running_loop().call_later(CLOSE_WITHIN_S, link.cancel)
        else:
            link.cancel()

    # -- one connection

    async def _serve(self, http: aiohttp.ClientSession) -> str:
        """From opening to the end; why it ended."""
        try:
            socket = await http.ws_connect(
                self._url,
                ssl=self._ssl if self._ssl is not None else True,
                max_msg_size=MAX_MESSAGE_BYTES + 1,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSE_WITHIN_S),
            )
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            return self._explain(error)
        self._is_open = True
        self._session.on_connected(_now_us())
        self._has_work.set()
        writer = asyncio.create_task(self._write(socket))
        try:
            return await self._read(http, socket)
        finally:
            writer.cancel()
            await asyncio.wait((writer,))
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await self._close_socket(socket)

    async def _read(self, http: aiohttp.ClientSession, socket: ClientWebSocketResponse) -> str:
        while True:
            message = await socket.receive()
            match message.type:
                case WSMsgType.BINARY:
                    self._receive(http, message.data)
                case WSMsgType.TEXT:
                    self._receive(
                        http, message.data.encode()
                    )  # none of the schema's: it is refused
                case WSMsgType.CLOSE:
                    text = f": {message.extra}" if message.extra else ""
                    return f"the brain closed the connection ({message.data}{text})"
                case WSMsgType.ERROR:
                    return self._explain(message.data)
                case _:
                    return self._explain(socket.exception())

    def _receive(self, http: aiohttp.ClientSession, data: bytes) -> None:
        self._session.receive(data, _now_us())
        self._turn(http)  # before the next one: a table is to be in force before a change of it
        self._has_work.set()  # the timer may have moved

    async def _write(self, socket: ClientWebSocketResponse) -> None:
        try:
            while True:
                await self._has_output.wait()
                self._has_output.clear()
                while (data := self._session.next_message()) is not None:
                    await socket.send_bytes(data)
                if self._disconnect is not None:
                    await self._close_socket(socket)  # the reader ends
                    return
        except (aiohttp.ClientError, OSError):
            await socket.close()  # the reader learns of it, and says why

    async def _close_socket(self, socket: ClientWebSocketResponse) -> None:
        wish = self._disconnect or Disconnect(NORMAL, "")
        text = wish.text.encode()[:MAX_CLOSE_TEXT_BYTES].decode(errors="ignore")
        await socket.close(code=wish.close_code, message=text.encode())

    def _explain(self, error: BaseException | None) -> str:
        """One line for an operator."""
        where = f"{self._url.host}:{self._url.port}"
        match error:
            case None:
                return "the connection was closed"
            case aiohttp.ClientConnectorCertificateError():
                ca_file = self._tls.ca_file if self._tls else None
                why = explain_certificate(error.certificate_error, self._url.host, ca_file)
                return f"{where}: {why}"
            case aiohttp.ClientConnectorSSLError():
                return f"{where} does not speak TLS as this node does: {error.strerror}"
            case aiohttp.ClientConnectorError():
                reason = os.strerror(error.errno) if error.errno else error.strerror
                return f"cannot connect to {where}: {reason}"
            case _RedirectedError():
                return f"{self._url} leads to {error}; redirections are not followed"
            case aiohttp.WSServerHandshakeError():
                return f"{self._url} is no control channel (HTTP status {error.status})"
            case aiohttp.WebSocketError(code=aiohttp.WSCloseCode.MESSAGE_TOO_BIG):
                return f"a message of more than {MAX_MESSAGE_BYTES} bytes came from the brain"
            case TimeoutError():
                return f"{where} does not answer"
        return f"{where}: {str(error) or type(error).__name__}"


async def _refuse_redirection(
    _session: aiohttp.ClientSession,
    _context: SimpleNamespace,
    params: aiohttp.TraceRequestRedirectParams,
) -> None:
    raise _RedirectedError(params.response.headers.get("Location", "elsewhere"))


def check_url(text: str, tls: Tls | None, *, allow_plain_text: bool) -> URL:
    """Raises ConnectionConfigError for what must not be used. tls: None for plain text."""
    try:
        url = URL(text)
        host = url.host
    except ValueError:
        host = None
    if host is None or url.scheme not in ("ws", "wss") or url.user or url.fragment:
        raise ConnectionConfigError(f"{text!r} is no control channel: wss://HOST:PORT is expected")
    if url.scheme == "wss":
        if tls is None:
            raise ConnectionConfigError(f"{text}: TLS needs the authority of its certificate")
        return url
    if not allow_plain_text:
        raise ConnectionConfigError(f"{text}: plain text has to be allowed explicitly; use wss://")
    if not _is_loopback(host):
        raise ConnectionConfigError(f"{text}: plain text is for loopback only; use wss://")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """Reads the files. Raises ConnectionConfigError."""
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        reason = error.strerror or str(error)
        raise ConnectionConfigError(
            f"{tls.ca_file}: no authority's certificate: {reason}"
        ) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    if tls.certificate_file is not None:
        try:
            context.load_cert_chain(tls.certificate_file, tls.key_file, password="")
        except (OSError, ssl.SSLError) as error:
            reason = error.strerror or str(error)
            files = f"{tls.certificate_file}, {tls.key_file}"
            raise ConnectionConfigError(f"{files}: no certificate with its key: {reason}") from None
    return context


def _now_us() -> int:
    return time.monotonic_ns() // 1000
