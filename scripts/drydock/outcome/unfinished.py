"""Why something is not ready yet: its conditions, what stands in its way, and what Karpenter said of it last."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from drydock.clusters.objects import condition, is_true, labels_of
from drydock.outcome.observe import Scene

_STAGES = {"Launched": "not launched", "Registered": "launched but not registered", "Initialized": "not initialized"}
_NOMINATED = re.compile(r"nodeclaim/([^, ]+)")
_PROVISIONER = "Karpenter/provisioner"
_POOL = "karpenter.sh/nodepool"


def explain(scene: Scene, said: Mapping[str, str], subject: str) -> str:
    """Why an object is not ready, in one line.

    Args:
        scene: every object.
        said: Karpenter's last words by `Kind/name` or `Kind/namespace/name`.
        subject: `Kind/name` or `Kind/namespace/name`.
    """
    kind, _, name = subject.partition("/")
    content = scene.named(kind).get(name) if kind in scene.objects else None
    if content is None:
        return "it is not there"
    reasons = [*_BY_KIND.get(kind, _conditions)(scene, said, content)]
    last = said.get(subject) or (said.get(_PROVISIONER) if kind == "Pod" and not reasons else None)
    if last:
        reasons.append(f"Karpenter's last words: {last}")
    return "; ".join(reasons) or "no reason is reported"


def _claim(_scene: Scene, _said: Mapping[str, str], claim: Mapping[str, Any]) -> Iterator[str]:
    for kind, what in _STAGES.items():
        found = condition(claim, kind)
        if found.get("status") != "True":
            yield ": ".join(part for part in (what, _words(found)) if part)
            return


def _pod(scene: Scene, said: Mapping[str, str], pod: Mapping[str, Any]) -> Iterator[str]:
    placed = condition(pod, "PodScheduled")
    if not pod["spec"].get("nodeName"):
        if placed:
            yield _words(placed)
        yield from _volumes(scene, said, pod)
        if claim := _nominated(scene, pod):
            yield f"it waits for NodeClaim/{claim}, {explain(scene, said, f'NodeClaim/{claim}')}"
        return
    for container_status in pod["status"].get("containerStatuses") or ():
        waiting = (container_status.get("state") or {}).get("waiting")
        if waiting:
            yield f"container {container_status['name']}: {_words(waiting)}"
    yield f"bound to node {pod['spec']['nodeName']}"
    yield from _conditions(scene, said, pod)


def _node(scene: Scene, said: Mapping[str, str], node: Mapping[str, Any]) -> Iterator[str]:
    if is_true(node, "Ready"):
        yield "it holds nothing but daemons, and Karpenter is about to take it away"
    else:
        yield from _conditions(scene, said, node)


def _volumes(scene: Scene, said: Mapping[str, str], pod: Mapping[str, Any]) -> Iterator[str]:
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or ():
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        claim = scene.named("PersistentVolumeClaim").get(f"{namespace}/{name}") if name else None
        if claim and (claim.get("status") or {}).get("phase") != "Bound":
            subject = f"PersistentVolumeClaim/{namespace}/{name}"
            yield f"{subject}: {explain(scene, said, subject)}"


def _nominated(scene: Scene, pod: Mapping[str, Any]) -> str | None:
    """The claim that Karpenter means a pod to run on, unless its node is ready."""
    claims = scene.named("NodeClaim")
    about = (event for event in scene.of("Event") if event["involvedObject"].get("uid") == pod["metadata"]["uid"])
    named = (_NOMINATED.search(str(item.get("message"))) for item in about if item.get("reason") == "Nominated")
    found = [match[1] for match in named if match and match[1] in claims]
    return next((name for name in reversed(found) if not is_true(claims[name], "Initialized")), None)


def _volume_claim(scene: Scene, _said: Mapping[str, str], claim: Mapping[str, Any]) -> Iterator[str]:
    yield f"phase {(claim.get('status') or {}).get('phase', 'unknown')}"
    yield from _last_event(scene, claim)


def _workload(scene: Scene, said: Mapping[str, str], workload: Mapping[str, Any]) -> Iterator[str]:
    status = workload.get("status") or {}
    wanted = status.get("desiredNumberScheduled", workload["spec"].get("replicas", 1))
    ready = status.get("numberReady", status.get("readyReplicas", 0))
    yield f"{ready} of {wanted} pods ready"
    yield from _conditions(scene, said, workload)
    yield from _last_event(scene, workload)


def _job(scene: Scene, said: Mapping[str, str], job: Mapping[str, Any]) -> Iterator[str]:
    yield f"{(job.get('status') or {}).get('succeeded', 0)} of {job['spec'].get('completions', 1)} pods succeeded"
    yield from _conditions(scene, said, job)
    yield from _last_event(scene, job)


def _pool(scene: Scene, said: Mapping[str, str], pool: Mapping[str, Any]) -> Iterator[str]:
    wanted = pool["spec"].get("replicas")
    if wanted is not None:
        name = pool["metadata"]["name"]
        owned = sum(labels_of(node_claim).get(_POOL) == name for node_claim in scene.of("NodeClaim"))
        yield f"{owned} of {wanted} nodes of a fixed number"
    yield from _conditions(scene, said, pool)
    name = pool["spec"]["template"]["spec"]["nodeClassRef"]["name"]
    node_class = scene.named("EC2NodeClass").get(name)
    yield from (f"EC2NodeClass/{name}: {told}" for told in _conditions(scene, said, node_class or {}))


def _conditions(_scene: Scene, _said: Mapping[str, str], content: Mapping[str, Any]) -> Iterator[str]:
    status = content.get("status") or {}
    if "state" in status:
        yield f"state {status['state']}"
    for state in status.get("conditions") or ():
        if state["status"] != "True" and (state.get("message") or state.get("reason")):
            yield f"{state['type']}: {_words(state)}"


def _last_event(scene: Scene, content: Mapping[str, Any]) -> Iterator[str]:
    uid = content["metadata"]["uid"]
    found = [event for event in scene.of("Event") if event["involvedObject"].get("uid") == uid]
    warnings = [state for state in found if state.get("type") == "Warning"]
    if warnings:
        yield f"{warnings[-1].get('reason')}: {str(warnings[-1].get('message', '')).strip()}"


def _words(told: Mapping[str, Any]) -> str:
    reason, message = told.get("reason", ""), str(told.get("message") or "").strip()
    return f"{reason} ({message})" if message and message != reason else str(reason)


_Explain = Callable[[Scene, Mapping[str, str], Mapping[str, Any]], Iterator[str]]
_BY_KIND: Mapping[str, _Explain] = {
    "Node": _node,
    "NodeClaim": _claim,
    "NodePool": _pool,
    "Pod": _pod,
    "PersistentVolumeClaim": _volume_claim,
    "Deployment": _workload,
    "StatefulSet": _workload,
    "DaemonSet": _workload,
    "Job": _job,
}
