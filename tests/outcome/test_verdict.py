"""Verdicts on moments that a cluster passes through too quickly to be held in: what was told, and what was seen yet."""

import time

import pytest

from drydock.outcome.decisions import AWAITING, Decided, PoolSkipped
from drydock.outcome.observe import Scene
from drydock.outcome.verdict import Expected, Verdict, judge
from tests.rehearsal.small import GPU, Content, Pods, device_plugin, node_pool

CONFIG = "nvidia.com/device-plugin.config"
INSTALLED, ROUND = 1000.0, 1001.0
READY = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}


def pod(name: str, *, spec: Content | None = None, placed: Content | None = None) -> Content:
    wanted = Pods(resources={"cpu": "100m", GPU: "1"}).spec()
    return {
        "metadata": {"name": name, "namespace": "here", "uid": name},
        "spec": {**wanted, **(spec or {})},
        "status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", **(placed or {})}]},
    }


def node_claim(*conditions: Content) -> Content:
    return {
        "metadata": {"name": "claim", "uid": "claim", "labels": {CONFIG: "time-slicing"}},
        "spec": {},
        "status": {"conditions": list(conditions)},
    }


def seen(sharing: str | None, *pods: Content, claims: tuple[Content, ...] = ()) -> Scene:
    """One pool of GPUs that was ready before the install was over, and these."""
    scene = Scene()
    pool = node_pool("gpu", "x", {}, labels={CONFIG: sharing} if sharing else {}) | READY
    pool["metadata"]["uid"] = "gpu"
    scene.see("NodePool", "ADDED", pool, INSTALLED)
    for kind, contents in (("Pod", pods), ("NodeClaim", claims)):
        for each in contents:
            scene.see(kind, "ADDED", each, time.time())
    return scene


def refused(*names: str, began: float = ROUND) -> list[Decided]:
    return [Decided(f"here/{name}", "all available instance types exceed limits", (), began) for name in names]


def told(scene: Scene, decisions: list[Decided], *skipped: PoolSkipped) -> Verdict:
    return judge(scene, Expected({}, INSTALLED), decisions, skipped)


def test_pods_wait_for_the_claim_that_the_round_that_refused_them_is_about_to_make() -> None:
    scene = seen("time-slicing", pod("first"), pod("second"), pod("third"))
    verdict = told(scene, refused("second", "third"))
    assert not verdict.final
    assert "Pod/here/second" in verdict.waiting


def test_pods_wait_for_a_node_whose_plugin_has_yet_to_share() -> None:
    scene = seen("time-slicing", pod("first"), pod("second"), claims=(node_claim(),))
    assert not told(scene, refused("first", "second")).final
    initialized = {"type": "Initialized", "status": "True", "lastTransitionTime": "1970-01-01T00:16:42Z"}
    scene.see("NodeClaim", "MODIFIED", node_claim(initialized), time.time())
    assert not told(scene, refused("first", "second")).final, "the shares came after that round began"
    later = told(scene, refused("first", "second", began=ROUND + 10))
    assert [each.pod for each in later.obstacles] == ["here/first", "here/second"]


def test_a_round_that_places_nothing_decides() -> None:
    verdict = told(seen("time-slicing", pod("first"), pod("second")), refused("first", "second"))
    assert [each.pod for each in verdict.obstacles] == ["here/first", "here/second"]


def test_gpus_that_nothing_shares_are_not_waited_for() -> None:
    verdict = told(seen(None, pod("first"), pod("second")), refused("second"))
    assert [each.pod for each in verdict.obstacles] == ["here/second"]


@pytest.mark.parametrize(
    "other",
    [
        pod("other", spec={"schedulerName": "theirs"}),
        pod("other", placed={"reason": "SchedulingGated"}),
        {**pod("other"), "spec": Pods().spec()},
    ],
    ids=["another scheduler", "gated", "no GPU"],
)
def test_pods_that_bring_no_node_with_shares_are_not_waited_for(other: Content) -> None:
    verdict = told(seen("time-slicing", other, pod("second")), refused("second"))
    assert [each.pod for each in verdict.obstacles] == ["here/second"]


def test_a_round_without_the_pools_whose_overlays_are_not_known_yet_does_not_decide() -> None:
    scene = seen(None, pod("first"))
    # Karpenter says both of one pool: without the overlays it has no instance types of it.
    skipped = (PoolSkipped("gpu", AWAITING, ROUND), PoolSkipped("gpu", "no instance type is left", ROUND))
    assert not told(scene, refused("first"), *skipped).final
    assert told(scene, refused("first", began=ROUND + 10), *skipped).final


def unplugged(plugin: Content | None) -> Scene:
    """A node that was registered long ago, whose GPUs are not, and a pod that waits for one."""
    lacking = {"reason": "ResourceNotRegistered", "message": f'Resource "{GPU}" was requested'}
    registered = {"type": "Registered", "status": "True"}
    waiting = node_claim(registered, {"type": "Initialized", "status": "Unknown", **lacking})
    waiting["status"]["nodeName"] = "node"
    taint = {"key": GPU, "effect": "NoSchedule"}
    node: Content = {
        "metadata": {"name": "node", "labels": {"karpenter.sh/nodepool": "gpu"}},
        "spec": {"taints": [taint]},
    }
    scene = seen(None, pod("model"), claims=(waiting,))
    for kind, content in (("Node", node), ("DaemonSet", plugin)):
        if content:
            content["metadata"]["uid"] = kind
            scene.see(kind, "ADDED", content, INSTALLED)
    scene.changed = INSTALLED
    return scene


def test_a_node_is_given_up_only_if_no_plugin_is_to_run_there() -> None:
    assert not told(unplugged(device_plugin("plugin", "gpu")), []).final, "its pod is made a moment later"
    for plugin in (None, device_plugin("plugin", "another")):
        (obstacle,) = told(unplugged(plugin), []).obstacles
        assert "no device plugin runs there" in obstacle.reason
    intolerant = device_plugin("plugin", "gpu")
    intolerant["spec"]["template"]["spec"]["tolerations"] = []
    assert told(unplugged(intolerant), []).final


def test_nothing_is_given_up_while_the_cluster_still_changes() -> None:
    scene = unplugged(None)
    scene.changed = time.time()
    assert not told(scene, []).final
