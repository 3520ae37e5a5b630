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
    containers = pod["spec"]["containers"]
    of_all = [states.get(each["name"], KEPT) for each in containers]
    ready = all(state.ready for state in of_all)
    wanted = {"PodReadyToStartContainers": True, "Initialized": True, "ContainersReady": ready, "Ready": ready}
    gates = (gate["conditionType"] for gate in pod["spec"].get("readinessGates") or ())
    return {
        "phase": _phase(of_all),
        "startTime": _time(began),
        "hostIP": NODE_IP,
        "hostIPs": [{"ip": NODE_IP}],
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "conditions": [*_conditions(pod, {**wanted, **dict.fromkeys(gates, True)})],
        "initContainerStatuses": [_initial(each, began) for each in pod["spec"].get("initContainers") or ()],
        "containerStatuses": [_container(each, state, began) for each, state in zip(containers, of_all, strict=True)],
    }


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


def _initial(spec: Mapping[str, Any], began: float) -> dict[str, Any]:
    """Of an init container: nothing here runs them; they count as done, sidecars as running."""
    when = _time(began)
    done = {"exitCode": 0, "reason": "Completed", "startedAt": when, "finishedAt": when}
    state = {"running": {"startedAt": when}} if spec.get("restartPolicy") == "Always" else {"terminated": done}
    common = {"imageID": "", "restartCount": 0, "ready": True, "started": True}
    return {"name": spec["name"], "image": spec["image"], "state": state, **common}


def _time(moment: float) -> str:
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
