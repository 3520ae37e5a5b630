"""The only requests that reach LiteLLM, and nothing in them that it would take as an order.

LiteLLM serves some hundred routes, reads the model from the path, the query, headers or the body, and takes
credentials, prices, fallbacks and more from a request. This ASGI middleware stands before all of it and builds each
request again from what is listed here: a route, the key, and the fields of the body that an engine may get. Everything
else is refused or dropped.
"""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

MARK = "drydock.request_filter"
"""Key of a scope that came through the filter."""

_SAMPLING = """
    model stream stream_options temperature top_p n stop max_tokens presence_penalty frequency_penalty logit_bias
    logprobs seed top_k min_p repetition_penalty length_penalty stop_token_ids include_stop_str_in_output ignore_eos
    min_tokens skip_special_tokens spaces_between_special_tokens truncate_prompt_tokens prompt_logprobs
    allowed_token_ids bad_words add_special_tokens response_format structured_outputs guided_json guided_regex
    guided_choice guided_grammar return_token_ids return_tokens_as_token_ids cache_salt
"""
FIELDS: Mapping[str, frozenset[str]] = {
    name: frozenset(fields.split())
    for name, fields in {
        "/v1/chat/completions": _SAMPLING
        + """messages max_completion_tokens top_logprobs tools tool_choice parallel_tool_calls reasoning_effort
        documents add_generation_prompt continue_final_message chat_template_kwargs include_reasoning echo""",
        "/v1/completions": _SAMPLING + "prompt suffix best_of echo",
        "/v1/embeddings": "model input encoding_format dimensions truncate_prompt_tokens",
        "/v1/images/generations": """model prompt n size quality style response_format seed negative_prompt
        guidance_scale num_inference_steps""",
        "/v1/messages": """model messages system max_tokens stream stop_sequences temperature top_k top_p tools
        tool_choice thinking""",
        "/v1/rerank": "model query documents top_n return_documents max_tokens_per_doc",
        "/v1/responses": """model input instructions stream temperature top_p max_output_tokens tools tool_choice
        parallel_tool_calls reasoning text truncation top_logprobs""",
    }.items()
}
"""Fields of the body by route: those of the OpenAI, Anthropic and Cohere APIs and of vLLM that change one answer."""
DROPPED = frozenset(
    (
        "context_management",
        "kv_transfer_params",
        "metadata",
        "prompt_cache_key",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    )
)
"""Fields that SDKs send unasked, or that only our own router may set: taken out, not refused."""
TOOLS = frozenset((None, "function", "custom"))
"""Types of tools that the client runs. Others have LiteLLM connect to servers."""
ROUTES = {path: path for path in FIELDS} | {path.removeprefix("/v1"): path for path in FIELDS}
MODELS = frozenset(("/v1/models", "/models"))
PROBES = frozenset(("/health/liveliness", "/health/readiness"))
MANAGEMENT = ("key", "team", "user", "customer", "budget", "organization", "spend", "global/spend")
"""Folders of routes that manage keys, with a database alone. LiteLLM asks for an administrator there."""
KEY_HEADERS = frozenset((b"authorization", b"x-api-key", b"api-key"))
HEADERS = frozenset((b"accept", b"host", b"user-agent", b"anthropic-version"))
_KEPT_ANSWERS = frozenset((b"x-litellm-call-id", b"x-litellm-version"))


@dataclass(frozen=True)
class Caller:
    """Who sends a request.

    Attributes:
        name: of the key.
        models: that the key may use; empty means all.
        administrator: whether it is the master key's.
    """

    name: str
    models: frozenset[str] = frozenset()
    administrator: bool = False


@dataclass(eq=False)
class Refusal(Exception):  # noqa: N818 (an answer, not a fault)
    """A request that goes no further.

    Attributes:
        status: of the response.
        message: what the client reads.
        key: name of the key, None for an unknown one.
        key_hash: its SHA-256 in hexadecimal, as LiteLLM writes it.
        model: that the request names.
    """

    status: int
    message: str
    key: str | None = None
    key_hash: str | None = None
    model: str | None = None


class RequestFilter:
    """ASGI middleware.

    Args:
        app: what gets the requests that remain.
        authenticate: the caller of a key, None for an unknown key. None in its place leaves keys to the app.
        models: names of all models that are served now.
        refused: called with each request that is refused.
        management: whether routes that manage keys are served.
        body_bytes: of the largest body.
        read_seconds: until a body must have come.
    """

    def __init__(
        self,
        app: App,
        *,
        authenticate: Callable[[str], Caller | None] | None,
        models: Callable[[], Collection[str]],
        refused: Callable[[Refusal], None],
        management: bool,
        body_bytes: int,
        read_seconds: float = 60,
    ) -> None:
        self.app = app
        self.authenticate = authenticate
        self.models = models
        self.refused = refused
        self.management = management
        self.body_bytes = body_bytes
        self.read_seconds = read_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            try:
                await self._http(scope, receive, send)
            except Refusal as refusal:
                self.refused(refusal)
                await _answer(send, refusal.status, _error(refusal))

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path = scope["method"], scope["path"]
        if method == "GET" and path in PROBES:
            status = await _status(self.app, _scope(scope, path, []), receive)
            await _answer(send, status, {"status": status})
            return
        if self.management and method in ("GET", "POST") and is_management(path):
            _key(scope["headers"])
            await self.app({**scope, MARK: True}, receive, send)
            return
        route = ROUTES.get(path)
        if route is None and path not in MODELS:
            raise Refusal(404, "There is no such route")
        if method != ("POST" if route else "GET"):
            raise Refusal(405, f"{path} takes no {method}")
        key = _key(scope["headers"])
        caller = self._caller(key)
        headers = [(b"authorization", b"Bearer " + key.encode())]
        headers += [(name, value) for name, value in scope["headers"] if name in HEADERS]
        if route is None:
            await self.app(_scope(scope, "/v1/models", headers), _nothing, _without_details(send))
            return
        try:
            body = self._body(route, await self._read(scope["headers"], receive), caller)
        except Refusal as refusal:
            name = caller.name if caller else None
            raise Refusal(
                refusal.status, refusal.message, name, hashlib.sha256(key.encode()).hexdigest(), refusal.model
            ) from None
        headers += [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.app(_scope(scope, route, headers), _Replayed(body, receive), _without_details(send))

    def _caller(self, key: str) -> Caller | None:
        if self.authenticate is None:
            return None
        caller = self.authenticate(key)
        if caller is None:
            raise Refusal(401, "The API key is not known")
        return caller

    async def _read(self, headers: Iterable[tuple[bytes, bytes]], receive: Receive) -> bytes:
        if any(name == b"content-encoding" and value.lower() != b"identity" for name, value in headers):
            raise Refusal(415, "Send the body without Content-Encoding")
        pieces: list[bytes] = []
        size, more = 0, True
        try:
            async with asyncio.timeout(self.read_seconds):
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "The body broke off")
                    pieces.append(message.get("body", b""))
                    size += len(pieces[-1])
                    if size > self.body_bytes:
                        raise Refusal(413, f"The body has more than {self.body_bytes} bytes")
                    more = message.get("more_body", False)
        except TimeoutError:
            raise Refusal(408, f"The body did not come within {self.read_seconds:.0f} s") from None
        return b"".join(pieces)

    def _body(self, route: str, raw: bytes, caller: Caller | None) -> bytes:
        body = parsed(raw)
        model = body.get("model")
        if not isinstance(model, str):
            raise Refusal(400, "model: name a model")
        shown = model[:256]
        if caller and caller.models and model not in caller.models:
            raise Refusal(403, f"key not allowed to access model {shown}", model=shown)
        if model not in self.models():
            raise Refusal(400, f"model: {shown} is not served here", model=shown)
        kept = {name: value for name, value in body.items() if name not in DROPPED}
        if unknown := sorted(kept.keys() - FIELDS[route]):
            raise Refusal(400, f"{unknown[0][:64]}: the gateway does not accept this field", model=shown)
        _check_tools(kept.get("tools"), shown)
        return json.dumps(kept, allow_nan=False).encode()


def is_management(path: str) -> bool:
    """Whether a path is one of the routes that manage keys."""
    parts = path.split("/")
    plain = all(part.replace("-", "").replace("_", "").isalnum() and part.isascii() for part in parts[1:])
    return plain and any(path.startswith(f"/{folder}/") for folder in MANAGEMENT)


def parsed(raw: bytes) -> dict[str, Any]:
    """The object of a JSON body.

    Raises:
        Refusal: it is no JSON object, or a parser could read it in two ways: a field twice, or NaN.
    """
    try:
        body = json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        reason = str(error) if isinstance(error, _AmbiguousError) else "not JSON"
        raise Refusal(400, f"The body is refused: {reason}") from None
    if not isinstance(body, dict):
        raise Refusal(400, "The body is refused: not a JSON object")
    return body


class _AmbiguousError(ValueError):
    """Two readings."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _AmbiguousError("a field is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise _AmbiguousError(f"{name} is not JSON")


def _check_tools(tools: Any, model: str) -> None:
    if tools is None:
        return
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise Refusal(400, "tools: not a list of objects", model=model)
    for tool in tools:
        kind = tool.get("type")
        if not (kind is None or isinstance(kind, str)) or kind not in TOOLS:
            raise Refusal(400, "tools: only functions, which the client runs itself", model=model)


def _key(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The API key.

    Raises:
        Refusal: there is none, or more than one.
    """
    found = set()
    for name, value in headers:
        if name in KEY_HEADERS:
            scheme, _, rest = value.decode("latin-1").strip().partition(" ")
            bearer = name == b"authorization" and scheme.lower() == "bearer"
            found.add(rest.strip() if bearer else f"{scheme} {rest}".strip())
    if len(found) > 1:
        raise Refusal(400, "Send one API key")
    key = found.pop() if found else ""
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise Refusal(401, "No API key: send Authorization: Bearer KEY")
    return key


def _scope(scope: Scope, path: str, headers: list[tuple[bytes, bytes]]) -> Scope:
    return {
        **scope,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": headers,
        MARK: True,
    }


class _Replayed:
    """The body once, then what the client does."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self.body: bytes | None = body
        self.receive = receive

    async def __call__(self) -> Message:
        if self.body is None:
            return await self.receive()
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


def _without_details(send: Send) -> Send:
    """Leave out headers that show where models are, and what others spend."""

    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", [])
            kept = [
                (name, value)
                for name, value in headers
                if not name.lower().startswith((b"x-litellm-", b"llm_provider-")) or name.lower() in _KEPT_ANSWERS
            ]
            message = {**message, "headers": kept}
        await send(message)

    return sent


async def _status(app: App, scope: Scope, receive: Receive) -> int:
    found = 503

    async def note(message: Message) -> None:
        nonlocal found
        if message["type"] == "http.response.start":
            found = message["status"]

    await app(scope, receive, note)
    return found


def _error(refusal: Refusal) -> dict[str, Any]:
    kind = {401: "auth_error", 403: "key_model_access_denied"}.get(refusal.status, "invalid_request_error")
    return {"error": {"message": refusal.message, "type": kind, "param": None, "code": str(refusal.status)}}


async def _answer(send: Send, status: int, content: Mapping[str, Any]) -> None:
    body = json.dumps(content).encode()
    # What is left of a refused body is not read.
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status in (400, 408, 413, 415):
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
