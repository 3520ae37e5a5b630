"""Holds requests for models that have no pods, and counts them for the autoscaler.

The gateway sends requests for models that scale to zero through it. It counts each from its beginning to its end, so
the count outlives the model's pods: the autoscaler wakes the model when it is not 0, and lets it sleep when it has been
0 for long. A request whose model has no ready pod waits here until one answers, or a limit is reached.

One port takes requests (`/models/ENDPOINT/v1/...`), another the autoscaler's check (`GET /models/ENDPOINT`), Prometheus
(`/metrics`) and probes (`/healthz`). Requests carry the gateway's token: only what it let in wakes a model.
"""

import asyncio
import hmac
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import configuration
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

log = logging.getLogger("activator")

UNREACHABLE = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)
"""Nothing of the request has been sent."""
PATH = re.compile(r"v1(/[A-Za-z0-9_-]+)+")
"""Paths of an engine that are handed on."""
HOP_BY_HOP = frozenset(
    (
        configuration.ACTIVATOR_HEADER.lower(),
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)


@dataclass(frozen=True)
class Limits:
    """What it may hold.

    Attributes:
        held: requests of one model that wait for it.
        held_bytes: bodies of all requests, from their first byte until a model begins its answer.
        body_bytes: body of one request.
        connections: from gateways at once.
        read_seconds: until the headers of a request must have come, and then until its body must.
        hold_seconds: longest wait for a model.
        connect_seconds: until a pod that does not take a connection counts as none.
        look_seconds: between two looks whether a model is ready.
        drain_seconds: that requests under way get when it is told to stop.
    """

    held: int = 100
    held_bytes: int = 256 * 2**20
    body_bytes: int = 16 * 2**20
    connections: int = 4096
    read_seconds: float = 30
    hold_seconds: float = 1200
    connect_seconds: float = 3
    look_seconds: float = 0.5
    drain_seconds: float = 120


@dataclass
class Endpoint:
    """One model: where it is, and its requests."""

    name: str
    url: str
    requests: int = 0
    held: int = 0
    watch: "asyncio.Task[None] | None" = None

    @contextmanager
    def counted(self) -> Iterator[None]:
        """A request, from its beginning to its end."""
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1


@dataclass
class Meters:
    """Metrics for Prometheus."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Gauge = field(init=False)
    held: Gauge = field(init=False)
    refused: Counter = field(init=False)
    hold: Histogram = field(init=False)

    def __post_init__(self) -> None:
        self.requests = Gauge("activator_requests", "Requests held and under way.", ["model"], registry=self.registry)
        self.held = Gauge(
            "activator_held_requests", "Requests that wait for their model.", ["model"], registry=self.registry
        )
        self.refused = Counter(
            "activator_refused_requests", "Requests refused at a limit.", ["model", "reason"], registry=self.registry
        )
        buckets = (1, 5, 15, 30, 60, 120, 180, 240, 300, 420, 600, 900, 1200, 1800)
        self.hold = Histogram(
            "activator_hold_seconds",
            "Wait of requests that were held.",
            ["model"],
            registry=self.registry,
            buckets=buckets,
        )


@dataclass
class Body:
    """The body of a request, counted in the activator's `held_bytes` until it is let go.

    Attributes:
        content: what came, empty once it was let go.
        size: bytes that are counted.
    """

    content: bytes = b""
    size: int = 0


class Activator:
    """The server.

    Args:
        read: gives the URL of each endpoint as it is now.
        limits: of what it holds.
        address: at which all pods like it are reached.
        token: that the gateway's requests carry.
    """

    def __init__(self, read: Callable[[], Mapping[str, str]], limits: Limits, address: str, token: str) -> None:
        self.read = read
        self.limits = limits
        self.address = address
        self.token = token
        self.endpoints: dict[str, Endpoint] = {}
        self.meters = Meters()
        self.held_bytes = 0
        self.stopping = asyncio.Event()
        # A new connection for each request: none that a pod has closed is used again, and a Service spreads them.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_seconds)
        self.client = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)

    def endpoint(self, name: str) -> Endpoint:
        """A model by the name of its endpoint, where it is now.

        Raises:
            HTTPNotFound: there is none.
        """
        urls = self.read()
        if name not in urls:
            raise web.HTTPNotFound(text=f"No model {name} that scales to zero")
        found = self.endpoints.setdefault(name, Endpoint(name, urls[name]))
        found.url = urls[name]
        return found

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Hand a request on, as soon as its model is there. Only work wakes a model, not a check of it."""
        shown = request.headers.get(configuration.ACTIVATOR_HEADER, "")
        if not hmac.compare_digest(shown.encode(), self.token.encode()):
            raise web.HTTPUnauthorized(text="Requests come through the gateway")
        if not PATH.fullmatch(request.match_info["path"]):
            raise web.HTTPNotFound(text="There is no such path")
        endpoint = self.endpoint(request.match_info["endpoint"])
        if request.method == "GET":
            return await self._check_only(endpoint, request)
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ("GET", "POST"))
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise web.HTTPUnsupportedMediaType(text="Send the body without Content-Encoding")
        body = Body()
        try:
            await self._fill(body, endpoint, request)
            with endpoint.counted():
                return await self._forwarded(endpoint, request, body)
        finally:
            self._let_go(body)

    async def _fill(self, body: Body, endpoint: Endpoint, request: web.Request) -> None:
        """Read a body, whose bytes count from the first one on."""
        pieces = []
        expected = request.content_length or 0
        try:
            async with asyncio.timeout(self.limits.read_seconds):
                if expected > self.limits.body_bytes:
                    raise web.HTTPRequestEntityTooLarge(self.limits.body_bytes, expected)
                async for piece in request.content.iter_any():
                    if body.size + len(piece) > self.limits.body_bytes:
                        raise web.HTTPRequestEntityTooLarge(self.limits.body_bytes, body.size + len(piece))
                    if self.held_bytes + len(piece) > self.limits.held_bytes:
                        raise self._full(endpoint)
                    pieces.append(piece)
                    body.size += len(piece)
                    self.held_bytes += len(piece)
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="The body did not come in time") from None
        body.content = b"".join(pieces)

    def _let_go(self, body: Body) -> None:
        self.held_bytes -= body.size
        body.content, body.size = b"", 0

    async def _forwarded(self, endpoint: Endpoint, request: web.Request, body: Body) -> web.StreamResponse:
        deadline = asyncio.get_running_loop().time() + self.limits.hold_seconds
        while True:
            try:
                async with self._sent(endpoint, request, body.content) as answer:
                    self._let_go(body)
                    return await _relayed(answer, request)
            except UNREACHABLE:
                if self.stopping.is_set():
                    # Another pod takes it over: the client asks there, with the same body.
                    raise web.HTTPTemporaryRedirect(f"{self.address}{request.rel_url}") from None
                await self._hold(endpoint, deadline)
            except aiohttp.ClientError as error:
                log.warning("%s: %s", endpoint.name, error)
                raise web.HTTPBadGateway(text=f"Model {endpoint.name} went away before it answered") from error

    async def _check_only(self, endpoint: Endpoint, request: web.Request) -> web.StreamResponse:
        if request.can_read_body:
            raise web.HTTPBadRequest(text="GET takes no body")
        try:
            async with self._sent(endpoint, request, b"") as answer:
                return await _relayed(answer, request)
        except aiohttp.ClientError as error:
            raise web.HTTPServiceUnavailable(text=f"Model {endpoint.name} has no pods") from error

    def _sent(self, endpoint: Endpoint, request: web.Request, body: bytes) -> "aiohttp.client._RequestContextManager":
        return self.client.request(
            request.method,
            f"{endpoint.url}/{request.match_info['path']}",
            params=request.query,
            data=body or None,
            headers=_kept(request.headers.items()),
            allow_redirects=False,
        )

    def _full(self, endpoint: Endpoint) -> web.HTTPException:
        return self._refusal(endpoint, "full", web.HTTPTooManyRequests, "has as many waiting requests as it may have")

    async def _hold(self, endpoint: Endpoint, deadline: float) -> None:
        """Wait until the model answers."""
        if endpoint.held >= self.limits.held:
            raise self._full(endpoint)
        began = asyncio.get_running_loop().time()
        endpoint.held += 1
        try:
            async with asyncio.timeout_at(deadline):
                await self._ready(endpoint)
        except TimeoutError:
            raise self._refusal(endpoint, "late", web.HTTPServiceUnavailable, "was not ready in time") from None
        finally:
            endpoint.held -= 1
            self.meters.hold.labels(endpoint.name).observe(asyncio.get_running_loop().time() - began)
            if not endpoint.held and endpoint.watch:
                endpoint.watch.cancel()

    async def _ready(self, endpoint: Endpoint) -> None:
        """Return when the model answers, or this pod has to stop. All that wait for a model share one look at it."""
        if endpoint.watch is None or endpoint.watch.done():
            endpoint.watch = asyncio.create_task(self._watch(endpoint))
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            await asyncio.wait((endpoint.watch, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _watch(self, endpoint: Endpoint) -> None:
        timeout = aiohttp.ClientTimeout(total=self.limits.connect_seconds)
        while True:
            await asyncio.sleep(self.limits.look_seconds)
            endpoint.url = self.read().get(endpoint.name, endpoint.url)
            try:
                async with self.client.get(f"{endpoint.url}/health", timeout=timeout) as answer:
                    if answer.status == web.HTTPOk.status_code:
                        return
            except (aiohttp.ClientError, TimeoutError):
                continue

    def _refusal(self, endpoint: Endpoint, reason: str, kind: type[web.HTTPException], told: str) -> web.HTTPException:
        self.meters.refused.labels(endpoint.name, reason).inc()
        message = {"error": {"message": f"Model {endpoint.name} {told}", "type": reason, "code": kind.status_code}}
        return kind(text=json.dumps(message), content_type="application/json", headers={"Retry-After": "10"})

    async def count(self, request: web.Request) -> web.Response:
        """Requests of a model, for the autoscaler."""
        endpoint = self.endpoint(request.match_info["endpoint"])
        return web.json_response({"model": endpoint.name, "requests": endpoint.requests, "held": endpoint.held})

    async def metrics(self, _request: web.Request) -> web.Response:
        """Everything for Prometheus."""
        for each in self.endpoints.values():
            self.meters.requests.labels(each.name).set(each.requests)
            self.meters.held.labels(each.name).set(each.held)
        return web.Response(body=generate_latest(self.meters.registry), content_type="text/plain")

    def doors(self) -> tuple[web.Application, web.Application]:
        """For requests, and for those who look."""
        requests = web.Application(middlewares=[_once])
        requests.router.add_route("*", "/models/{endpoint}/{path:.+}", self.forward)
        looks = web.Application(middlewares=[_once])
        looks.router.add_get("/models/{endpoint}", self.count)
        looks.router.add_get("/metrics", self.metrics)
        looks.router.add_get("/healthz", _alive)
        return requests, looks


BEGUN: set[Any] = set()
"""Connections whose request's headers have come, until their time is up."""


@web.middleware
async def _once(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
    """One request for each connection, so that its time has one beginning."""
    BEGUN.add(request.protocol)
    try:
        response: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        error.force_close()
        raise
    response.force_close()
    return response


async def listen(runner: web.AppRunner, host: str, port: int, limits: Limits) -> asyncio.Server:
    """Take no more connections than may be, and close those that send no request in time."""
    loop = asyncio.get_running_loop()
    await runner.setup()

    def accepted() -> asyncio.Protocol:
        server = runner.server
        if server is None or len(server.connections) >= limits.connections:
            return _Refused()
        protocol = server()
        loop.call_later(limits.read_seconds, _close_silent, protocol)
        return protocol

    return await loop.create_server(accepted, host, port)


class _Refused(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _close_silent(protocol: Any) -> None:
    if protocol in BEGUN:
        BEGUN.discard(protocol)
    elif protocol.transport is not None:
        protocol.transport.abort()


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _relayed(answer: aiohttp.ClientResponse, request: web.Request) -> web.StreamResponse:
    """Pass an answer through, piece by piece as it comes."""
    response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers.items()))
    response.force_close()
    await response.prepare(request)
    try:
        async for piece in answer.content.iter_any():
            await response.write(piece)
    except aiohttp.ClientError:
        # The beginning is sent: only a broken connection can tell that the end is missing.
        if request.transport:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def _kept(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in headers if name.lower() not in HOP_BY_HOP]


def read_endpoints() -> dict[str, str]:
    """URLs of the endpoints that scale to zero."""
    return {each.endpoint: each.url for each in configuration.read_models() if each.scale_to_zero}


def read_limits() -> Limits:
    """Limits from the chart's settings."""
    told = configuration.read_json(configuration.SETTINGS)["activator"]
    return Limits(
        held=told["maxHeldRequests"],
        held_bytes=told["maxHeldMebibytes"] * 2**20,
        body_bytes=told["maxBodyMebibytes"] * 2**20,
        hold_seconds=told["holdSeconds"],
        drain_seconds=told["drainSeconds"],
        connections=int(os.environ.get("ACTIVATOR_CONNECTIONS", "4096")),
        read_seconds=float(os.environ.get("ACTIVATOR_READ_SECONDS", "30")),
    )


async def serve(activator: Activator, port: int, look_port: int) -> None:
    """Serve until a signal, then send what waits to another pod, and let what is under way end."""
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, activator.stopping.set)
    doors = activator.doors()
    # A client that goes away ends its request, at the model too.
    requests = web.AppRunner(
        doors[0], handler_cancellation=True, access_log=None, shutdown_timeout=activator.limits.drain_seconds
    )
    looks = web.AppRunner(doors[1], access_log=None)
    host = os.environ.get("ACTIVATOR_HOST", "0.0.0.0")  # noqa: S104
    servers = [
        await listen(requests, host, port, activator.limits),
        await listen(looks, host, look_port, activator.limits),
    ]
    log.info("takes requests at port %d", port)
    await activator.stopping.wait()
    servers[0].close()
    await requests.cleanup()
    servers[1].close()
    await looks.cleanup()
    await activator.client.close()


async def main() -> None:
    """Start with the chart's settings."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    ports = int(os.environ.get("ACTIVATOR_PORT", "8080")), int(os.environ.get("ACTIVATOR_LOOK_PORT", "8081"))
    address = str(configuration.read_json(configuration.SETTINGS)["activator"]["url"])
    master = os.environ.pop("LITELLM_MASTER_KEY", "")
    if not master:
        sys.exit("activator: the master key (masterKeySecret of the chart model-gateway) is missing or empty")
    await serve(Activator(read_endpoints, read_limits(), address, configuration.activator_token(master)), *ports)


if __name__ == "__main__":
    asyncio.run(main())
