"""The HTTP side of a node: health, metrics, status, and viewers.

Errors are {"error": "one line", "code": "a_word", "field": "video"}, field only where one is at
fault: 400 bad input, 404 no such stream, path or viewer, 413 too large, 503 full, 504 the node
upstream did not answer.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, get_args

import msgspec
from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from relay.clock import now_us
from relay.config import MAX_STREAM_NAME, is_stream_name
from relay.edge.description import describe, describe_viewer
from relay.edge.destinations import check_destination, check_report_ports
from relay.edge.plain_rtp import Extensions, RtcpMode, Viewer
from relay.errors import RefusalCode, Refused
from relay.metrics import new_registry
from relay.series import exposition
from relay.status import status_pieces, viewer_status
from service.address import Address, ip_of, parse_address, split_host_port
from service.http_server import Server, start_server

if TYPE_CHECKING:
    from relay.daemon import Daemon

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

LONGEST_STEP_US = 2_000  # chosen: of a scrape or a status at a time
CHUNK_BYTES = 65_536  # chosen: of the answer, handed to the kernel at a time
_MEDIA = ("video", "audio")
_EXTENSIONS = ("transport_cc_id", "delay_id")  # in the order of Extensions
_HTTP_STATUS = {
    RefusalCode.BAD_REQUEST: 400,
    RefusalCode.NO_SUCH_STREAM: 404,
    RefusalCode.NO_PATH: 404,
    RefusalCode.LOOP: 404,
    RefusalCode.UNSUPPORTED: 404,
    RefusalCode.FULL: 503,
    RefusalCode.TIME_OUT: 504,
}


async def start(daemon: Daemon) -> Server:
    """Serve the daemon's API. Raises BindError if the port is taken."""
    address = parse_address(daemon.config.admin.listen)
    return await start_server(new_application(daemon), "admin.listen", address)


def new_application(daemon: Daemon) -> web.Application:
    """The routes over one daemon."""
    api = _Api(daemon)
    application = web.Application(middlewares=[_errors_as_json])
    application.add_routes(
        [
            web.get("/livez", api.livez),
            web.get("/readyz", api.readyz),
            web.get("/metrics", api.metrics),
            web.get("/status", api.status),
            web.get("/streams/{name}.sdp", api.describe),
            web.post("/streams/{name}/viewers", api.add_viewer),
            web.get("/viewers/{id}.sdp", api.describe_viewer),
            web.get("/viewers/{id}", api.get_viewer),
            web.put("/viewers/{id}", api.refresh_viewer),
            web.delete("/viewers/{id}", api.remove_viewer),
            web.post("/viewers/{id}/switch", api.switch_viewer),
        ]
    )
    return application


class _Api:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._registry = new_registry(daemon.node, lambda: daemon.agent, daemon.loop_watch)

    async def livez(self, _request: web.Request) -> web.Response:
        return web.json_response({"alive": True})

    async def readyz(self, _request: web.Request) -> web.Response:
        node, is_ready = self._daemon.node, self._daemon.is_ready
        neighbours = {n.name: n.handshake.state for n in node.neighbours.values()}
        detail = {"ready": is_ready, "worker": is_ready, "neighbours": neighbours}
        if (agent := self._daemon.agent) is not None:
            table = agent.in_force
            detail["controller"] = agent.session.state.value  # it may be away: media flows on
            detail["table"] = str(table.version) if table else None
        return web.json_response(detail, status=200 if is_ready else 503)

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        pieces = (piece.encode() for piece in exposition(self._daemon.node, self._registry))
        return await _written(request, pieces, CONTENT_TYPE_PLAIN_0_0_4)

    async def status(self, request: web.Request) -> web.StreamResponse:
        daemon = self._daemon
        pieces = status_pieces(daemon.node, daemon.uptime_us, daemon.agent, now_us())
        return await _written(request, pieces, "application/json; charset=utf-8")

    async def add_viewer(self, request: web.Request) -> web.Response:
        name = _stream_name(request)
        body = await _json_object(request)
        _refuse_unknown(
            body, (*_MEDIA, "rtcp", "expires_s", "rtx_payload_type", "premium", *_EXTENSIONS)
        )
        addresses = {
            media: await self._resolve(media, body[media]) for media in _MEDIA if media in body
        }
        if not addresses:
            raise Refused(RefusalCode.BAD_REQUEST, "give an address for video, audio or both")
        viewer = await self._daemon.add_viewer(
            name,
            addresses,
            rtcp=_rtcp_mode(body.get("rtcp", "next")),
            expiry_us=_expiry_us(body["expires_s"]) if "expires_s" in body else -1,
            rtx_payload_type=_rtx_payload_type(body.get("rtx_payload_type")),
            extensions=_extensions(body),
            is_premium=_is_premium(body.get("premium", False)),
        )
        return web.json_response(viewer_status(self._daemon.node, viewer), status=201)

    async def describe(self, request: web.Request) -> web.Response:
        """The SDP for a player at ?address=IP, whose ports are ?video=PORT&audio=PORT."""
        query = request.query
        _refuse_unknown(query, (*_MEDIA, "address", "rtcp", "rtx_payload_type", *_EXTENSIONS))
        rtx = query.get("rtx_payload_type")
        host = query.get("address", request.remote or "")
        addresses = {
            media: await self._resolve(media, f"{_in_brackets(host)}:{query[media]}")
            for media in _MEDIA
            if media in query
        }
        if not addresses:
            text = "say where the player listens, as in ?video=5004&audio=5006&address=192.0.2.1"
            raise Refused(RefusalCode.BAD_REQUEST, text)
        rtcp = _rtcp_mode(query.get("rtcp", "next"))
        if rtcp == "next":
            check_report_ports(addresses)
        name = _stream_name(request)
        extensions = _extensions({key: _number(query[key]) for key in _EXTENSIONS if key in query})
        tracks = await self._daemon.tracks_of(name)
        rtx_payload_type = _rtx_payload_type(None if rtx is None else _number(rtx))
        return _sdp(describe(name, tracks, addresses, rtcp, rtx_payload_type, extensions))

    async def describe_viewer(self, request: web.Request) -> web.Response:
        return _sdp(describe_viewer(self._viewer(request)))

    async def get_viewer(self, request: web.Request) -> web.Response:
        return web.json_response(viewer_status(self._daemon.node, self._viewer(request)))

    async def refresh_viewer(self, request: web.Request) -> web.Response:
        viewer = self._viewer(request)
        self._daemon.refresh_viewer(viewer)
        return web.json_response(viewer_status(self._daemon.node, viewer))

    async def switch_viewer(self, request: web.Request) -> web.Response:
        """To another broadcast, where the viewer cannot see that; answered when it is done."""
        viewer = self._viewer(request)
        body = await _json_object(request)
        _refuse_unknown(body, ("stream",))
        stream = body.get("stream")
        if not isinstance(stream, str):
            raise Refused(RefusalCode.BAD_REQUEST, "stream is the name of a broadcast", "stream")
        await self._daemon.switch_viewer(viewer, stream)
        return web.json_response(viewer_status(self._daemon.node, viewer))

    async def remove_viewer(self, request: web.Request) -> web.Response:
        self._daemon.remove_viewer(self._viewer(request))
        return web.Response(status=204)

    def _viewer(self, request: web.Request) -> Viewer:
        viewer = self._daemon.node.find_viewer(request.match_info["id"])
        if viewer is None:
            raise Refused(RefusalCode.NO_SUCH_STREAM, "no such viewer: it left, or it expired")
        return viewer

    async def _resolve(self, media: str, text: object) -> Address:
        """ "host:port" as an address that viewers may be served at. Raises Refused."""
        config = self._daemon.config
        version = ip_of(parse_address(config.viewers.listen)).version
        try:
            address = await _look_up(text, version)
            check_destination(address, config)
        except ValueError as error:
            raise Refused(RefusalCode.BAD_REQUEST, f"{media}: {error}", media) from None
        return address


async def in_steps(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Something long, made in pieces: in chunks, and the event loop gets its turn in between."""
    parts: list[bytes] = []
    size, began_us = 0, now_us()
    for piece in pieces:
        parts.append(piece)
        size += len(piece)
        is_long = now_us() - began_us > LONGEST_STEP_US
        if is_long or size >= CHUNK_BYTES:
            yield b"".join(parts)
            parts.clear()
            size = 0
        if is_long:
            await asyncio.sleep(0)
            began_us = now_us()
    yield b"".join(parts)


async def _written(
    request: web.Request, pieces: Iterable[bytes], content_type: str
) -> web.StreamResponse:
    """Sent as it is made: ten megabytes, which a node of 10,000 viewers has to tell, would take
    longer to be joined, copied and handed to the kernel than the event loop may be held up."""
    response = web.StreamResponse(headers={"Content-Type": content_type})
    await response.prepare(request)
    if request.method != "HEAD":
        async for chunk in in_steps(pieces):
            await response.write(chunk)
    await response.write_eof()
    return response


def _sdp(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/sdp")


def _stream_name(request: web.Request) -> str:
    name = request.match_info["name"]
    if not is_stream_name(name):
        text = f"no stream is called {name[:MAX_STREAM_NAME]!r}: at most {MAX_STREAM_NAME} of "
        raise Refused(RefusalCode.NO_SUCH_STREAM, text + "A-Z a-z 0-9 . _ -")
    return name


def _refuse_unknown(given: Iterable[str], known: Sequence[str]) -> None:
    for key in sorted(set(given) - set(known)):
        raise Refused(
            RefusalCode.BAD_REQUEST, f"unknown key {key!r}; known: {', '.join(known)}", key
        )


def _rtcp_mode(value: object) -> RtcpMode:
    for mode in get_args(RtcpMode):
        if value == mode:
            found: RtcpMode = mode
            return found
    names = ", ".join(get_args(RtcpMode))
    raise Refused(RefusalCode.BAD_REQUEST, f"rtcp is one of {names}", "rtcp")


def _rtx_payload_type(value: object) -> int | None:
    """Of what the viewer asks for again; None: it comes as at first. Dynamic types (RFC 3551 6)."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 96 <= value <= 127:
        text = "rtx_payload_type is 96 to 127"
        raise Refused(RefusalCode.BAD_REQUEST, text, "rtx_payload_type")
    return value


def _is_premium(value: object) -> bool:
    if not isinstance(value, bool):
        raise Refused(RefusalCode.BAD_REQUEST, "premium is true or false", "premium")
    return value


def _number(text: str) -> object:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else text


def _extensions(given: Mapping[str, object]) -> Extensions:
    """Ids of the one-byte form (RFC 8285 4.2), each another."""
    ids: dict[str, int] = {}
    for key in _EXTENSIONS:
        value = given.get(key)
        if value is None:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 14:
            raise Refused(RefusalCode.BAD_REQUEST, f"{key} is 1 to 14 (RFC 8285 4.2)", key)
        if value in ids.values():
            raise Refused(RefusalCode.BAD_REQUEST, f"{key} is that of another extension", key)
        ids[key] = value
    return Extensions(*(ids.get(key, 0) for key in _EXTENSIONS))


def _expiry_us(value: object) -> int | None:
    """Seconds, or null for a viewer that lives until it is deleted."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 3600:
        text = "expires_s is 1 to 3600, or null: until it is deleted"
        raise Refused(RefusalCode.BAD_REQUEST, text, "expires_s")
    return round(value * 1_000_000)


def _in_brackets(host: str) -> str:
    return f"[{host}]" if ":" in host else host


async def _json_object(request: web.Request) -> dict[str, Any]:
    try:
        body = msgspec.json.decode(await request.read())
    except (msgspec.DecodeError, RecursionError, web.RequestPayloadError) as error:
        text = f"the body is not JSON: {' '.join(str(error).split())}"
        raise Refused(RefusalCode.BAD_REQUEST, text) from None
    if not isinstance(body, dict):
        raise Refused(RefusalCode.BAD_REQUEST, "the body is not a JSON object")
    return body


async def _look_up(text: object, version: int) -> Address:
    """ "host:port" as an address of an IP version. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError('an address is text, as in "192.0.2.1:5004"')
    host, port = split_host_port(text)
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, socket.gaierror) else "is no name of a host"
        text = f"{host!r}: {reason}; viewers.listen is IPv{version}, so give such an address"
        raise ValueError(text) from None
    return str(found[0][4][0]), port


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except Refused as error:
        field = {} if error.field is None else {"field": error.field}
        detail = {"error": str(error), "code": error.code.value, **field}
        return web.json_response(detail, status=_HTTP_STATUS[error.code])
    except web.HTTPException as error:
        detail = {"error": error.reason, "code": error.reason.lower().replace(" ", "_")}
        allow = {name: error.headers[name] for name in ("Allow",) if name in error.headers}
        return web.json_response(detail, status=error.status, headers=allow)
