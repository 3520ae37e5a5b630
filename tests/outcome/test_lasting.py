"""When what keeps a release from being ready counts as final: moments of a cluster, and how long each has lasted."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from drydock.outcome.lasting import Doubts
from drydock.outcome.observe import Scene

Content = dict[str, Any]
WORKLOAD = "Deployment/here/model"
LONG = 100_000.0
REVISION = "deployment.kubernetes.io/revision"
READY = [{"type": "Ready", "status": "True"}]


def owned(kind: str, uid: str) -> list[Content]:
    return [{"kind": kind, "uid": uid, "controller": True}]


def pod(container: Content | None = None, *, uid: str = "pod", owner: str = "set", **spec: Any) -> Content:
    return {
        "metadata": {"name": uid, "namespace": "here", "uid": uid, "ownerReferences": owned("ReplicaSet", owner)},
        "spec": {"containers": [], **({"nodeName": "node"} if container else {}), **spec},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "vllm", **container}] if container else []},
    }


def waiting(reason: str, message: str = "", *, restarts: int = 0, ended: str = "Error") -> Content:
    last = {"terminated": {"exitCode": 137, "reason": ended}}
    return {
        "state": {"waiting": {"reason": reason, "message": message}},
        "restartCount": restarts,
        "lastState": last,
    }


def event(reason: str, message: str, *, second: int = 1, uid: str = "pod", kind: str = "Pod") -> Content:
    return {
        "metadata": {"name": f"{reason}-{second}", "namespace": "here", "uid": f"{reason}-{second}-{uid}"},
        "involvedObject": {"kind": kind, "uid": uid, "name": "gpu-abc"},
        "reason": reason,
        "message": message,
        "lastTimestamp": f"2026-01-01T00:00:{second:02}Z",
    }


def refused(message: str = "all available instance types exceed limits for nodepool (NodePool=gpu)") -> Content:
    return event("FailedScheduling", f"Failed to schedule pod, {message}")


def claim(*, initialized: bool) -> Content:
    status = "True" if initialized else "Unknown"
    return {
        "metadata": {"name": "claim", "uid": "claim"},
        "status": {"conditions": [{"type": "Initialized", "status": status}]},
    }


def scene(*pods: Content, events: Sequence[Content] = (), **more: Sequence[Content]) -> Scene:
    """A Deployment whose current ReplicaSet is `set`, one usable node pool, and these."""
    deployment = {"metadata": {"name": "model", "namespace": "here", "uid": "deployment"}}
    deployment["metadata"]["annotations"] = {REVISION: "2"}  # type: ignore[assignment]
    sets = [
        {
            "metadata": {
                "name": uid,
                "namespace": "here",
                "uid": uid,
                "annotations": {REVISION: revision},
                "ownerReferences": owned("Deployment", "deployment"),
            },
            "spec": {"replicas": 1},
            "status": {"replicas": 0},
        }
        for uid, revision in (("set", "2"), ("old-set", "1"))
    ]
    pool = {
        "metadata": {"name": "gpu", "uid": "gpu"},
        "spec": {"template": {"spec": {"nodeClassRef": {"group": "karpenter.k8s.aws", "name": "gpu"}}}},
        "status": {"conditions": READY},
    }
    content: Mapping[str, Sequence[Any]] = {
        "Deployment": [deployment],
        "ReplicaSet": sets,
        "NodePool": [pool],
        "Pod": pods,
        "Event": events,
        **more,
    }
    found = Scene()
    for kind, objects in content.items():
        found.objects[kind] = {each["metadata"]["uid"]: each for each in objects}
    return found


def reasons(now: Scene, seconds: float, *, before: Scene | None = None, unread: Sequence[str] = ()) -> list[str]:
    """What counts as final after so many seconds of the same moment."""
    doubts = Doubts([WORKLOAD], before or scene())
    assert not [doubt for doubt in doubts.final(now, 0.0, unread) if doubt.patience], "nothing counts at first sight"
    return [doubt.reason for doubt in doubts.final(now, seconds, unread)]


@pytest.mark.parametrize(
    ("state", "seconds"),
    [
        (waiting("InvalidImageName", "couldn't parse image name"), 30),
        (waiting("ImagePullBackOff", 'Back-off pulling image "a:b": not found'), 30),
        (waiting("ErrImagePull", "no match for platform in manifest"), 30),
        (waiting("ErrImagePull", "dial tcp: i/o timeout"), 300),
        (waiting("CreateContainerConfigError", 'secret "hf-secret" not found'), 45),
    ],
)
def test_a_state_of_a_container_counts_once_it_has_lasted(state: Content, seconds: float) -> None:
    assert not reasons(scene(pod(state)), seconds - 1)
    (reason,) = reasons(scene(pod(state)), seconds)
    assert state["state"]["waiting"]["message"] in reason


def test_a_registry_that_answers_again_starts_the_clock_again() -> None:
    failing, pulling = scene(pod(waiting("ErrImagePull", "i/o timeout"))), scene(pod(waiting("ContainerCreating")))
    doubts = Doubts([WORKLOAD], scene())
    assert not doubts.final(failing, 0)
    assert not doubts.final(pulling, 200)
    assert not doubts.final(failing, 299)
    assert not doubts.final(failing, 400)
    assert doubts.final(failing, 600)


def test_why_an_image_is_not_pulled_is_read_from_its_event() -> None:
    failed = event("Failed", 'Failed to pull image "a:b": manifest unknown')
    beside = event("Failed", "Error: ErrImagePull", second=2)
    backing_off = pod(waiting("ImagePullBackOff", 'Back-off pulling image "a:b"'))
    (reason,) = reasons(scene(backing_off, events=[failed, beside]), 30)
    assert reason == 'container vllm: Failed to pull image "a:b": manifest unknown'


def test_a_program_that_ends_again_and_again_counts_by_its_ends() -> None:
    assert not reasons(scene(pod(waiting("CrashLoopBackOff", restarts=4))), LONG)
    (doubt,) = Doubts([WORKLOAD], scene()).final(scene(pod(waiting("CrashLoopBackOff", restarts=5))), 0)
    assert doubt.reason == "container vllm ended 5 times, the last time with exit status 137 (Error)"
    assert (doubt.container, doubt.remedy) == ("vllm", "Correct what the program reports.")
    killed = scene(pod(waiting("CrashLoopBackOff", restarts=5, ended="OOMKilled")))
    (doubt,) = Doubts([WORKLOAD], scene()).final(killed, 0)
    assert doubt.remedy == "Give the container more memory."


def test_what_is_not_of_this_revision_does_not_count() -> None:
    broken = waiting("InvalidImageName")
    earlier = scene(pod(broken))
    assert not reasons(scene(pod(broken)), LONG, before=earlier)
    assert not reasons(scene(pod(broken, owner="old-set")), LONG)
    assert not reasons(scene(pod(broken, owner="of another release")), LONG)
    ending = pod(broken)
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert not reasons(scene(ending), LONG)


def test_a_pod_that_no_pool_takes_counts_with_karpenters_reason() -> None:
    pending = scene(pod(), events=[refused()])
    assert not reasons(pending, 44)
    (reason,) = reasons(pending, 45)
    assert reason.splitlines() == [
        "no node pool fits:",
        "  pool gpu: all available instance types exceed limits for nodepool (NodePool=gpu)",
    ]
    (doubt,) = Doubts([WORKLOAD], scene()).seen(pending)
    assert doubt.remedy.startswith("Raise the limits of that pool")


@pytest.mark.parametrize(
    "moment",
    [
        scene(pod()),
        scene(pod(), events=[refused(), event("Nominated", "Pod should schedule on: nodeclaim/a", second=2)]),
        scene(pod(), events=[event("FailedScheduling", "0/4 nodes are available")]),
        scene(pod(), events=[refused()], NodeClaim=[claim(initialized=False)]),
        scene(pod(), events=[refused("pod has unbound claims: immediate volume binding mode must be bound")]),
        scene(
            pod(),
            events=[
                refused("no instance type has a required offering"),
                event("InsufficientCapacityError", "x fleet error(s), InsufficientInstanceCapacity: y", uid="claim"),
            ],
        ),
    ],
    ids=["not refused", "nominated", "the scheduler's", "a node on its way", "a volume on its way", "no capacity now"],
)
def test_a_pod_that_may_still_find_a_node_does_not_count(moment: Scene) -> None:
    assert not reasons(moment, LONG)


def test_a_node_that_is_ready_does_not_keep_a_pod_from_counting() -> None:
    assert reasons(scene(pod(), events=[refused()], NodeClaim=[claim(initialized=True)]), 45)


def test_a_quota_of_the_account_counts_with_its_remedy() -> None:
    launch = event("InsufficientCapacityError", "x fleet error(s), VcpuLimitExceeded: y", uid="claim")
    pending = scene(pod(), events=[refused("no instance type has a required offering"), launch])
    (doubt,) = Doubts([WORKLOAD], scene()).seen(pending)
    assert "Request a higher quota" in doubt.remedy
    assert "VcpuLimitExceeded" in doubt.reason


def test_nothing_follows_from_what_may_not_be_read() -> None:
    pending = scene(pod(), events=[refused()])
    assert not reasons(pending, LONG, unread=["NodeClaim"])
    unbound = pod(volumes=[{"persistentVolumeClaim": {"claimName": "cache"}}])
    volume = {
        "metadata": {"name": "cache", "namespace": "here", "uid": "cache"},
        "spec": {"storageClassName": "fast"},
        "status": {"phase": "Pending"},
    }
    claimed = scene(unbound, PersistentVolumeClaim=[volume])
    assert reasons(claimed, 45) == ["the target has no StorageClass fast"]
    assert not reasons(claimed, LONG, unread=["StorageClass"])


def test_pods_that_the_api_server_refuses_count_as_those_of_their_workload() -> None:
    forbidden = event("FailedCreate", "violates PodSecurity", uid="set", kind="ReplicaSet")
    now = scene(events=[forbidden])
    (doubt,) = Doubts([WORKLOAD], scene()).seen(now)
    assert (doubt.subject, doubt.reason) == (WORKLOAD, "violates PodSecurity")
    assert not Doubts([WORKLOAD], now).seen(now), "an event of before"
    stale = event("FailedCreate", "violates PodSecurity", uid="old-set", kind="ReplicaSet")
    assert not Doubts([WORKLOAD], scene()).seen(scene(events=[stale]))
