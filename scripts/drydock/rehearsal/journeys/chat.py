"""A chat request as a user of the platform sends it: with a virtual key, through the gateway, streamed."""

import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import urllib3

from drydock.errors import ClusterError
from drydock.rehearsal.journeys.gateway import CHAT, Gateway, Step, StreamedTexts, find_gateway
from drydock.rehearsal.journeys.live_cluster import LiveCluster

SECONDS = 120.0
_TOKENS = 24
_OK, _UNAUTHORIZED = 200, 401
_QUESTION = "What should I know before my first day at sea?"


def chat(cluster: LiveCluster, model: str | None, write: Callable[[str], None]) -> Iterator[Step]:
    """Ask which models there are, have one answer, and try a key that was never issued.

    Args:
        cluster: to try it on.
        model: to ask; the first of the list when absent.
        write: shows the answer as it comes.

    Yields:
        Each step once it is over; after one that failed, no other.

    Raises:
        ClusterError: the gateway cannot be reached, or breaks off.
        UsageError: there is no gateway.
    """
    with urllib3.PoolManager(retries=False, timeout=SECONDS) as pool:
        gateway = find_gateway(cluster, pool)
        try:
            yield from _steps(gateway, model, write)
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"{gateway.url}: {error}", remedy=f"Its logs: {cluster.folder.logs}/pods") from error


def list_models(gateway: Gateway, key: str) -> tuple[list[str], str]:
    """Models that a key may use, and how the gateway refused where it did."""
    response = gateway.call("/v1/models", key)
    if response.status != _OK:
        return [], f"status {response.status}: {response.data.decode(errors='replace')[:300]}"
    return [entry["id"] for entry in json.loads(response.data).get("data", ())], ""


def _steps(gateway: Gateway, model: str | None, write: Callable[[str], None]) -> Iterator[Step]:
    began = time.monotonic()
    name, key = next(iter(gateway.keys.items()))
    models, refused = list_models(gateway, key)
    wanted = model or next(iter(models), "")
    title = f"GET /v1/models with key {name}"
    yield Step(title, wanted in models, refused or ", ".join(models) or "none", time.monotonic() - began)
    if wanted not in models:
        return
    completed = _streamed(gateway, key, wanted, write)
    yield completed
    if not completed.succeeded:
        return
    began = time.monotonic()
    wrong = gateway.call(CHAT, f"sk-{secrets.token_hex(24)}", _request(wanted))
    wrong.drain_conn()
    outcome = f"status {wrong.status}"
    yield Step("the same with a wrong key", wrong.status == _UNAUTHORIZED, outcome, time.monotonic() - began)


def _streamed(gateway: Gateway, key: str, model: str, write: Callable[[str], None]) -> Step:
    title, began = f"POST {CHAT} to {model}, streamed", time.monotonic()
    response = gateway.call(CHAT, key, _request(model))
    if response.status != _OK:
        said = response.data.decode(errors="replace")[:300]
        return Step(title, False, f"status {response.status}: {said}", time.monotonic() - began)
    texts, pieces, first = StreamedTexts(response), 0, 0.0
    for text in texts:
        first = first or time.monotonic() - began
        pieces += 1
        write(text)
    outcome = f"{pieces} pieces, the first after {first:.2f} s"
    if not texts.complete:
        outcome = f"it broke off after {pieces} pieces"
    return Step(title, texts.complete and pieces > 0, outcome, time.monotonic() - began)


def _request(model: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": _QUESTION}]
    return {"model": model, "messages": messages, "max_tokens": _TOKENS, "stream": True}
