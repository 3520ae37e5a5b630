"""The status of a pod that runs, as the API has it."""

import datetime
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drydock.clusters.objects import condition
from drydock.rehearsal.kubelet.container import OOM_KILLED, End, State
from drydock.rehearsal.kwok import NODE_IP

KEPT = State(running=0.0, ready=True, started=True)
"""Of a container whose program this machine does not have: it counts as running."""


def status(pod: Mapping[str, Any], ip: str, states: Mapping[str, State], began: float) -> dict[str, Any]:
    """The whole status but for what the scheduler put there.

    Args:
        pod: as it is now; times of conditions that do not change are taken from it.
        ip: of the pod.
        states: of the containers that run, by name.
        began: when the pod came to its node, as Unix time.
    """
    initial, containers = pod["spec"].get("initContainers") or (), pod["spec"]["containers"]
    of_all = [states.get(each["name"], KEPT) for each in containers]
    sidecars = [states.get(each["name"], KEPT) for each in initial if is_sidecar(each)]
    initialized = all(_is_done(each, states.get(each["name"])) for each in initial)
    failed = any(_has_failed(pod, each, states.get(each["name"])) for each in initial)
    ready = initialized and all(state.ready for state in (*sidecars, *of_all))
    wanted = {"PodReadyToStartContainers": True, "Initialized": initialized, "ContainersReady": ready, "Ready": ready}
    gates = (gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ())
    return {
        "phase": "Failed" if failed else _phase(of_all) if initialized else "Pending",
        "startTime": _time(began),
        "hostIP": NODE_IP,
        "hostIPs": [{"ip": NODE_IP}],
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [*_conditions(pod, {**wanted, **dict.fromkeys(gates, True)})],
        "initContainerStatuses": [_initial(each, states.get(each["name"]), began) for each in initial],
        "containerStatuses": [_container(each, state, began) for each, state in zip(containers, of_all, strict=True)],
    }


def is_sidecar(spec: Mapping[str, Any]) -> bool:
    """Whether an init container runs for as long as the pod does."""
    return spec.get("restartPolicy") == "Always"


def _is_done(spec: Mapping[str, Any], state: State | None) -> bool:
    """Whether what follows an init container may start."""
    if state is None:  # nothing here runs it
        return True
    if is_sidecar(spec):
        return state.started or state.ended is not None
    return bool(state.ended and not state.ended.status)


def _has_failed(pod: Mapping[str, Any], spec: Mapping[str, Any], state: State | None) -> bool:
    once = pod["spec"].get("restartPolicy") == "Never" and not is_sidecar(spec)
    return bool(once and state and state.ended and state.ended.status)


def _phase(states: Sequence[State]) -> str:
    ends = [state.ended for state in states]
    if all(ends):
        return "Failed" if any(end and end.status for end in ends) else "Succeeded"
    return "Pending" if all(state.running is None and not state.restarts for state in states) else "Running"


def _conditions(pod: Mapping[str, Any], wanted: Mapping[str, bool]) -> Iterator[dict[str, Any]]:
    now = _time(datetime.datetime.now(datetime.UTC).timestamp())
    for kind, holds in wanted.items():
        before, value = condition(pod, kind), str(holds)
        since = before["lastTransitionTime"] if before.get("status") == value else now
        yield {"type": kind, "status": value, "lastTransitionTime": since}


def _container(spec: Mapping[str, Any], state: State, began: float) -> dict[str, Any]:
    return {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": "",
        "restartCount": state.restarts,
        "ready": state.ready,
        "started": state.started,
        "state": _state(state, began),
        "lastState": {"terminated": _ended(state.last)} if state.last else {},
    }


def _state(state: State, began: float) -> dict[str, Any]:
    if state.ended:
        return {"terminated": _ended(state.ended)}
    if state.running is not None:
        return {"running": {"startedAt": _time(state.running or began)}}
    reason, message = state.waiting
    return {"waiting": {"reason": reason, "message": message}}


def _ended(end: End) -> dict[str, Any]:
    return {
        "exitCode": end.status if end.status >= 0 else 128 - end.status,
        "reason": OOM_KILLED if end.reason == OOM_KILLED else "Error" if end.status else "Completed",
        "message": "\n".join(filter(None, (end.reason, end.last))),
        "startedAt": _time(end.began),
        "finishedAt": _time(end.ended),
    }


def _initial(spec: Mapping[str, Any], state: State | None, began: float) -> dict[str, Any]:
    """Of an init container; one whose program this machine does not have counts as done, a sidecar as running."""
    if state is not None:
        done = bool(state.ended and not state.ended.status)
        return {**_container(spec, state, began), "ready": state.ready or done}
    when = _time(began)
    done_at_once = {"exitCode": 0, "reason": "Completed", "startedAt": when, "finishedAt": when}
    found = {"running": {"startedAt": when}} if is_sidecar(spec) else {"terminated": done_at_once}
    common = {"imageID": "", "restartCount": 0, "ready": True, "started": True}
    return {"name": spec["name"], "image": spec["image"], "state": found, **common}


def _time(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
