"""Why a rehearsal can never be ready: pods that no node takes, pods that are never made, programs that crash."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from drydock.clusters.objects import BACK_OFF, condition, driver_of, full_name, is_daemon, is_served, is_true, labels_of
from drydock.outcome.decisions import AWAITING, MARKER_POD, Decided, PoolSkipped
from drydock.outcome.exclusions import read_exclusions
from drydock.outcome.karpenter_pools import since
from drydock.outcome.observe import Scene
from drydock.outcome.shared_gpus import registers_gpus, shares_to_come
from drydock.scheduling.pod_admission import tolerates
from drydock.scheduling.requirements import conflicts, from_expressions, from_labels, merged

QUIET_SECONDS = 5.0
"""How long nothing may change before what is missing counts as never to come: controllers may be late."""
NUDGE = MARKER_POD
RESTARTS = 5
"""Ends of a program after which it counts as never to run."""
_SCHEDULER = "default-scheduler"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"
_NO_DEFAULT = "the target has no default StorageClass, and no static volume matches it"


@dataclass(frozen=True)
class Obstacle:
    """Why something can never be ready.

    Attributes:
        subject: `Kind/namespace/name` of a pod, workload, node pool or node.
        pod: `namespace/name` when it is a pod.
        reason: in the words of Karpenter, the scheduler or the API server.
        exclusions: the requirement that each pool fails on, by pool.
        unschedulable: the pod finds no node; otherwise something else went wrong.
    """

    subject: str
    pod: str
    reason: str
    exclusions: Mapping[str, str] = field(default_factory=dict)
    unschedulable: bool = True


def obstacles(
    scene: Scene, installed: float, decisions: Sequence[Decided], skipped: Sequence[PoolSkipped]
) -> Iterator[Obstacle]:
    """All that was seen so far.

    Args:
        scene: every object.
        installed: when the install was over, as Unix time.
        decisions: what Karpenter could not place, in the order of its log.
        skipped: pools that Karpenter left out of rounds of decisions.
    """
    yield from _unplaced(scene, installed, decisions, skipped)
    yield from _without_pool(scene, installed)
    yield from _refused(scene, installed)
    yield from _failed_jobs(scene)
    yield from _crashing(scene)
    yield from _unplugged(scene)
    yield from _unbound(scene, installed)
    yield from _unserved(scene, installed)
    yield from _ungated(scene, installed)
    yield from _stuck_daemons(scene)


def pending_pods(scene: Scene) -> list[Mapping[str, Any]]:
    """Pods that have no node, but for the one that only wakes Karpenter up."""
    return [
        pod
        for pod in scene.of("Pod")
        if not pod["spec"].get("nodeName") and lives(pod) and pod["metadata"]["name"] != NUDGE
    ]


def lives(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is neither over nor on its way out."""
    return "deletionTimestamp" not in pod["metadata"] and pod["status"].get("phase") not in ("Succeeded", "Failed")


def _unplaced(
    scene: Scene, installed: float, decisions: Sequence[Decided], skipped: Sequence[PoolSkipped]
) -> Iterator[Obstacle]:
    """Pods that Karpenter could not place although all was installed and it knew what every pool can give."""
    if scene.pools_settled is None:
        return
    informed = max(scene.pools_settled, installed)
    latest = {scheduling_decision.pod: scheduling_decision for scheduling_decision in decisions}
    pending = pending_pods(scene)
    for pod in pending:
        decision = latest.get(full_name(pod))
        if not decision or decision.began <= informed:
            continue
        placed = (running_pod for running_pod in pending if _is_placed(running_pod, decision, latest))
        if not _may_change(scene, pod, placed, decision, skipped):
            pools = list(scene.of("NodePool"))
            exclusions = read_exclusions(decision.causes, pools, _left_out(decision, skipped))
            refused = refused_launches(scene)
            exclusions = {name: "; ".join((why, *refused.get(name, ()))) for name, why in exclusions.items()}
            yield Obstacle(f"Pod/{full_name(pod)}", full_name(pod), decision.reason, exclusions)


def refused_launches(scene: Scene) -> Mapping[str, Sequence[str]]:
    """What EC2 said to launches that it refused, by pool: Karpenter itself only says that nothing is offered."""
    found: dict[str, dict[str, None]] = {}
    for event in scene.of("Event"):
        if event.get("reason") == "InsufficientCapacityError":
            pool = str(event["involvedObject"].get("name", "")).rpartition("-")[0]
            found.setdefault(pool, {})[f"EC2 refused: {_fleet_error(str(event.get('message')))}"] = None
    return {pool: tuple(words) for pool, words in found.items()}


def _fleet_error(message: str) -> str:
    return message.partition("fleet error(s), ")[2] or message


def _left_out(decision: Decided, skipped: Sequence[PoolSkipped]) -> dict[str, str]:
    """Pools left out of the round in which a decision was made, and why."""
    return {pool.pool: pool.reason for pool in skipped if pool.began == decision.began}


def _is_placed(pod: Mapping[str, Any], decision: Decided, latest: Mapping[str, Decided]) -> bool:
    """Whether Karpenter, which looks at a pod, did not refuse it in the round of a decision."""
    own = latest.get(full_name(pod))
    gated = condition(pod, "PodScheduled").get("reason") == "SchedulingGated"
    ours = pod["spec"].get("schedulerName", _SCHEDULER) == _SCHEDULER
    return ours and not gated and (own is None or own.began != decision.began)


def _may_change(
    scene: Scene,
    pod: Mapping[str, Any],
    placed: Iterable[Mapping[str, Any]],
    decision: Decided,
    skipped: Sequence[PoolSkipped],
) -> bool:
    """Whether the decision waits for something that is on its way: NodeOverlays, shares of a GPU, a volume."""
    awaiting = any(pool.reason == AWAITING for pool in skipped if pool.began == decision.began)
    if awaiting or shares_to_come(scene, pod, decision.began, placed):
        return True
    return awaits_volume(decision.reason)


def awaits_volume(refusal: str) -> bool:
    """Whether Karpenter refused a pod because its volume is not there yet."""
    return "immediate volume binding mode must be bound" in refusal or "bind-completed" in refusal


def _without_pool(scene: Scene, installed: float) -> Iterator[Obstacle]:
    """Pods in a cluster none of whose pools will ever be ready: Karpenter does not look at them at all."""
    pools = list(scene.of("NodePool"))
    if scene.pools_settled is None or any(is_true(pool, "Ready") for pool in pools):
        return
    if not pools and not _is_quiet(scene, installed):
        return
    reason = "no node pool is ready" if pools else "there is no node pool"
    for pod in pending_pods(scene):
        yield Obstacle(f"Pod/{full_name(pod)}", full_name(pod), reason, read_exclusions((), pools, {}))


def _refused(scene: Scene, installed: float) -> Iterator[Obstacle]:
    if _is_quiet(scene, installed):
        yield from refused_workloads(scene)


def refused_workloads(scene: Scene) -> Iterator[Obstacle]:
    """Workloads whose pods the API server does not take (pod security, quota, a missing service account)."""
    latest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for event in scene.of("Event"):
        about = event["involvedObject"]
        if event.get("reason") == "FailedCreate":
            latest[about.get("kind", ""), about.get("uid", "")] = event
    for (kind, uid), event in latest.items():
        owner = scene.objects.get(kind, {}).get(uid)
        if owner and _lacks_pods(kind, owner):
            yield Obstacle(f"{kind}/{full_name(owner)}", "", str(event.get("message")), unschedulable=False)


def _lacks_pods(kind: str, owner: Mapping[str, Any]) -> bool:
    status = owner.get("status") or {}
    if kind == "Job":
        return not (status.get("active") or status.get("succeeded"))
    if kind == "DaemonSet":
        return bool(status.get("currentNumberScheduled", 0) < status.get("desiredNumberScheduled", 0))
    return bool(status.get("replicas", 0) < owner["spec"].get("replicas", 1))


def _failed_jobs(scene: Scene) -> Iterator[Obstacle]:
    for job in scene.of("Job"):
        failed = condition(job, "Failed")
        if failed.get("status") == "True":
            yield Obstacle(f"Job/{full_name(job)}", "", str(failed.get("message")), unschedulable=False)


def _crashing(scene: Scene) -> Iterator[Obstacle]:
    """Pods whose program, which runs here, ends again and again."""
    for pod in scene.of("Pod"):
        for container_status in pod["status"].get("containerStatuses") or ():
            waiting = (container_status.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") == BACK_OFF and container_status["restartCount"] >= RESTARTS:
                reason = f"container {container_status['name']}: {waiting.get('message')}"
                yield Obstacle(f"Pod/{full_name(pod)}", full_name(pod), reason, unschedulable=False)


def _unplugged(scene: Scene) -> Iterator[Obstacle]:
    """Nodes whose devices no device plugin registers, though all that was to run on them does."""
    for claim in scene.of("NodeClaim"):
        initialized = condition(claim, "Initialized")
        node = (claim.get("status") or {}).get("nodeName")
        if initialized.get("reason") != "ResourceNotRegistered" or not node or not _lacks_plugin(scene, claim, node):
            continue
        for pod in pending_pods(scene):
            wants = {
                name
                for container in pod["spec"]["containers"]
                for name in container.get("resources", {}).get("limits", {})
            }
            lacking = sorted(name for name in wants if f'"{name}"' in str(initialized.get("message")))
            if lacking:
                what = ", ".join(lacking)
                reason = f"node {node} was bought for it, but no device plugin runs there to register {what}"
                yield Obstacle(f"Pod/{full_name(pod)}", full_name(pod), reason, unschedulable=False)


def _lacks_plugin(scene: Scene, claim: Mapping[str, Any], name: str) -> bool:
    """Whether a node has all that it will ever have, and no plugin for its devices among it."""
    if not _is_quiet(scene, since(condition(claim, "Registered"))):
        return False
    node = scene.named("Node").get(name)
    if node is None:
        return False
    templates = [daemon_set["spec"]["template"] for daemon_set in scene.of("DaemonSet")]
    if any(registers_gpus(template) and _runs_on(template["spec"], node) for template in templates):
        return False
    if any(_lacks_pods("DaemonSet", daemon_set) for daemon_set in scene.of("DaemonSet")):
        return False
    alive = (pod for pod in scene.of("Pod") if lives(pod))
    there = [pod for pod in alive if pod["spec"].get("nodeName") == name or _is_meant_for(pod, name)]
    return all(is_true(pod, "Ready") and not registers_gpus(pod) for pod in there)


def _runs_on(spec: Mapping[str, Any], node: Mapping[str, Any]) -> bool:
    """Whether a DaemonSet with pods like this puts one on a node; it overlooks the taints of Kubernetes' own."""
    labels = merged(from_labels(labels_of(node)))
    required = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}
    selector = from_labels(spec.get("nodeSelector"))
    terms = required.get("nodeSelectorTerms") or [{}]
    taints = [taint for taint in node["spec"].get("taints") or () if not taint["key"].startswith("node.kubernetes.io/")]
    return any(
        not conflicts(labels, merged(selector, from_expressions(term.get("matchExpressions"))), frozenset())
        for term in terms
    ) and all(
        tolerates(spec.get("tolerations") or (), taint) for taint in taints if taint["effect"] != "PreferNoSchedule"
    )


def _is_quiet(scene: Scene, began: float) -> bool:
    """Whether nothing has changed for a while, on a cluster that had that while since something began."""
    return time.time() - max(began, scene.changed) >= QUIET_SECONDS


def _is_meant_for(pod: Mapping[str, Any], node: str) -> bool:
    """Whether a DaemonSet made the pod for this node; it is bound there a moment later."""
    required = ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(_REQUIRED) or {}
    fields = (field for term in required.get("nodeSelectorTerms", ()) for field in term.get("matchFields", ()))
    return any(node in field.get("values", ()) for field in fields)


def _unbound(scene: Scene, installed: float) -> Iterator[Obstacle]:
    if _is_quiet(scene, installed):
        yield from unbound_claims(scene)


def unbound_claims(scene: Scene) -> Iterator[Obstacle]:
    """Claims of volumes that nothing will ever make."""
    classes, drivers = scene.named("StorageClass"), scene.named("CSIDriver")
    for claim in scene.of("PersistentVolumeClaim"):
        wanted = claim["spec"].get("storageClassName")
        if (claim.get("status") or {}).get("phase") != "Pending" or claim["spec"].get("volumeName"):
            continue
        if wanted not in classes:
            reason = f"the target has no StorageClass {wanted}" if wanted else _NO_DEFAULT
        elif (provisioner := classes[wanted]["provisioner"]) == _NO_PROVISIONER:
            reason = f"no static volume of StorageClass {wanted} matches it"
        elif driver_of(provisioner) not in drivers:
            reason = f"the target lacks the driver {driver_of(provisioner)} of StorageClass {wanted}"
        else:
            continue
        yield Obstacle(f"PersistentVolumeClaim/{full_name(claim)}", "", reason, unschedulable=False)


def _unserved(scene: Scene, installed: float) -> Iterator[Obstacle]:
    """Services and Ingresses that no controller of the target gives an address."""
    if not _is_quiet(scene, installed):
        return
    for kind, key in (("Service", "loadBalancerClass"), ("Ingress", "ingressClassName")):
        for claim in (one for one in scene.of(kind) if not is_served(one)):
            named = claim["spec"].get(key)
            reason = f"the target has nothing that serves {key} {named}" if named else f"it names no {key}"
            yield Obstacle(f"{kind}/{full_name(claim)}", "", reason, unschedulable=False)


def _ungated(scene: Scene, installed: float) -> Iterator[Obstacle]:
    """Pools with a fixed number of nodes where Karpenter's gate StaticCapacity is off: it makes none."""
    if not _is_quiet(scene, installed):
        return
    for pool in scene.of("NodePool"):
        if "replicas" in pool["spec"] and not scene.gates.get("staticCapacity", True):
            reason = "the target's Karpenter makes no nodes for replicas: its feature gate StaticCapacity is off"
            yield Obstacle(f"NodePool/{full_name(pool)}", "", reason, unschedulable=False)


def _stuck_daemons(scene: Scene) -> Iterator[Obstacle]:
    """Pods of DaemonSets that do not fit on the node they are for; Karpenter buys none for them."""
    for pod in pending_pods(scene):
        placed = condition(pod, "PodScheduled")
        stuck = placed.get("reason") == "Unschedulable" and _is_quiet(scene, since(placed))
        if stuck and is_daemon(pod):
            yield Obstacle(f"Pod/{full_name(pod)}", full_name(pod), str(placed.get("message")))
