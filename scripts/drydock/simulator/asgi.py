"""`--middleware`: ASGI classes of the user's around the server, as `vllm serve` takes them from PYTHONPATH.

A class decides whether a request goes on, and answers it where not. What it would change in answers of the engine is
not simulated.
"""

import inspect
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from importlib import import_module
from typing import Any

from aiohttp import web

from drydock.errors import UsageError

Message = MutableMapping[str, Any]
Application = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_PASSED = "drydock.passed"


class Gate:
    """One or more middlewares before the server's own routes, the last one first, as Starlette nests them."""

    def __init__(self, names: Sequence[str]) -> None:
        """Import and make them.

        Raises:
            UsageError: a name leads nowhere, or to something that is no class, or the class refuses to be made.
        """
        self._application: Application | None = None
        for name in names:
            made = _imported(name)
            try:
                self._application = made(self._application or _pass)
            except (KeyError, ValueError) as error:
                raise UsageError(
                    f"--middleware {name} refuses to start: {type(error).__name__}: {error}",
                    remedy="Set the environment variables that it reads.",
                ) from error

    async def answer(self, request: web.Request) -> web.Response | None:
        """What the middlewares answer; None where they let the request through."""
        if self._application is None:
            return None
        scope = _scope(request)
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "http.request", "body": await request.read(), "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await self._application(scope, receive, send)
        if scope.get(_PASSED):
            return None
        none: Message = {"status": 500}
        start = next((item for item in sent if item["type"] == "http.response.start"), none)
        body = b"".join(item.get("body", b"") for item in sent if item["type"] == "http.response.body")
        response = web.Response(status=start["status"], body=body)
        for name, value in start.get("headers", ()):
            response.headers[name.decode("latin-1")] = value.decode("latin-1")
        return response


async def _pass(scope: MutableMapping[str, Any], _receive: object, _send: object) -> None:
    scope[_PASSED] = True


def _imported(name: str) -> Callable[[Application], Application]:
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(
            f"--middleware {name}: {error}", remedy="Give MODULE.CLASS, its folder in PYTHONPATH."
        ) from error
    made: Callable[[Application], Application] = found
    if not inspect.isclass(found):
        raise UsageError(f"--middleware {name} is not simulated: it is no class", remedy="Write it as an ASGI class.")
    return made


def _scope(request: web.Request) -> MutableMapping[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": f"{request.version.major}.{request.version.minor}",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path.partition("?")[0].encode(),
        "query_string": request.query_string.encode(),
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.raw_headers],
    }
