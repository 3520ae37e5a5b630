"""Asks for the API key on every route; vLLM itself guards those under /v1, /v2 and /inference alone."""

import hashlib
import os
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = frozenset({"/health", "/ping", "/metrics"})
REFUSAL = b'{"error": "Unauthorized"}'


class RequireApiKey:
    """ASGI middleware. Requests carry `Authorization: Bearer KEY`, the key of VLLM_API_KEY."""

    def __init__(self, app: Application) -> None:
        key = os.environ["VLLM_API_KEY"]
        if not key:
            raise ValueError("VLLM_API_KEY is empty: the Secret that apiKeySecret names holds no key")
        if key != key.strip():
            raise ValueError(
                "VLLM_API_KEY has white space at an end, which no request can send: make the Secret without it"
            )
        self.app = app
        self.digest = hashlib.sha256(key.encode()).digest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand an open or authorized request on, and answer any other."""
        is_open = scope["type"] == "lifespan" or scope.get("method") == "OPTIONS" or scope["path"] in OPEN
        if is_open or self.is_authorized(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": REFUSAL})

    def is_authorized(self, scope: Scope) -> bool:
        """Whether the request carries the key; compared in a time that does not tell how much of it is right."""
        given = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
        scheme, _, token = given.partition(b" ")
        digest = hashlib.sha256(token).digest()
        return scheme.lower() == b"bearer" and secrets.compare_digest(digest, self.digest)
