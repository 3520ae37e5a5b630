"""Watches that outlive a broken connection and end with the cluster."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from drydock.clusters.api import Api, ApiError

_PAUSE_SECONDS = 0.2


def follow(api: Api, path: str) -> Iterator[tuple[str, Any]]:
    """Every object of a collection as `ADDED`, then each change; after a broken connection all that is there again.

    A collection that is not served yet (its CRD is on the way) is waited for. Ends when the API server is gone.
    """
    while True:
        try:
            for kind, content in api.watch(path):
                if kind != "BOOKMARK":
                    yield kind, content
        except ApiError:
            if api.leaving or not _answers(api):
                return
            time.sleep(_PAUSE_SECONDS)


def in_background(work: Callable[..., None], *arguments: Any) -> threading.Thread:
    """Run work beside the rest of the process, and no longer than it."""
    thread = threading.Thread(target=work, args=arguments, daemon=True)
    thread.start()
    return thread


def _answers(api: Api) -> bool:
    try:
        api.text("/livez")
    except ApiError as error:
        return error.status != 0
    return True
