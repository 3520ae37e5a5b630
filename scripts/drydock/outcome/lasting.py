"""What of a release can never become ready, on a cluster that shows only what its API does.

A rehearsal reads Karpenter's log and decides at once. Elsewhere the same causes are seen in events and states, which
may also pass: each counts once it has lasted for its time.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drydock.clusters.objects import BACK_OFF, condition, full_name, is_true
from drydock.outcome.exclusions import read_exclusions
from drydock.outcome.karpenter_pools import is_managed, undecided
from drydock.outcome.observe import Scene
from drydock.outcome.obstacles import (
    RESTARTS,
    awaits_volume,
    lives,
    pending_pods,
    refused_launches,
    refused_workloads,
    unbound_claims,
)

_REFUSED = "Failed to schedule pod, "
"""How Karpenter's event about a pod that it cannot place begins, also in EKS Auto Mode."""
_REVISION = "deployment.kubernetes.io/revision"
_DECIDED_SECONDS = 45.0
"""Karpenter looks at a pending pod again every ten seconds, on a busy cluster later."""
_CERTAIN_SECONDS = 30.0
_PASSING_SECONDS = 300.0
_CERTAIN_STATES = ("InvalidImageName", "ErrImageNeverPull")
_PULLING = ("ErrImagePull", "ImagePullBackOff", "RegistryUnavailable", "ImageInspectError")
_CONFIGURATION = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
_REFUSED_BY_REGISTRY = ("not found", "manifest unknown", "unauthorized", "denied", "forbidden", "no match for platform")
_QUOTA = "VcpuLimitExceeded"

_REMEDIES = {
    "limits": "Raise the limits of that pool (karpenter-nodepools.nodePools.NAME.limits), or free capacity in it.",
    "quota": "Request a higher quota of EC2 for these instances, or allow other types or purchase options in the pool.",
    "pools": "Change what the pod requires or what a pool offers; `drydock rehearse` shows the same without a cluster.",
    "no pool": "See `kubectl describe nodepools,ec2nodeclasses`: no pool can buy nodes.",
    "image": "Correct the image or its tag and platform, and check that the nodes may pull it (imagePullSecrets).",
    "configuration": "Create the Secret or ConfigMap, with that key, or correct its name in the values.",
    "memory": "Give the container more memory.",
    "crash": "Correct what the program reports.",
    "admission": "Correct what the API server refuses.",
    "volume": "Name a StorageClass of the cluster, or install its driver.",
}


@dataclass(frozen=True)
class Doubt:
    """Something that keeps a workload from being ready.

    Attributes:
        subject: `Kind/namespace/name`.
        kind: of cause; one of a subject and kind goes on although its words change.
        reason: in the cluster's words.
        remedy: what to do about it.
        patience: seconds that it must last before it counts as final.
        container: whose log says more, if one does.
    """

    subject: str
    kind: str
    reason: str
    remedy: str
    patience: float
    container: str = ""


class Doubts:
    """Remembers since when each doubt has lasted.

    Args:
        workloads: `Kind/namespace/name` of what is installed; others are left alone.
        before: the cluster before the install; pods that were there belong to an earlier revision.
    """

    def __init__(self, workloads: Collection[str], before: Scene) -> None:
        self._workloads = workloads
        self._old_pods = frozenset(before.objects["Pod"])
        self._old_events = frozenset(before.objects["Event"])
        self._since: dict[tuple[str, str], float] = {}

    def final(self, scene: Scene, now: float, unread: Collection[str] = ()) -> tuple[Doubt, ...]:
        """Doubts that have lasted for their time.

        Args:
            scene: every object.
            now: in seconds, of a clock that only goes forward.
            unread: kinds that may not be read; nothing follows from their absence.
        """
        doubts = self.seen(scene, unread)
        keys = [(doubt.subject, doubt.kind) for doubt in doubts]
        self._since = {key: self._since.get(key, now) for key in keys}
        lasted = (now - self._since[key] for key in keys)
        return tuple(doubt for doubt, seconds in zip(doubts, lasted, strict=True) if seconds >= doubt.patience)

    def seen(self, scene: Scene, unread: Collection[str] = ()) -> tuple[Doubt, ...]:
        """Every doubt of this moment; arguments as of `final`."""
        pods = [pod for pod in scene.of("Pod") if self._is_new(scene, pod)]
        doubts = [doubt for pod in pods for doubt in _states(scene, pod)]
        if not {"Event", "NodePool", "NodeClaim", "EC2NodeClass"}.intersection(unread):
            doubts.extend(_unplaced(scene, [pod for pod in pending_pods(scene) if pod in pods]))
        doubts.extend(self._refused(scene))
        if not {"StorageClass", "CSIDriver"}.intersection(unread):
            doubts.extend(_unbound(scene, pods))
        return tuple(doubts)

    def _is_new(self, scene: Scene, pod: Mapping[str, Any]) -> bool:
        """Whether a pod is of the revision that is being installed."""
        if pod["metadata"]["uid"] in self._old_pods or not lives(pod):
            return False
        owner = _controller(scene, pod)
        if owner is None:
            return False
        kind, content = owner
        if kind == "ReplicaSet":
            above = _controller(scene, content)
            if above is None or _revision(content) != _revision(above[1]):
                return False
            kind, content = above
        return f"{kind}/{full_name(content)}" in self._workloads

    def _refused(self, scene: Scene) -> Iterator[Doubt]:
        recent = Scene(objects={**scene.objects, "Event": _without(scene.objects["Event"], self._old_events)})
        replica_sets = scene.named("ReplicaSet")
        for obstacle in refused_workloads(recent):
            kind, _, name = obstacle.subject.partition("/")
            subject = obstacle.subject
            if kind == "ReplicaSet":
                above = _controller(scene, replica_sets[name])
                if above is None or _revision(replica_sets[name]) != _revision(above[1]):
                    continue
                subject = f"{above[0]}/{full_name(above[1])}"
            if subject in self._workloads:
                yield Doubt(subject, "admission", obstacle.reason, _REMEDIES["admission"], _DECIDED_SECONDS)


def _without(objects: Mapping[str, Any], old: Collection[str]) -> dict[str, Any]:
    return {uid: content for uid, content in objects.items() if uid not in old}


def _controller(scene: Scene, content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]] | None:
    for owner in content["metadata"].get("ownerReferences") or ():
        found = scene.objects.get(owner["kind"], {}).get(owner["uid"])
        if owner.get("controller") and found is not None:
            return owner["kind"], found
    return None


def _revision(content: Mapping[str, Any]) -> str:
    return str((content["metadata"].get("annotations") or {}).get(_REVISION, ""))


def _unplaced(scene: Scene, pods: Collection[Mapping[str, Any]]) -> Iterator[Doubt]:
    """Pending pods that Karpenter refused, while nothing is on its way that could make room."""
    pools = list(scene.of("NodePool"))
    if not pools or any(undecided(pools, scene.named("EC2NodeClass"))) or _in_flux(scene):
        return
    usable = any(is_true(pool, "Ready") for pool in pools)
    for pod in pods:
        subject = f"Pod/{full_name(pod)}"
        refusal = _refusal(scene, pod)
        if not usable:
            exclusions = read_exclusions((), pools, {})
            reason = "\n".join(("no node pool is ready:", *_by_pool(exclusions)))
            yield Doubt(subject, "pools", reason, _REMEDIES["no pool"], _DECIDED_SECONDS)
        elif refusal and (cause := _cause(scene, refusal)):
            reason = "\n".join(("no node pool fits:", *_excluded(scene, pools, refusal)))
            yield Doubt(subject, "pools", reason, _REMEDIES[cause], _DECIDED_SECONDS)


def _in_flux(scene: Scene) -> bool:
    """Whether a node starts or ends, or a pod is about to leave one."""
    claims = any(_is_going(claim) or not is_true(claim, "Initialized") for claim in scene.of("NodeClaim"))
    return claims or any(_is_going(pod) for pod in scene.of("Pod"))


def _is_going(content: Mapping[str, Any]) -> bool:
    return "deletionTimestamp" in content["metadata"]


def _refusal(scene: Scene, pod: Mapping[str, Any]) -> str:
    """Karpenter's words about a pod, unless it has meant it for a node since."""
    latest = {"Nominated": 0.0, "FailedScheduling": 0.0}
    refusal = ""
    for event in scene.of("Event"):
        if event["involvedObject"].get("uid") != pod["metadata"]["uid"] or event.get("reason") not in latest:
            continue
        message = str(event.get("message", ""))
        if event["reason"] == "FailedScheduling" and not message.startswith(_REFUSED):
            continue
        if (when := _when(event)) >= latest[event["reason"]]:
            latest[event["reason"]] = when
            refusal = message.removeprefix(_REFUSED) if event["reason"] == "FailedScheduling" else refusal
    return refusal if latest["FailedScheduling"] > latest["Nominated"] else ""


def _when(event: Mapping[str, Any]) -> float:
    moment = event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp")
    return datetime.fromisoformat(str(moment)).timestamp()


def _cause(scene: Scene, refusal: str) -> str:
    """Which remedy helps; empty where waiting may: capacity of EC2 comes back, and a volume is being made."""
    if awaits_volume(refusal):
        return ""
    words = [word for refused in refused_launches(scene).values() for word in refused]
    if any(_QUOTA in word for word in words):
        return "quota"
    if words and "offering" in refusal:
        return ""
    return "limits" if "limits" in refusal else "pools"


def _excluded(scene: Scene, pools: Collection[Mapping[str, Any]], refusal: str) -> Iterator[str]:
    if not all(map(is_managed, pools)):  # those of EKS Auto Mode are judged by a Karpenter of AWS
        yield refusal
        return
    launches = refused_launches(scene)
    exclusions = read_exclusions(refusal.split("; "), list(pools), {})
    exclusions = {name: "; ".join((reason, *launches.get(name, ()))) for name, reason in exclusions.items()}
    yield from _by_pool(exclusions) or (refusal,)


def _by_pool(exclusions: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"  pool {name}: {reason}" for name, reason in exclusions.items())


def _states(scene: Scene, pod: Mapping[str, Any]) -> Iterator[Doubt]:
    """What the kubelet says of containers that do not start."""
    status = pod["status"]
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (container.get("state") or {}).get("waiting") or {}
        doubt = _state(scene, pod, container, str(waiting.get("reason", "")), str(waiting.get("message") or ""))
        if doubt:
            yield doubt


def _state(
    scene: Scene, pod: Mapping[str, Any], container: Mapping[str, Any], state: str, message: str
) -> Doubt | None:
    subject, name = f"Pod/{full_name(pod)}", container["name"]
    words = f"container {name}: {': '.join(part for part in (state, message) if part)}"
    if state in _CERTAIN_STATES:
        return Doubt(subject, f"{name} image", words, _REMEDIES["image"], _CERTAIN_SECONDS)
    if state in _PULLING:
        message = _pull_error(scene, pod, message)
        refused = any(sign in message.lower() for sign in _REFUSED_BY_REGISTRY)
        patience = _CERTAIN_SECONDS if refused else _PASSING_SECONDS
        return Doubt(subject, f"{name} image", f"container {name}: {message}", _REMEDIES["image"], patience)
    if state in _CONFIGURATION:
        return Doubt(subject, f"{name} configuration", words, _REMEDIES["configuration"], _DECIDED_SECONDS)
    if state == BACK_OFF and container.get("restartCount", 0) >= RESTARTS:
        ended = (container.get("lastState") or {}).get("terminated") or {}
        out_of_memory = ended.get("reason") == "OOMKilled"
        remedy = _REMEDIES["memory" if out_of_memory else "crash"]
        last = f"exit status {ended.get('exitCode', 'unknown')} ({ended.get('reason', 'unknown')})"
        reason = f"container {name} ended {container['restartCount']} times, the last time with {last}"
        return Doubt(subject, f"{name} crash", reason, remedy, 0, container=name)
    return None


def _pull_error(scene: Scene, pod: Mapping[str, Any], message: str) -> str:
    """Why an image is not pulled; the state itself may only say that the kubelet waits before the next try."""
    events = [
        event
        for event in scene.of("Event")
        if event["involvedObject"].get("uid") == pod["metadata"]["uid"] and event.get("reason") == "Failed"
    ]
    said = [str(event.get("message", "")) for event in sorted(events, key=_when)]
    pulls = [words for words in said if "pull" in words and not words.startswith("Error: ")]
    return pulls[-1] if pulls else message


def _unbound(scene: Scene, pods: Collection[Mapping[str, Any]]) -> Iterator[Doubt]:
    """Claims of these pods that nothing will ever serve."""
    claims = {
        f"PersistentVolumeClaim/{pod['metadata']['namespace']}/{volume['persistentVolumeClaim']['claimName']}"
        for pod in pods
        if condition(pod, "PodScheduled").get("status") != "True"
        for volume in pod["spec"].get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    }
    for obstacle in unbound_claims(scene):
        if obstacle.subject in claims:
            yield Doubt(obstacle.subject, "volume", obstacle.reason, _REMEDIES["volume"], _DECIDED_SECONDS)
