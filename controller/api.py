"""The HTTP side of the brain: health, metrics, status, nodes, links, streams, paths, campaigns.

Errors are {"error": "one line", "code": "a_word", "field": "stream"}, field only where one is at
fault: 400 bad input, 403 a change that is not for whom asks, 404 no such stream, node or campaign,
409 too many campaigns. Nobody proves who he is, so campaigns change for clients on this host alone,
and not for web pages there: a browser names their origin. `controller.openapi` describes the same
table of routes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from aiohttp import web
from msgspec import Meta
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from control_client.messages import MAX_PUSHED, Broadcast
from controller.core import answers
from controller.openapi import describe
from service.address import ip_of, parse_address
from service.http_server import Server, start_server

if TYPE_CHECKING:
    from controller.daemon import Daemon

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
UnixTime = Annotated[float, Meta(ge=0, le=1e11)]


class Campaign(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A large audience is expected. start_s, end_s: Unix time."""

    stream: Broadcast
    start_s: UnixTime
    end_s: UnixTime


class Alive(msgspec.Struct, frozen=True):
    alive: bool


class Readiness(msgspec.Struct, frozen=True):
    """ready: tables are made; before that nodes may connect already."""

    ready: bool
    nodes: int


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    error: str
    code: str
    field: str | None = None


class ApiError(Exception):
    """What a request is answered with instead."""

    def __init__(self, status: int, problem: Problem) -> None:
        self.status = status
        self.problem = problem
        super().__init__(problem.error)


@dataclass(frozen=True, slots=True)
class Route:
    """answer: the type of its JSON; None: text, or nothing. or_answer: the other type, that it may
    have instead. query: names of parameters."""

    method: str
    path: str
    handler: Handler
    summary: str
    answer: Any = None
    or_answer: Any = None
    query: tuple[str, ...] = ()
    body: type[msgspec.Struct] | None = None
    status: int = 200


async def start(daemon: Daemon) -> Server:
    """Serve the daemon's API. Raises BindError if the port is taken."""
    address = parse_address(daemon.config.api.listen)
    return await start_server(new_application(daemon), "api.listen", address)


def new_application(daemon: Daemon) -> web.Application:
    """The routes over one daemon."""
    application = web.Application(middlewares=[_errors_as_json])
    for route in routes(daemon):
        application.router.add_route(route.method, route.path, route.handler)
    return application


def routes(daemon: Daemon) -> tuple[Route, ...]:
    """All there are."""
    api = _Api(daemon)
    return (
        Route("GET", "/livez", api.livez, "Whether the process runs", Alive),
        Route("GET", "/readyz", api.readyz, "Whether tables are made", Readiness),
        Route("GET", "/metrics", api.metrics, "Counters for Prometheus"),
        Route("GET", "/openapi.json", api.openapi, "This description"),
        Route("GET", "/status", api.status, "The brain itself, and totals", answers.Status),
        Route("GET", "/nodes", api.nodes, "All nodes that are known", tuple[answers.Node, ...]),
        Route(
            "GET",
            "/links",
            api.links,
            "Each direction of each link",
            tuple[answers.Link, ...],
            query=("node",),
        ),
        Route("GET", "/streams", api.streams, "All that are live", tuple[answers.Stream, ...]),
        Route("GET", "/streams/{stream}", api.stream, "One that is live", answers.Stream),
        Route(
            "GET",
            "/paths/{stream}",
            api.paths,
            "Why a consumer gets its path; without one, of each consumer",
            answers.PathReport,
            answers.PathReports,
            query=("consumer",),
        ),
        Route(
            "POST",
            "/campaigns",
            api.add_campaign,
            "Push a broadcast's paths to all nodes for a time",
            Campaign,
            body=Campaign,
            status=201,
        ),
        Route("DELETE", "/campaigns/{stream}", api.remove_campaign, "End a campaign", status=204),
    )


class _Api:
    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon

    async def livez(self, _request: web.Request) -> web.Response:
        return _json(Alive(True))

    async def readyz(self, _request: web.Request) -> web.Response:
        is_ready = self._daemon.is_ready
        found = Readiness(is_ready, self._daemon.brain.status().nodes)
        return _json(found, status=200 if is_ready else 503)

    async def metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._daemon.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    async def openapi(self, _request: web.Request) -> web.Response:
        return _json(describe(routes(self._daemon), Problem, version("overlane")))

    async def status(self, _request: web.Request) -> web.Response:
        return _json(self._daemon.brain.status())

    async def nodes(self, _request: web.Request) -> web.Response:
        return _json(self._daemon.brain.nodes())

    async def links(self, request: web.Request) -> web.Response:
        _refuse_unknown(request.query, ("node",))
        node = request.query.get("node")
        if node is not None:
            self._require_node(node, "node")
        return _json(self._daemon.brain.links(node))

    async def streams(self, _request: web.Request) -> web.Response:
        return _json(self._daemon.brain.streams())

    async def stream(self, request: web.Request) -> web.Response:
        name = request.match_info["stream"]
        return _json(_found(self._daemon.brain.stream(name), name))

    async def paths(self, request: web.Request) -> web.Response:
        _refuse_unknown(request.query, ("consumer",))
        name, consumer = request.match_info["stream"], request.query.get("consumer")
        brain = self._daemon.brain
        if consumer is None:
            return _json(_found(brain.explain_all(name), name))
        self._require_node(consumer, "consumer")
        return _json(_found(brain.explain(name, consumer), name))

    async def add_campaign(self, request: web.Request) -> web.Response:
        _require_local(request)
        campaign = await _decode(request, Campaign)
        planned = self._daemon.brain.status().campaigns
        if campaign.stream not in planned and len(planned) >= MAX_PUSHED:
            text = f"there are {MAX_PUSHED} campaigns already: end one"
            raise ApiError(409, Problem(text, "full", "stream"))
        if campaign.end_s <= campaign.start_s:
            raise ApiError(400, Problem("end_s must be after start_s", "bad_request", "end_s"))
        start_us, end_us = round(campaign.start_s * 1e6), round(campaign.end_s * 1e6)
        now_us = self._daemon.now_us()
        self._daemon.brain.announce_campaign(campaign.stream, start_us, end_us, now_us)
        self._daemon.wake()
        return _json(campaign, status=201)

    async def remove_campaign(self, request: web.Request) -> web.Response:
        _require_local(request)
        name = request.match_info["stream"]
        was_there = self._daemon.brain.cancel_campaign(name, self._daemon.now_us())
        self._daemon.wake()
        if not was_there:
            raise ApiError(404, Problem(f"{name[:64]} has no campaign", "no_such_campaign"))
        return web.Response(status=204)

    def _require_node(self, name: str, field: str) -> None:
        known = {node.name for node in self._daemon.brain.settings.nodes}
        if name not in known:
            raise ApiError(404, Problem(f"no node is called {name[:64]!r}", "no_such_node", field))


def _require_local(request: web.Request) -> None:
    peer = request.transport.get_extra_info("peername") if request.transport else None
    if not peer or not ip_of((peer[0], peer[1])).is_loopback:
        text = "campaigns are changed from the brain's own host alone, by its loopback address"
        raise ApiError(403, Problem(text, "forbidden"))
    if "Origin" in request.headers:
        raise ApiError(403, Problem("campaigns are not changed by web pages", "forbidden"))


def _found(answer: msgspec.Struct | None, stream: str) -> msgspec.Struct:
    if answer is None:
        text = f"no node announces {stream[:64]!r}, or it has ended"
        raise ApiError(404, Problem(text, "no_such_stream"))
    return answer


def _json(value: object, status: int = 200) -> web.Response:
    body = msgspec.json.encode(value)
    return web.Response(body=body, status=status, content_type="application/json")


def _refuse_unknown(given: Iterable[str], known: tuple[str, ...]) -> None:
    for key in sorted(set(given) - set(known)):
        text = f"unknown parameter {key[:64]!r}; known: {', '.join(known)}"
        raise ApiError(400, Problem(text, "bad_request", key[:64]))


async def _decode(request: web.Request, model: type[Campaign]) -> Campaign:
    try:
        return msgspec.json.decode(await request.read(), type=model)
    except (msgspec.DecodeError, RecursionError, web.RequestPayloadError) as error:
        reason, _, place = " ".join(str(error).split()).partition(" - at `$.")
        field = place.rstrip("`") or None
        raise ApiError(400, Problem(f"the body: {reason}", "bad_request", field)) from None


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except ApiError as error:
        return _json(error.problem, error.status)
    except web.HTTPException as error:
        code = error.reason.lower().replace(" ", "_")
        response = _json(Problem(error.reason, code), error.status)
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
