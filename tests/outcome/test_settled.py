"""What an install has still to do, and why: pods to be made, nodes that hold nothing, what never became ready."""

import datetime
import json
from typing import Any

import pytest

from drydock.outcome.idle import consolidate_after, going_nodes, idle_nodes, overdue_claims
from drydock.outcome.made import unbound, unmade
from drydock.outcome.observe import Scene
from drydock.outcome.results import Circumstances, build_report
from drydock.outcome.unfinished import explain
from drydock.outcome.verdict import Expected, Verdict, judge
from drydock.rehearsal.events import Said
from drydock.rehearsal.karpenter import LogReader
from drydock.scheduling.prices import Prices
from tests.rehearsal.small import Content, Pods, node_pool

BEGAN = 1000.0
POOL = "karpenter.sh/nodepool"


def moment(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()


def condition(kind: str, status: str, reason: str = "", message: str = "", since: float = BEGAN) -> Content:
    told = {"type": kind, "status": status, "reason": reason, "message": message}
    return {**told, "lastTransitionTime": moment(since)}


def scene_of(**contents: list[Content]) -> Scene:
    scene = Scene()
    for kind, found in contents.items():
        for each in found:
            each["metadata"].setdefault("uid", f"{kind}-{each['metadata']['name']}")
            scene.see(kind, "ADDED", each, BEGAN)
    return scene


def workload(name: str, status: Content, **spec: Any) -> Content:
    return {"metadata": {"name": name, "namespace": "here", "generation": 1}, "spec": spec, "status": status}


def pod(name: str, owner: tuple[str, str] | None = None, node: str = "", **status: Any) -> Content:
    owners = (
        [{"kind": owner[0], "name": owner[1], "uid": f"{owner[0]}-{owner[1]}", "controller": True}] if owner else []
    )
    spec = {**Pods().spec(), **({"nodeName": node} if node else {})}
    metadata = {"name": name, "namespace": "here", "ownerReferences": owners}
    return {"metadata": metadata, "spec": spec, "status": {"phase": "Pending", **status}}


def unplaced(name: str, owner: tuple[str, str] | None = None, message: str = "") -> Content:
    return pod(name, owner, conditions=[condition("PodScheduled", "False", "Unschedulable", message)])


def claim(name: str, *conditions: Content, node: str = "", **status: Any) -> Content:
    told = {"conditions": list(conditions), **({"nodeName": node} if node else {}), **status}
    return {"metadata": {"name": name, "labels": {POOL: "gpu"}}, "spec": {}, "status": told}


def node(name: str) -> Content:
    labels = {POOL: "gpu", "node.kubernetes.io/instance-type": "g6.xlarge", "karpenter.sh/capacity-type": "on-demand"}
    ready = [condition("Ready", "True")]
    return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"conditions": ready}}


def event(about: str, reason: str, message: str, kind: str = "Warning") -> Content:
    return {
        "metadata": {"name": reason},
        "involvedObject": {"uid": about},
        "type": kind,
        "reason": reason,
        "message": message,
    }


@pytest.mark.parametrize(
    ("kind", "made", "pods"),
    [
        ("Deployment", {"observedGeneration": 1, "replicas": 2}, 1),
        ("Deployment", {"observedGeneration": 0, "replicas": 2}, 2),
        ("StatefulSet", {"observedGeneration": 1, "replicas": 0}, 0),
        ("Job", {}, 0),
    ],
)
def test_pods_that_a_controller_has_yet_to_make_are_waited_for(kind: str, made: Content, pods: int) -> None:
    several = [unplaced(f"p{number}", (kind, "it")) for number in range(pods)]
    scene = scene_of(**{kind: [workload("it", made, replicas=2)], "Pod": several})
    assert list(unmade(scene, {f"{kind}/here/it": 1})) == [f"{kind}/here/it"]


def test_a_pod_that_the_scheduler_has_yet_to_look_at_is_waited_for() -> None:
    done = {"observedGeneration": 1, "replicas": 1}
    scene = scene_of(Deployment=[workload("it", done, replicas=1)], Pod=[pod("new", ("Deployment", "it"))])
    assert list(unmade(scene, {"Deployment/here/it": 1})) == ["Pod/here/new"]


@pytest.mark.parametrize(
    ("kind", "status", "spec"),
    [
        ("Deployment", {"conditions": [condition("ReplicaFailure", "True")]}, {"replicas": 2}),
        ("Deployment", {"observedGeneration": 1}, {"replicas": 0}),
        ("Deployment", {}, {"replicas": 2, "paused": True}),
        ("Job", {}, {"suspend": True}),
        ("Job", {"succeeded": 1}, {}),
        ("DaemonSet", {}, {}),
    ],
)
def test_what_no_controller_will_make_is_not_waited_for(kind: str, status: Content, spec: Content) -> None:
    scene = scene_of(**{kind: [workload("it", status, **spec)]})
    assert not list(unmade(scene, {f"{kind}/here/it": 1}))
    refused = scene_of(
        StatefulSet=[workload("it", {}, replicas=1)], Event=[event("StatefulSet-it", "FailedCreate", "quota")]
    )
    assert not list(unmade(refused, {"StatefulSet/here/it": 1}))


def test_a_workload_that_was_not_seen_in_its_generation_is_waited_for() -> None:
    assert list(unmade(Scene(), {"Deployment/here/it": 1})) == ["Deployment/here/it"]
    assert list(unmade(scene_of(DaemonSet=[workload("it", {})]), {"DaemonSet/here/it": 2})) == ["DaemonSet/here/it"]


def idle_scene(after: str, **disruption: Any) -> Scene:
    daemon = pod("daemon", ("DaemonSet", "plugin"), "first")
    pool = node_pool("gpu", "x", {}, disruption={"consolidateAfter": after, **disruption})
    claims = [claim("one", condition("Initialized", "True"), node="first", lastPodEventTime=moment(BEGAN + 10))]
    claims.append(claim("two", condition("Initialized", "True"), node="second"))
    pods = [daemon, pod("model", ("ReplicaSet", "model"), "second")]
    return scene_of(Node=[node("first"), node("second")], NodePool=[pool], NodeClaim=claims, Pod=pods)


def volume_claim(name: str, phase: str = "Pending", **spec: str) -> Content:
    return {"metadata": {"name": name, "namespace": "here"}, "spec": spec, "status": {"phase": phase}}


def test_purchases_wait_for_volumes_that_come_without_a_node() -> None:
    driver = "ebs.csi.aws.com"
    classes = [
        {"metadata": {"name": "at-once"}, "provisioner": driver},
        {"metadata": {"name": "consumer"}, "provisioner": driver, "volumeBindingMode": "WaitForFirstConsumer"},
        {"metadata": {"name": "driverless"}, "provisioner": "efs.csi.aws.com"},
    ]
    claims = [
        volume_claim("waiting", storageClassName="at-once"),
        volume_claim("bound", "Bound", storageClassName="at-once"),
        volume_claim("chosen", storageClassName="at-once", volumeName="a-volume"),
        volume_claim("for-its-pod", storageClassName="consumer"),
        volume_claim("for-ever", storageClassName="driverless"),
        volume_claim("unknown", storageClassName="none"),
        volume_claim("unnamed"),
    ]
    scene = scene_of(StorageClass=classes, CSIDriver=[{"metadata": {"name": driver}}], PersistentVolumeClaim=claims)
    assert list(unbound(scene)) == ["PersistentVolumeClaim/here/waiting"]


def test_a_node_that_holds_nothing_but_daemons_is_waited_for_while_its_pool_takes_it_away() -> None:
    scene = idle_scene("1m30s")
    assert [each["metadata"]["name"] for each in idle_nodes(scene)] == ["first"]
    assert list(going_nodes(scene, BEGAN + 99)) == ["first"]
    assert not list(going_nodes(scene, BEGAN + 500)), "Karpenter keeps it for a reason of its own"
    assert not list(going_nodes(idle_scene("Never"), BEGAN))
    assert not list(going_nodes(idle_scene("0s", budgets=[{"nodes": "0"}]), BEGAN))
    assert list(going_nodes(idle_scene("0s", budgets=[{"nodes": "0", "reasons": ["Drifted"]}]), BEGAN))
    assert consolidate_after(node_pool("gpu", "x", {}, disruption={"consolidateAfter": "1h0m1.5s"})) == 3601.5


def test_only_what_karpenter_takes_away_after_minutes_is_taken_away_in_its_place() -> None:
    assert list(overdue_claims(idle_scene("5m"), BEGAN + 20)) == [("one", "", 300.0)]
    assert not list(overdue_claims(idle_scene("5m"), BEGAN + 12)), "a pod may just be on its way"
    assert not list(overdue_claims(idle_scene("30s"), BEGAN + 20)), "Karpenter does it soon"
    assert not list(overdue_claims(idle_scene("Never"), BEGAN + 20))


@pytest.mark.parametrize("kind", ["Node", "Pod"])
@pytest.mark.parametrize(("told", "seconds", "kept"), [("true", 20, True), ("1m", 20, True), ("soon", 20, False)])
def test_a_node_that_it_or_a_daemon_keeps_from_disruption_stays(
    kind: str, told: str, seconds: float, kept: bool
) -> None:
    scene = idle_scene("5m")
    content = next(each for each in scene.of(kind) if each["metadata"]["name"] in ("first", "daemon"))
    content["metadata"]["annotations"] = {"karpenter.sh/do-not-disrupt": told}
    content["status"]["startTime"] = moment(BEGAN)
    durations_count = kind == "Pod" or told == "true"
    assert bool(list(overdue_claims(scene, BEGAN + seconds))) != (kept and durations_count)
    assert bool(list(overdue_claims(scene, BEGAN + 61))) != (told == "true")
    content["status"]["phase"] = "Succeeded"
    assert bool(list(overdue_claims(scene, BEGAN + seconds))) != (kind == "Node" and told == "true")


@pytest.mark.parametrize("empty_nodes", [False, True])
def test_the_verdict_waits_for_empty_nodes_to_go_if_it_is_to(empty_nodes: bool) -> None:
    scene = idle_scene("1000000h")
    for each in [*scene.of("Pod")]:
        scene.see("Pod", "MODIFIED", {**each, "status": {"conditions": [condition("Ready", "True")]}}, BEGAN)
    verdict = judge(scene, Expected({}, BEGAN), (), (), empty_nodes=empty_nodes)
    assert verdict.ready != empty_nodes
    assert verdict.waiting == (("Node/first",) if empty_nodes else ())


def report_of(scene: Scene, verdict: Verdict, **said: str) -> Any:
    prices = Prices({"g6.xlarge": 0.8}, "us-east-1", "2026-01-01", "a list")
    versions = {"kubernetes": "", "karpenter": "", "helm": ""}
    words = {name.replace("__", "/"): words for name, words in said.items()}
    return build_report(scene, verdict, Circumstances("e", BEGAN, BEGAN, 1.0, versions, (), prices, (), (), said=words))


def test_a_node_that_holds_nothing_but_daemons_is_listed_with_its_cost() -> None:
    report = report_of(idle_scene("Never"), Verdict(ready=True, obstacles=(), waiting=()))
    (warning,) = report.warnings
    assert (warning.object, warning.reason) == ("Node/first", "OnlyDaemons")
    assert "$0.800 an hour" in warning.message
    assert report.dollars_per_hour == pytest.approx(1.6)


def test_the_pods_of_daemons_go_with_their_node() -> None:
    daemon = pod("daemon", ("DaemonSet", "plugin"), node="removed")
    left = pod("left", ("ReplicaSet", "model"), node="removed")
    report = report_of(scene_of(Pod=[daemon, left], Node=[node("first")]), Verdict(True, (), ()))
    assert [found.name for found in report.pods] == ["left"]


@pytest.mark.parametrize(
    ("conditions", "words"),
    [
        ([condition("Launched", "Unknown", "LaunchFailed", "no subnet")], "not launched: LaunchFailed (no subnet)"),
        (
            [condition("Launched", "True"), condition("Registered", "Unknown", "NodeNotFound", "no node")],
            "launched but not registered: NodeNotFound (no node)",
        ),
        (
            [
                condition("Launched", "True"),
                condition("Registered", "True"),
                condition("Initialized", "Unknown", "NotYet"),
            ],
            "not initialized: NotYet",
        ),
    ],
)
def test_a_claim_that_time_ran_out_for_is_told_with_its_condition_and_karpenters_words(
    conditions: list[Content], words: str
) -> None:
    verdict = Verdict(ready=False, obstacles=(), waiting=("NodeClaim/gpu-1",))
    report = report_of(scene_of(NodeClaim=[claim("gpu-1", *conditions)]), verdict, NodeClaim__gpu_1="unused")
    assert report.warnings[0].message == words
    reader = LogReader()
    line = {
        "level": "ERROR",
        "time": "2026-01-01T00:00:00Z",
        "message": "Reconciler error",
        "controller": "nodeclaim.lifecycle",
        "NodeClaim": {"name": "gpu-1"},
        "error": "launching nodeclaim, throttled",
    }
    said = reader.read(json.dumps(line, separators=(",", ":")))
    assert isinstance(said, Said)
    told = explain(scene_of(NodeClaim=[claim("gpu-1", *conditions)]), {said.subject: said.words}, "NodeClaim/gpu-1")
    assert told == f"{words}; Karpenter's last words: Reconciler error: launching nodeclaim, throttled"


def test_a_pod_is_told_with_what_it_waits_for() -> None:
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    waiting = unplaced("model", message="no nodes available")
    waiting["spec"]["volumes"] = [volume]
    pending = {"metadata": {"name": "data", "namespace": "here"}, "spec": {}, "status": {"phase": "Pending"}}
    scene = scene_of(
        Pod=[waiting],
        PersistentVolumeClaim=[pending],
        NodeClaim=[claim("gpu-1", condition("Launched", "Unknown", "LaunchFailed"))],
        Event=[
            event("Pod-model", "Nominated", "Pod should schedule on: nodeclaim/gpu-1", "Normal"),
            event("PersistentVolumeClaim-data", "ProvisioningFailed", "no driver"),
        ],
    )
    report = report_of(scene, Verdict(ready=False, obstacles=(), waiting=("Pod/here/model",)), NodeClaim__gpu="x")
    (told,) = (each.reason for each in report.pods)
    for part in (
        "Unschedulable (no nodes available)",
        "PersistentVolumeClaim/here/data: phase Pending; ProvisioningFailed: no driver",
        "it waits for NodeClaim/gpu-1, not launched: LaunchFailed",
    ):
        assert part in told
    assert [each.message for each in report.warnings if each.reason == "NotReady"] == [told]


def test_every_other_object_is_told_with_what_it_says_of_itself() -> None:
    limited = condition("Progressing", "False", "Late", "took long")
    scene = scene_of(
        Deployment=[workload("model", {"readyReplicas": 1, "conditions": [limited]}, replicas=3)],
        Job=[workload("once", {"succeeded": 0}, completions=2)],
        NodePool=[
            node_pool("fixed", "x", {}, replicas=2) | {"status": {"conditions": [condition("Ready", "False", "Bad")]}}
        ],
        RayCluster=[{"metadata": {"name": "ray", "namespace": "here"}, "spec": {}, "status": {"state": "suspended"}}],
    )
    assert explain(scene, {}, "Deployment/here/model") == "1 of 3 pods ready; Progressing: Late (took long)"
    assert explain(scene, {}, "Job/here/once") == "0 of 2 pods succeeded"
    assert explain(scene, {}, "NodePool/fixed") == "0 of 2 nodes of a fixed number; Ready: Bad"
    assert explain(scene, {}, "RayCluster/here/ray") == "state suspended"
    assert explain(scene, {}, "Deployment/here/gone") == "it is not there"
    failed = {"Karpenter/provisioner": "Reconciler error: creating node claim, refused"}
    assert explain(scene_of(Pod=[pod("new")]), failed, "Pod/here/new").endswith(failed["Karpenter/provisioner"])


def test_a_pool_of_which_nothing_is_known_yet_is_told_before_what_waits_for_it() -> None:
    pool = node_pool("slow", "its-class", {})
    unready = {"status": {"conditions": [condition("Ready", "Unknown", "Waiting", "images")]}}
    node_class = {"metadata": {"name": "its-class"}, **unready}
    scene = scene_of(NodePool=[pool | unready], EC2NodeClass=[node_class], Pod=[unplaced("model")])
    verdict = judge(scene, Expected({}, BEGAN), (), ())
    assert verdict.waiting == ("NodePool/slow", "Pod/here/model")
    assert (
        explain(scene, {}, "NodePool/slow")
        == "Ready: Waiting (images); EC2NodeClass/its-class: Ready: Waiting (images)"
    )
