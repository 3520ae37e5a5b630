"""Tries one fault under load, and judges what users saw of it."""

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import urllib3

from drydock.clusters.api import collection
from drydock.clusters.objects import condition
from drydock.errors import ClusterError, DrydockError, UsageError
from drydock.rehearsal.faults.fault_list import Fault, Undo
from drydock.rehearsal.faults.load import Attempt, Load
from drydock.rehearsal.journeys.gateway import find_gateway
from drydock.rehearsal.journeys.live_cluster import LiveCluster
from drydock.rehearsal.kubelet.service_names import REACHABLE
from drydock.report.model import FaultReport

RATE = 4.0
_TOKENS = {"model": 16, "gateway": 48}
"""The gateway's pod has to go while it streams."""
_CALM_SECONDS = 3.0
"""Of answers without a failure, before the fault and after it."""
_POLL_SECONDS = 0.25
_OK = 200
_LIST_SECONDS = 60.0


@dataclass(frozen=True)
class Target:
    """Where requests go, and the pods behind it.

    Attributes:
        url: of a Service on this machine.
        key: that it asks for; empty for none.
        model: as requests name it.
        pods: that are ready.
    """

    url: str
    key: str
    model: str
    pods: tuple[Mapping[str, Any], ...]


def try_or_explain(cluster: LiveCluster, fault: Fault, tell: Callable[[str], None]) -> FaultReport:
    """The same as `try_fault`; a fault that cannot be tried has not held, with the reason."""
    try:
        return try_fault(cluster, fault, tell)
    except DrydockError as error:
        why = f"not tried: {error.message}"
        return FaultReport(fault.name, False, _promise(fault, 0), 0, 0, None, 0, why)


def try_fault(cluster: LiveCluster, fault: Fault, tell: Callable[[str], None]) -> FaultReport:
    """Send requests, bring the fault about for one of the pods behind them, and wait until all is answered again.

    Args:
        cluster: whose pods run.
        fault: to try.
        tell: called with what goes on.

    Raises:
        UsageError: nothing that it can strike runs there.
        ClusterError: no request is answered before anything breaks.
    """
    target = find_model(cluster) if fault.target == "model" else find_gateway_target(cluster)
    with Load(target.url, target.key, target.model, RATE, _TOKENS[fault.target]) as load:
        _await_calm(load, time.time(), 60.0)
        struck = time.time()
        undo = fault.strike(cluster, target.pods[0])
        tell(f"{fault.name}: {target.pods[0]['metadata']['name']}")
        try:
            _await_recovery(cluster, fault, target.pods[0], load, struck, undo, tell)
        finally:
            undo()
    return judge(fault, [attempt for attempt in load.attempts if attempt.at >= struck], struck, len(target.pods))


def _await_recovery(
    cluster: LiveCluster,
    fault: Fault,
    pod: Mapping[str, Any],
    load: Load,
    struck: float,
    undo: Undo,
    tell: Callable[[str], None],
) -> None:
    """Return once all has been answered for a while after what struck is over, or when it is too late."""
    over = False
    while time.time() - struck < fault.seconds:
        if fault.lasts and not over and time.time() - struck > fault.lasts:
            undo()
            over = True
        elif not fault.lasts or over:
            recovered = _recovered_at(load.attempts, struck)
            calm = recovered is not None and time.time() - max(recovered, struck + fault.lasts) > _CALM_SECONDS
            if calm and (not fault.replaces or _is_gone(cluster, pod)):
                return
        tell(_seen(load.attempts, struck))
        time.sleep(_POLL_SECONDS)


def judge(fault: Fault, attempts: Sequence[Attempt], struck: float, pods: int) -> FaultReport:
    """What requests since a fault say about it.

    Args:
        fault: that struck.
        attempts: since then.
        struck: when, as Unix time.
        pods: that were ready before.
    """
    lost = [attempt for attempt in attempts if not attempt.succeeded]
    recovered = _recovered_at(attempts, struck)
    seconds = None if recovered is None else round(recovered - struck, 1)
    in_time = seconds is not None and seconds <= fault.seconds
    none_lost = _loses_none(fault, pods)
    said = ", ".join(f"{count} x {why}" for why, count in Counter(attempt.said for attempt in lost).most_common())
    return FaultReport(
        name=fault.name,
        held=in_time and not (none_lost and lost),
        promise=_promise(fault, pods),
        requests=len(attempts),
        lost=len(lost),
        recovered_seconds=seconds,
        ready_pods=pods,
        errors=said,
    )


def _loses_none(fault: Fault, pods: int) -> bool:
    return 0 < fault.none_lost <= pods


def _promise(fault: Fault, pods: int) -> str:
    return f"answers again within {fault.seconds:.0f} s" + (", no request lost" if _loses_none(fault, pods) else "")


def find_gateway_target(cluster: LiveCluster) -> Target:
    """The gateway, asked with the key that no limit holds for.

    Raises:
        UsageError: there is none, or it has no model.
        ClusterError: it does not answer.
    """
    with urllib3.PoolManager(retries=False, timeout=_LIST_SECONDS) as pool:
        gateway = find_gateway(cluster, pool)
        model = _model(gateway.url, gateway.master)
        ready = tuple(pod for pod in gateway.pods if condition(pod, "Ready").get("status") == "True")
        if not model or not ready:
            raise UsageError("the gateway serves no model", remedy="A fault needs a model whose program runs here.")
        return Target(gateway.url, gateway.master, model, ready)


def find_model(cluster: LiveCluster) -> Target:
    """A model that runs here, with the most ready pods.

    Raises:
        UsageError: there is none.
    """
    services = {
        f"{service['metadata']['namespace']}/{service['metadata']['name']}": service
        for service in cluster.api.get(collection("v1", "services"))["items"]
    }
    pods = [pod for pod in cluster.api.get(collection("v1", "pods"))["items"] if _is_model(pod)]
    found = []
    for name, ports in cluster.addresses().items():
        behind = tuple(pod for pod in pods if name in services and _selects(services[name], pod))
        if behind and "http" in ports:
            found.append((len(behind), name, f"http://{ports['http']}", behind))
    for _, _, url, behind in sorted(found, key=lambda entry: (-entry[0], entry[1])):
        key = _api_key(cluster, behind[0])
        if model := _model(url, key):
            return Target(url, key, model, behind)
    raise UsageError(
        "no model answers in this rehearsal",
        remedy="A fault needs a model whose program runs here: an image of vLLM, with --live.",
    )


def _is_model(pod: Mapping[str, Any]) -> bool:
    """A ready pod that runs here and has devices."""
    requests = [(container.get("resources") or {}).get("limits") or {} for container in pod["spec"]["containers"]]
    devices = any("/" in resource for limits in requests for resource in limits)
    runs = REACHABLE in (pod["metadata"].get("annotations") or {}) and "deletionTimestamp" not in pod["metadata"]
    return devices and runs and condition(pod, "Ready").get("status") == "True"


def _selects(service: Mapping[str, Any], pod: Mapping[str, Any]) -> bool:
    selector = service["spec"].get("selector") or {}
    same = service["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return same and bool(selector) and selector.items() <= (pod["metadata"].get("labels") or {}).items()


def _api_key(cluster: LiveCluster, pod: Mapping[str, Any]) -> str:
    for container in pod["spec"]["containers"]:
        for variable in container.get("env") or ():
            source = (variable.get("valueFrom") or {}).get("secretKeyRef")
            if variable["name"] == "VLLM_API_KEY" and source:
                return cluster.secret(pod["metadata"]["namespace"], source["name"]).get(source["key"], "")
    return ""


def _model(url: str, key: str) -> str:
    """The first model of an endpoint; empty for one that has none, or is no such endpoint."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        answer = urllib3.request("GET", f"{url}/v1/models", headers=headers, timeout=_LIST_SECONDS, retries=False)
        return str(json.loads(answer.data)["data"][0]["id"]) if answer.status == _OK else ""
    except (urllib3.exceptions.HTTPError, ValueError, KeyError, IndexError):
        return ""


def _await_calm(load: Load, since: float, seconds: float) -> None:
    while True:
        recovered = _recovered_at(load.attempts, since)
        if recovered is not None and time.time() - max(recovered, since) > _CALM_SECONDS and load.attempts:
            return
        if time.time() - since > seconds:
            raise ClusterError(f"{load.url} does not answer before anything breaks: {_seen(load.attempts, since)}")
        time.sleep(_POLL_SECONDS)


def _recovered_at(attempts: Sequence[Attempt], since: float) -> float | None:
    """When the first request began after which none failed; `since` where none did, None where none succeeded."""
    failed = [attempt.at for attempt in attempts if attempt.at >= since and not attempt.succeeded]
    if not failed:
        return since if any(attempt.at >= since for attempt in attempts) else None
    return next((attempt.at for attempt in attempts if attempt.at > max(failed) and attempt.succeeded), None)


def _is_gone(cluster: LiveCluster, pod: Mapping[str, Any]) -> bool:
    """The pod, or the process that it had."""
    metadata = pod["metadata"]
    now = cluster.api.find(f"{collection('v1', 'pods', metadata['namespace'])}/{metadata['name']}")
    if now is None or now["metadata"]["uid"] != metadata["uid"]:
        return True
    before, after = (
        sum(state["restartCount"] for state in each["status"].get("containerStatuses") or ()) for each in (pod, now)
    )
    return bool(after > before)


def _seen(attempts: Sequence[Attempt], since: float) -> str:
    mine = [attempt for attempt in attempts if attempt.at >= since]
    lost = sum(not attempt.succeeded for attempt in mine)
    return f"{len(mine)} requests, {lost} lost"
