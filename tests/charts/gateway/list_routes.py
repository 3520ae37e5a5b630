"""Prints every route of LiteLLM, those that it loads on their first request too: path and methods, a line each."""

import asyncio
import os
from collections.abc import Iterable, Iterator
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

from litellm.proxy import _lazy_features, proxy_server  # type: ignore[import-not-found]


async def load() -> None:
    for feature in _lazy_features.LAZY_FEATURES:
        await _lazy_features._force_load(proxy_server.app, feature)


def rows(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    for route in routes:
        if hasattr(route, "original_router"):
            yield from rows(route.original_router.routes, prefix + route.include_context.prefix)
        else:
            methods = sorted(getattr(route, "methods", None) or [type(route).__name__])
            yield f"{prefix}{getattr(route, 'path', '')} {','.join(methods)}"


asyncio.run(load())
print("\n".join(sorted(set(rows(proxy_server.app.routes)))))
