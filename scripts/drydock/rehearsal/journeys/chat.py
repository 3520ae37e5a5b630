"""A chat request as a user of the platform sends it: with a virtual key, through the gateway, streamed."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import urllib3

from drydock.clusters.api import collection
from drydock.documents import load_yaml_file
from drydock.errors import ClusterError
from drydock.rehearsal.journeys.live_cluster import LiveCluster

_FACTS = Path(__file__).resolve().parents[2] / "data" / "journeys.yaml"
_SECONDS = 120.0
_TOKENS = 24
_OK, _UNAUTHORIZED = 200, 401
_QUESTION = "What should I know before my first day at sea?"


@dataclass(frozen=True)
class Step:
    """One thing that was tried.

    Attributes:
        title: what it was.
        succeeded: whether it went as it must.
        outcome: what came of it.
        seconds: that it took.
    """

    title: str
    succeeded: bool
    outcome: str
    seconds: float


@dataclass(frozen=True)
class _Gateway:
    url: str
    key_name: str
    key: str
    pool: urllib3.PoolManager

    def call(self, path: str, key: str, body: Mapping[str, Any] | None = None) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        return self.pool.request(
            "POST" if body else "GET",
            self.url + path,
            headers=headers,
            body=json.dumps(body) if body else None,
            preload_content=False,
        )


def chat(cluster: LiveCluster, model: str | None, write: Callable[[str], None]) -> Iterator[Step]:
    """Ask which models there are, have one answer, and try a key that nobody was given.

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
    with urllib3.PoolManager(retries=False, timeout=_SECONDS) as pool:
        gateway = _find(cluster, pool)
        try:
            yield from _steps(gateway, model, write)
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"{gateway.url}: {error}", remedy=f"Its logs: {cluster.folder.logs}/pods") from error


def _steps(gateway: _Gateway, model: str | None, write: Callable[[str], None]) -> Iterator[Step]:
    began = time.monotonic()
    answer = gateway.call("/v1/models", gateway.key)
    models = [entry["id"] for entry in json.loads(answer.data).get("data", ())] if answer.status == _OK else []
    wanted = model or next(iter(models), "")
    yield Step(
        f"GET /v1/models with key {gateway.key_name}",
        wanted in models,
        ", ".join(models) if models else f"status {answer.status}: {answer.data.decode(errors='replace')[:300]}",
        time.monotonic() - began,
    )
    if wanted not in models:
        return
    completed = _streamed(gateway, wanted, write)
    yield completed
    if not completed.succeeded:
        return
    began = time.monotonic()
    wrong = gateway.call("/v1/chat/completions", f"sk-{secrets.token_hex(24)}", _request(wanted))
    wrong.drain_conn()
    outcome = f"status {wrong.status}"
    yield Step("the same with a wrong key", wrong.status == _UNAUTHORIZED, outcome, time.monotonic() - began)


def _streamed(gateway: _Gateway, model: str, write: Callable[[str], None]) -> Step:
    title, began = f"POST /v1/chat/completions to {model}, streamed", time.monotonic()
    answer = gateway.call("/v1/chat/completions", gateway.key, _request(model))
    if answer.status != _OK:
        said = answer.data.decode(errors="replace")[:300]
        return Step(title, False, f"status {answer.status}: {said}", time.monotonic() - began)
    pieces, first, done = 0, 0.0, False
    for line in _lines(answer):
        data = line.removeprefix("data: ")
        if data == "[DONE]":
            done = True
        elif data != line and (text := _text(json.loads(data))):
            first = first or time.monotonic() - began
            pieces += 1
            write(text)
    outcome = f"{pieces} pieces, the first after {first:.2f} s" if done else f"it broke off after {pieces} pieces"
    return Step(title, done and pieces > 0, outcome, time.monotonic() - began)


def _request(model: str) -> dict[str, Any]:
    messages = [{"role": "user", "content": _QUESTION}]
    return {"model": model, "messages": messages, "max_tokens": _TOKENS, "stream": True}


def _lines(answer: urllib3.BaseHTTPResponse) -> Iterator[str]:
    rest = b""
    for chunk in answer.stream():
        *lines, rest = (rest + chunk).split(b"\n")
        yield from (line.decode().strip() for line in lines)


def _text(event: Mapping[str, Any]) -> str:
    choices = event.get("choices") or [{}]
    return str((choices[0].get("delta") or {}).get("content") or "")


def _find(cluster: LiveCluster, pool: urllib3.PoolManager) -> _Gateway:
    """The gateway, and a virtual key of it; the master key where it has no other."""
    facts = load_yaml_file(_FACTS)["chat"]
    name, service = cluster.service(facts["service"])
    url = f"http://{cluster.address(name, 'http')}"
    namespace = service["metadata"]["namespace"]
    selector = ",".join(f"{key}={value}" for key, value in service["spec"]["selector"].items())
    pods = cluster.api.get(collection("v1", "pods", namespace), {"labelSelector": selector})["items"]
    for volume in pods[0]["spec"].get("volumes") or () if pods else ():
        if volume["name"] == facts["keys"] and "secret" in volume:
            keys = cluster.secret(namespace, volume["secret"]["secretName"])
            names = [item["key"] for item in volume["secret"].get("items") or ()] or sorted(keys)
            return _Gateway(url, names[0], keys[names[0]], pool)
    for container in pods[0]["spec"]["containers"] if pods else ():
        for variable in container.get("env") or ():
            if variable["name"] == facts["master"]:
                source = variable["valueFrom"]["secretKeyRef"]
                return _Gateway(url, "master", cluster.secret(namespace, source["name"])[source["key"]], pool)
    raise ClusterError(f"no pod of Service {name} has a key", remedy="Set keys of the gateway's chart.")
