"""Sends each request to an engine that reads its prompt, and then to one that writes the answer with that KV cache.

vLLM's NixlConnector hands the cache on from engine to engine. What has to be arranged is who gets it from whom: the
first engine answers with `kv_transfer_params`, which the second one takes.

https://docs.vllm.ai/en/v0.26.0/features/nixl_connector_usage/
"""

import asyncio
import json
import logging
import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

log = logging.getLogger("router")

SPLIT = frozenset(("/v1/chat/completions", "/v1/completions"))
"""Paths whose requests have both parts; those of others are the second engine's alone."""
HANDED_OVER = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}
CLIENTS_FAULT = frozenset(range(400, 500)) - {408, 429}
"""Answers that another engine would give as well."""
HOP_BY_HOP = frozenset(
    (
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
class Settings:
    """Where the engines are, and limits.

    Attributes:
        prefill: URL of the engines that read prompts.
        decode: URL of the engines that write answers.
        body_bytes: most of one request.
        held_bytes: bodies of all requests, from their first byte to the end of their answer.
        read_seconds: until the body of a request must have come.
        connect_seconds: until an engine that takes no connection counts as gone.
        drain_seconds: that requests under way get when it is told to stop.
    """

    prefill: str
    decode: str
    body_bytes: int = 64 * 2**20
    held_bytes: int = 256 * 2**20
    read_seconds: float = 60
    connect_seconds: float = 3
    drain_seconds: float = 120


@dataclass
class Meters:
    """Metrics for Prometheus."""

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    requests: Counter = field(init=False)
    prefill: Histogram = field(init=False)

    def __post_init__(self) -> None:
        told = "Requests by where their prompt was read: prefill, decode, or decode because prefill failed."
        self.requests = Counter("prefill_decode_requests", told, ["prompt"], registry=self.registry)
        buckets = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
        self.prefill = Histogram(
            "prefill_decode_prefill_seconds", "Time of the first part.", registry=self.registry, buckets=buckets
        )


class Router:
    """The server."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.meters = Meters()
        self.held_bytes = 0
        # A new connection for each request: a Service spreads connections, not requests.
        connector = aiohttp.TCPConnector(force_close=True, limit=0)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_seconds)
        self.client = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Hand a request on."""
        headers = _kept(request.headers.items())
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise web.HTTPUnsupportedMediaType(text="Send the body without Content-Encoding")
        async with self._read(request) as raw:
            return await self._forwarded(request, _without_transfer(request, raw), headers)

    @asynccontextmanager
    async def _read(self, request: web.Request) -> AsyncIterator[bytes]:
        """A body. The engines ask for the key, so that anybody's bytes come here: they are bounded in size and time."""
        pieces, size = [], 0
        try:
            try:
                async with asyncio.timeout(self.settings.read_seconds):
                    async for piece in request.content.iter_any():
                        size += len(piece)
                        self.held_bytes += len(piece)
                        if size > self.settings.body_bytes:
                            raise web.HTTPRequestEntityTooLarge(self.settings.body_bytes, size)
                        if self.held_bytes > self.settings.held_bytes:
                            raise web.HTTPTooManyRequests(text="Too much is under way", headers={"Retry-After": "10"})
                        pieces.append(piece)
            except TimeoutError:
                raise web.HTTPRequestTimeout(text="The body did not come in time") from None
            yield b"".join(pieces)
        finally:
            self.held_bytes -= size

    async def _forwarded(self, request: web.Request, raw: bytes, headers: list[tuple[str, str]]) -> web.StreamResponse:
        body = _splittable(request, raw)
        if body is None:
            self.meters.requests.labels("decode").inc()
        else:
            if not any(name.lower() == "x-request-id" for name, _ in headers):
                headers.append(("X-Request-Id", str(uuid.uuid4())))
            refusal, transfer = await self._prefilled(request.path, body, headers)
            if refusal:
                return refusal
            if transfer:
                raw = json.dumps({**body, "kv_transfer_params": transfer}).encode()
            self.meters.requests.labels("prefill" if transfer else "fallback").inc()
        return await self._answered(request, raw, headers)

    async def _prefilled(
        self, path: str, body: Mapping[str, Any], headers: Iterable[tuple[str, str]]
    ) -> tuple[web.Response | None, Any]:
        """Have the prompt read. What is wrong with it is told at once; where that fails, the second engine reads it."""
        try:
            with self.meters.prefill.time():
                async with self.client.post(
                    f"{self.settings.prefill}{path}", json=_prompt_alone(body), headers=headers
                ) as answer:
                    content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("prefill: %s", error)
            return None, None
        if answer.status in CLIENTS_FAULT:
            return web.Response(status=answer.status, body=content, headers=_kept(answer.headers.items())), None
        try:
            transfer = (
                json.loads(content).get("kv_transfer_params") if answer.status == web.HTTPOk.status_code else None
            )
        except ValueError:
            transfer = None
        if not transfer:
            log.warning("prefill: status %d without kv_transfer_params", answer.status)
        return None, transfer

    async def _answered(
        self, request: web.Request, body: bytes, headers: Iterable[tuple[str, str]]
    ) -> web.StreamResponse:
        try:
            async with self.client.request(
                request.method,
                f"{self.settings.decode}{request.path}",
                params=request.query,
                data=body or None,
                headers=headers,
                allow_redirects=False,
            ) as answer:
                return await _relayed(answer, request)
        except aiohttp.ClientError as error:
            log.warning("decode: %s", error)
            raise web.HTTPServiceUnavailable(text="No engine that writes answers can be reached") from error

    async def ready(self, _request: web.Request) -> web.Response:
        """Whether answers can be written; without engines for prompts they still are."""
        timeout = aiohttp.ClientTimeout(total=self.settings.connect_seconds)
        try:
            async with self.client.get(f"{self.settings.decode}/health", timeout=timeout) as answer:
                return web.Response(status=answer.status)
        except (aiohttp.ClientError, TimeoutError):
            return web.Response(status=503)

    async def metrics(self, _request: web.Request) -> web.Response:
        """Everything for Prometheus."""
        return web.Response(body=generate_latest(self.meters.registry), content_type="text/plain")

    def application(self) -> web.Application:
        """Routes: probes and metrics are its own, everything else is the engines'."""
        made = web.Application()
        made.router.add_get("/ping", _alive)
        made.router.add_get("/health", self.ready)
        made.router.add_get("/metrics", self.metrics)
        made.router.add_route("*", "/{path:.*}", self.forward)
        return made


def _without_transfer(request: web.Request, raw: bytes) -> bytes:
    """A body without `kv_transfer_params`: with them a client would have an engine fetch a cache from any host.

    Raises:
        HTTPBadRequest: what is neither JSON nor a form, in which an engine might read something else.
    """
    if not raw or request.content_type == "multipart/form-data":
        return raw
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):
        raise web.HTTPBadRequest(text="The body is not JSON") from None
    if not isinstance(body, dict) or "kv_transfer_params" not in body:
        return raw
    return json.dumps({name: value for name, value in body.items() if name != "kv_transfer_params"}).encode()


def _splittable(request: web.Request, raw: bytes) -> dict[str, Any] | None:
    """The request's body, when it has one prompt and one answer: only one KV cache can be handed over."""
    if request.method != "POST" or request.path not in SPLIT:
        return None
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    if not isinstance(body, dict) or body.get("n") not in (None, 1) or body.get("best_of") not in (None, 1):
        return None
    prompt = body.get("prompt")
    several = isinstance(prompt, list) and not all(isinstance(each, int) for each in prompt)
    # What is told about the tokens of the prompt, only who has read it can tell.
    about_prompt = body.get("echo") or body.get("prompt_logprobs") is not None
    return None if several or about_prompt else body


def _prompt_alone(body: Mapping[str, Any]) -> dict[str, Any]:
    """The same request for one token, which the engine that reads the prompt writes along the way."""
    dropped = ("stream_options", "min_tokens", "max_completion_tokens")
    kept = {name: value for name, value in body.items() if name not in dropped}
    if "tool_choice" in kept:
        # The prompt is the same, and one token is no call of a tool that could be parsed.
        kept["tool_choice"] = "none"
    return {**kept, "stream": False, "max_tokens": 1, "kv_transfer_params": HANDED_OVER}


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="ok")


async def _relayed(answer: aiohttp.ClientResponse, request: web.Request) -> web.StreamResponse:
    """Pass an answer through, piece by piece as it comes."""
    response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers.items()))
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


async def serve(router: Router, host: str, port: int) -> None:
    """Serve until a signal, then let what is under way end."""
    stopping = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopping.set)
    # A client that goes away ends its request, at the engines too.
    runner = web.AppRunner(
        router.application(),
        handler_cancellation=True,
        access_log=None,
        shutdown_timeout=router.settings.drain_seconds,
    )
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    log.info("takes requests at port %d", port)
    await stopping.wait()
    await runner.cleanup()
    await router.client.close()


async def main() -> None:
    """Start with the settings of the environment."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = Settings(
        prefill=os.environ["PREFILL_URL"],
        decode=os.environ["DECODE_URL"],
        held_bytes=int(os.environ.get("ROUTER_HELD_MEBIBYTES", "256")) * 2**20,
        read_seconds=float(os.environ.get("ROUTER_READ_SECONDS", "60")),
        drain_seconds=float(os.environ.get("DRAIN_SECONDS", "120")),
    )
    host = os.environ.get("ROUTER_HOST", "0.0.0.0")  # noqa: S104
    await serve(Router(settings), host, int(os.environ.get("ROUTER_PORT", "8000")))


if __name__ == "__main__":
    asyncio.run(main())
