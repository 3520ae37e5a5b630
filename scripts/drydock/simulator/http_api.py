"""The HTTP endpoints of the server."""

import base64
import json
import logging
import os
import time
from array import array
from collections.abc import Awaitable, Callable
from random import Random
from secrets import compare_digest
from typing import Any

from aiohttp import web

from drydock.engines.engine_args import EngineArgs
from drydock.errors import UsageError
from drydock.simulator.asgi import Gate
from drydock.simulator.live_engine import LiveEngine
from drydock.simulator.metrics import Metrics
from drydock.simulator.profile import Setup
from drydock.simulator.protocol import (
    ApiError,
    Call,
    chat_call,
    check_context,
    compact,
    completion_call,
    parse_body,
    prompts_of,
    usage,
)
from drydock.simulator.streams import Generation, Stream

_UNCOUNTED = frozenset({"/metrics", "/health", "/ping", "/version", "/load"})
_MOST_BODY = 256 * 2**20

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def metrics_for(args: EngineArgs, chosen: Setup) -> Metrics:
    """Metrics of a server with these arguments."""
    return Metrics(served_names(args)[0], _cache_config(args, chosen), lora=args.values["enable_lora"])


def served_names(args: EngineArgs) -> list[str]:
    """Names under which the model is asked for, the first of which it gives itself."""
    names: list[str] = args.values["served_model_name"] or [args.model]
    return names


def _adapters(args: EngineArgs) -> dict[str, str]:
    """Paths of LoRA adapters by name; each is given as `name=path` or as JSON."""
    found: dict[str, str] = {}
    for text in args.values["lora_modules"] or []:
        try:
            facts = (
                json.loads(text)
                if text.startswith("{")
                else dict(zip(("name", "path"), text.split("=", 1), strict=False))
            )
            found[facts["name"]] = facts["path"]
        except (ValueError, KeyError) as error:
            raise UsageError(
                f"--lora-modules {text}: neither NAME=PATH nor JSON with a name and a path",
                remedy='give each like sql=/adapters/sql or {"name": "sql", "path": "/adapters/sql"}',
            ) from error
    return found


def _cache_config(args: EngineArgs, chosen: Setup) -> dict[str, str]:
    memory = chosen.memory
    return {
        "_block_size_resolved": "True",
        "block_size": str(args.block_size),
        "cache_dtype": args.kv_cache_dtype,
        "calculate_kv_scales": "False",
        "enable_prefix_caching": str(args.enable_prefix_caching),
        "gpu_memory_utilization": f"{args.gpu_memory_utilization:g}",
        "is_attention_free": "False",
        "kv_cache_dtype_skip_layers": "[]",
        "kv_cache_max_concurrency": str(memory.max_concurrency),
        "kv_cache_memory_bytes": str(args.kv_cache_memory_bytes),
        "kv_cache_size_tokens": str(memory.tokens),
        "kv_offloading_backend": "native",
        "kv_offloading_size": "None",
        "kv_sharing_fast_prefill": "False",
        "mamba_block_size": "None",
        "mamba_cache_dtype": "auto",
        "mamba_cache_mode": "none",
        "mamba_page_size_padded": "None",
        "mamba_ssm_cache_dtype": "auto",
        "num_cpu_blocks": "None",
        "num_gpu_blocks": str(memory.blocks),
        "num_gpu_blocks_override": str(args.num_gpu_blocks_override),
        "prefix_caching_hash_algo": "sha256",
        "prefix_match_unit": "None",
        "skip_page_size_padded": "None",
        "sliding_window": "None",
        "user_specified_block_size": "False",
        "user_specified_mamba_block_size": "False",
    }


class Api:
    """Endpoints over one live engine.

    Attributes:
        closing: set when the server shuts down; requests on connections that are still open then fail as those of vLLM,
            whose renderer ends first (vllm/v1/engine/async_llm.py, shutdown).
    """

    def __init__(self, engine: LiveEngine, args: EngineArgs, version: str) -> None:
        self._engine, self._args, self._version = engine, args, version
        self._names = served_names(args)
        self._loras = _adapters(args) if args.values["enable_lora"] else {}
        environment = os.environ.get("VLLM_API_KEY")
        self._keys = args.values["api_key"] or ([environment] if environment else [])
        self._gate = Gate(args.values["middleware"] or ())
        self._created = int(time.time())
        self.closing = False
        self._access = logging.getLogger("uvicorn") if not args.values["disable_uvicorn_access_log"] else None

    def application(self) -> web.Application:
        """All routes and what surrounds them."""
        made = web.Application(client_max_size=_MOST_BODY, middlewares=[self._around])
        made.add_routes(
            [
                web.get("/health", self._health),
                web.get("/ping", self._health),
                web.post("/ping", self._health),
                web.get("/version", self._tell_version),
                web.get("/load", self._load),
                web.get("/metrics", self._metrics),
                web.get("/v1/models", self._models),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/completions", self._completions),
                web.post("/v1/embeddings", self._embeddings),
                web.post("/tokenize", self._tokenize),
            ]
        )
        return made

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Keys, error bodies, access log and the counts of HTTP requests."""
        began = time.monotonic()
        response = await self._answer(request, handler)
        if self._args.values["enable_request_id_headers"] and not response.prepared:
            response.headers["X-Request-Id"] = request.headers.get("X-Request-Id", os.urandom(16).hex())
        if self._access is not None:
            version = f"HTTP/{request.version.major}.{request.version.minor}"
            where = request.transport.get_extra_info("peername") if request.transport else None
            peer = ":".join(map(str, where[:2])) if isinstance(where, tuple) else "-"
            phrase = web.Response(status=response.status).reason
            self._access.info(
                '%s - "%s %s %s" %d %s', peer, request.method, request.path_qs, version, response.status, phrase
            )
        if request.path not in _UNCOUNTED:
            resource = request.match_info.route.resource
            path = resource.canonical if resource is not None else "none"
            sent = response.body_length if isinstance(response, web.Response) and response.prepared else 0
            seconds = time.monotonic() - began
            received = request.content_length or 0
            self._engine.metrics.http(path, request.method, response.status, seconds, received, sent)
        return response

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refused = await self._gate.answer(request)
        if refused is not None:
            return refused
        if self._keys and request.path.startswith("/v1") and request.method != "OPTIONS" and not self._allowed(request):
            return _json({"error": "Unauthorized"}, status=401)
        try:
            return await handler(request)
        except ApiError as error:
            return _json(error.body(), status=error.status)
        except web.HTTPException as error:
            return _json({"detail": error.reason}, status=error.status)

    def _allowed(self, request: web.Request) -> bool:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and any(compare_digest(token.encode(), key.encode()) for key in self._keys)

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _tell_version(self, _request: web.Request) -> web.Response:
        return _json({"version": self._version})

    async def _load(self, _request: web.Request) -> web.Response:
        return _json({"server_load": self._engine.in_flight})

    async def _metrics(self, _request: web.Request) -> web.Response:
        kind = "text/plain; version=1.0.0; charset=utf-8"
        return web.Response(body=self._engine.metrics.render(), headers={"Content-Type": kind})

    async def _models(self, _request: web.Request) -> web.Response:
        def card(name: str, root: str, parent: str | None, length: int | None) -> dict[str, object]:
            head = {"id": name, "object": "model", "created": self._created, "owned_by": "vllm"}
            return {**head, "root": root, "parent": parent, "max_model_len": length, "permission": []}

        length = self._engine.setup.max_model_len
        cards = [card(name, self._args.model, None, length) for name in self._names]
        cards += [card(name, path, self._names[0], None) for name, path in self._loras.items()]
        return _json({"object": "list", "data": cards})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request, "chat")
        body["model"] = self._checked_model(body.get("model"))
        return await self._generate(request, chat_call(body, self._engine.setup.max_model_len))

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        body = await self._body(request, "completions")
        body["model"] = self._checked_model(body.get("model"))
        return await self._generate(request, completion_call(body, self._engine.setup.max_model_len))

    async def _body(self, request: web.Request, kind: str) -> dict[str, Any]:
        body = parse_body(await request.read(), kind)
        if self.closing:
            raise ApiError("cannot schedule new futures after shutdown", status=500, kind="InternalServerError")
        return body

    def _checked_model(self, name: str | None) -> str:
        if name and name not in self._names and name not in self._loras:
            raise ApiError(f"The model `{name}` does not exist.", status=404, kind="NotFoundError", param="model")
        return name or self._names[0]

    async def _generate(self, request: web.Request, call: Call) -> web.StreamResponse:
        values = self._args.values
        generation = Generation(
            self._engine,
            call,
            lora=call.model if call.model in self._loras else "",
            tell_cached=bool(values["enable_prompt_tokens_details"]),
            role=values["response_role"],
        )
        try:
            if call.stream:
                stream = Stream(request, _event_stream())
                generation.start(stream)
                await generation.stream(stream, force_usage=bool(values["enable_force_include_usage"]))
                return stream.response
            generation.start(None)
            await generation.finish()
            return _json(generation.body())
        finally:
            generation.stop()

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = await self._body(request, "embeddings")
        self._checked_model(body.get("model"))
        pooling = {self._args.values[name] for name in ("runner", "convert")} & {
            "pooling",
            "embed",
            "embedding",
        }
        if not pooling:
            raise ApiError("The model does not support Embeddings API")
        setup = self._engine.setup
        size = body.get("dimensions") or setup.profile.model.hidden
        data, tokens = [], 0
        for index, prompt in enumerate(prompts_of(body["input"], "input")):
            check_context(len(prompt), 1, setup.max_model_len + 1, chat=False)
            tokens += len(prompt)
            ticket = self._engine.submit(prompt=len(prompt), output=1, finish_reason="stop", max_tokens=1)
            try:
                await ticket.done.wait()
            finally:
                self._engine.abort(ticket)
            vector = _vector(b"".join(prompt), size)
            value = base64.b64encode(array("f", vector).tobytes()).decode()
            as_text = body.get("encoding_format") == "base64"
            data.append({"index": index, "object": "embedding", "embedding": value if as_text else vector})
        used = {**usage(tokens, 0), "completion_tokens": 0}
        return _json({"object": "list", "data": data, "model": self._names[0], "usage": used})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await self._body(request, "tokenize")
        if "messages" in body:
            tokens = chat_call({**body, "max_tokens": 1}, self._engine.setup.max_model_len).choices[0].tokens
        else:
            tokens = prompts_of(body.get("prompt"), "prompt")[0]
        numbers = [int.from_bytes(token, "big") for token in tokens]
        length = self._engine.setup.max_model_len
        return _json({"count": len(numbers), "max_model_len": length, "tokens": numbers})


def _json(body: object, *, status: int = 200) -> web.Response:
    return web.json_response(body, status=status, dumps=compact)


def _event_stream() -> web.StreamResponse:
    return web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})


def _vector(seed: bytes, size: int) -> list[float]:
    """A unit vector, the same for the same text."""
    random = Random(seed)  # noqa: S311 (no secret)
    values = [random.gauss() for _ in range(size)]
    length = sum(value * value for value in values) ** 0.5
    return [value / length for value in values]
