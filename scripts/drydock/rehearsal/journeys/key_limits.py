"""What keeps the users of a gateway apart: limits and budgets of their keys, and the audit log."""

import json
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import urllib3

from drydock.errors import ClusterError
from drydock.rehearsal.journeys.chat import SECONDS, list_models
from drydock.rehearsal.journeys.gateway import CHAT, Gateway, Step, find_gateway
from drydock.rehearsal.journeys.live_cluster import LiveCluster

_OK, _UNAUTHORIZED, _TOO_MANY = 200, 401, 429
_MOST_REQUESTS = 1000
_AT_ONCE = 8
_AUDIT_SECONDS = 30.0
_AUDIT_TITLE = "the request is in the audit log"


def limits(cluster: LiveCluster) -> Iterator[Step]:
    """Try a wrong key, look for a request in the audit log, and use up the limit and the budget of a key.

    What the environment does not have, such as a budget, is a step that was not tried.

    Args:
        cluster: to try it on.

    Yields:
        Each step once it is over.

    Raises:
        ClusterError: the gateway cannot be reached, or breaks off.
        UsageError: there is no gateway.
    """
    with urllib3.PoolManager(retries=False, timeout=SECONDS, maxsize=_AT_ONCE) as pool:
        gateway = find_gateway(cluster, pool)
        try:
            yield _wrong_key(gateway)
            yield _audited(gateway)
            yield _limited(gateway)
            yield _spent(gateway)
        except urllib3.exceptions.HTTPError as error:
            raise ClusterError(f"{gateway.url}: {error}", remedy=f"Its logs: {cluster.folder.logs}/pods") from error


def _wrong_key(gateway: Gateway) -> Step:
    began = time.monotonic()
    status = _ask(gateway, f"sk-{secrets.token_hex(24)}", "any")
    return Step("a wrong key is refused", status == _UNAUTHORIZED, f"status {status}", time.monotonic() - began)


def _audited(gateway: Gateway) -> Step:
    began = time.monotonic()
    if not (gateway.settings.get("audit") or {}).get("stdout"):
        return Step(_AUDIT_TITLE, None, "audit.stdout is off", 0.0)
    name, key = next(iter(gateway.keys.items()))
    models, refused = list_models(gateway, key)
    if not models:
        return Step(_AUDIT_TITLE, False, refused or "the key has no model", time.monotonic() - began)
    before = len(_lines_of(gateway, name))
    status = _ask(gateway, key, models[0])
    while time.monotonic() - began < _AUDIT_SECONDS:
        if len(lines := _lines_of(gateway, name)) > before:
            line = {key: lines[-1].get(key) for key in ("key", "model", "status", "promptTokens", "completionTokens")}
            return Step(_AUDIT_TITLE, status == _OK, json.dumps(line), time.monotonic() - began)
        time.sleep(1)
    return Step(_AUDIT_TITLE, False, f"status {status}, and no line of key {name}", time.monotonic() - began)


def _lines_of(gateway: Gateway, key: str) -> list[dict[str, Any]]:
    lines = (json.loads(line) for line in gateway.logs().splitlines() if line.startswith('{"log": "audit"'))
    return sorted((line for line in lines if line.get("key") == key), key=lambda line: str(line["time"]))


def _limited(gateway: Gateway) -> Step:
    title, began = "a key that has used up its requests of the minute is refused", time.monotonic()
    limited = {
        name: int(own["requestsPerMinute"])
        for name, own in _own_settings(gateway).items()
        if own.get("requestsPerMinute") and name in gateway.keys
    }
    if not limited:
        return Step(title, None, "no key has requestsPerMinute", 0.0)
    name = min(limited, key=lambda known: limited[known])
    if limited[name] > _MOST_REQUESTS:
        return Step(title, None, f"the lowest limit, {limited[name]} of key {name}, is too high to reach here", 0.0)
    statuses = _ask_often(gateway, name, 2 * limited[name])
    kept = statuses.keys() <= {_OK, _TOO_MANY} and statuses[_TOO_MANY] > 0
    outcome = f"key {name}, {limited[name]} requests a minute: {_counted(statuses)}"
    return Step(title, kept, outcome, time.monotonic() - began)


def _spent(gateway: Gateway) -> Step:
    title, began = "a key whose budget is spent is refused", time.monotonic()
    budgets = {name: own["budget"] for name, own in _own_settings(gateway).items() if own.get("budget")}
    name = min(budgets, key=lambda known: float(budgets[known]["amount"]), default="")
    if name not in gateway.keys:
        return Step(title, None, "no key has a budget", 0.0)
    statuses = _ask_often(gateway, name, _MOST_REQUESTS)
    outcome = f"key {name}, {budgets[name]['amount']} in {budgets[name]['days']} days: {_counted(statuses)}"
    if not statuses[_TOO_MANY]:
        return Step(title, None, f"{outcome}; the budget is too large to spend here", time.monotonic() - began)
    return Step(title, statuses.keys() <= {_OK, _TOO_MANY}, outcome, time.monotonic() - began)


def _counted(statuses: Counter[int]) -> str:
    return ", ".join(f"{count} x {status}" for status, count in sorted(statuses.items()))


def _own_settings(gateway: Gateway) -> Mapping[str, Any]:
    found: Mapping[str, Any] = gateway.settings.get("keys") or {}
    return found


def _ask_often(gateway: Gateway, name: str, most: int) -> Counter[int]:
    """Statuses of up to so many requests of a key, until a few were refused."""
    models, _ = list_models(gateway, gateway.keys[name])
    statuses: Counter[int] = Counter()
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        while models and statuses.total() < most and not statuses[_TOO_MANY]:
            count = min(_AT_ONCE, most - statuses.total())
            statuses.update(threads.map(lambda _: _ask(gateway, gateway.keys[name], models[0]), range(count)))
    return statuses


def _ask(gateway: Gateway, key: str, model: str) -> int:
    response = gateway.call(
        CHAT, key, {"model": model, "messages": [{"role": "user", "content": "Ahoy"}], "max_tokens": 1}
    )
    response.drain_conn()
    response.release_conn()
    return response.status
