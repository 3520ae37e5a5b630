"""What `drydock nodes` shows of a cluster's objects."""

from typing import Any

from rich.console import Console

from drydock.monitor.fleet_view import FleetView, read_fleet, region_of
from drydock.monitor.screen import render_screen, summary
from drydock.outcome.observe import Scene
from drydock.scheduling.prices import Prices

NOW = 1_800_000_000.0
MADE = "2027-01-15T07:59:00Z"  # a minute before
PRICES = Prices({"g6.xlarge": 0.8, "c7i.large": 0.1}, "us-east-1", "2026-01-01", "a list", spot_share=0.5)


def scene_of(**objects: list[dict[str, Any]]) -> Scene:
    scene = Scene()
    for kind, contents in objects.items():
        for content in contents:
            content["metadata"].update(uid=f"{kind}-{content['metadata']['name']}", creationTimestamp=MADE)
            scene.see(kind, "ADDED", {"kind": kind, **content}, NOW)
    return scene


def node(name: str, instance_type: str = "g6.xlarge", *, ready: str = "True", **more: Any) -> dict[str, Any]:
    labels = {
        "node.kubernetes.io/instance-type": instance_type,
        "topology.kubernetes.io/region": "us-east-1",
        **more.pop("labels", {"karpenter.sh/nodepool": "gpu", "karpenter.sh/capacity-type": "spot"}),
    }
    free = {"cpu": "4", "memory": "16Gi", **({"nvidia.com/gpu": "1"} if instance_type.startswith("g") else {})}
    return {
        "metadata": {"name": name, "labels": labels, **more.pop("metadata", {})},
        "spec": more,
        "status": {"allocatable": free, "conditions": [{"type": "Ready", "status": ready}]},
    }


def pod(name: str, where: str = "", owner: str = "", **status: Any) -> dict[str, Any]:
    owners = [{"kind": owner, "name": "owner", "uid": "none", "controller": True}] if owner else []
    requests = {"cpu": "500m", "memory": "1Gi", **({} if owner == "DaemonSet" else {"nvidia.com/gpu": "1"})}
    return {
        "metadata": {"name": name, "namespace": "genai", "ownerReferences": owners},
        "spec": {"nodeName": where, "containers": [{"name": "main", "resources": {"requests": requests}}]},
        "status": status or {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }


def test_a_node_shows_what_it_holds_and_costs() -> None:
    scene = scene_of(Node=[node("one")], Pod=[pod("model", "one"), pod("plugin", "one", "DaemonSet")])
    (shown,) = read_fleet(scene, PRICES, NOW).nodes
    assert (shown.pool, shown.capacity_type, shown.state, shown.age_seconds) == ("gpu", "spot", "ready", 60)
    assert shown.accelerators == {"nvidia.com/gpu": (1, 1)}
    assert (shown.cpu, shown.memory) == ((1.0, 4.0), (2.0, 16.0))
    assert shown.dollars_per_hour == 0.4
    assert shown.pods == ("genai/model",)


def test_pods_that_are_over_hold_nothing() -> None:
    scene = scene_of(Node=[node("one")], Pod=[pod("job", "one", phase="Succeeded")])
    (shown,) = read_fleet(scene, PRICES, NOW).nodes
    assert shown.accelerators == {"nvidia.com/gpu": (0, 1)}
    assert shown.pods == ()


def test_nodes_that_need_a_look_come_first() -> None:
    group = {"eks.amazonaws.com/nodegroup": "system", "eks.amazonaws.com/capacityType": "ON_DEMAND"}
    nodes = [
        node("busy"),
        node("idle"),
        node("going", metadata={"deletionTimestamp": MADE}),
        node("cordoned", unschedulable=True),
        node("broken", ready="Unknown"),
        node("managed", "c7i.large", labels=group),
    ]
    claim = {"metadata": {"name": "coming", "labels": {"karpenter.sh/nodepool": "gpu"}}, "status": {}}
    pods = [pod("model", "busy"), pod("dns", "managed")]
    fleet = read_fleet(scene_of(Node=nodes, NodeClaim=[claim], Pod=pods), PRICES, NOW)
    assert [shown.name for shown in fleet.nodes] == [
        "coming", "broken", "going", "cordoned", "idle", "busy", "managed",
    ]  # fmt: skip
    assert fleet.nodes[0].state == "launching"
    managed = fleet.nodes[-1]
    assert (managed.pool, managed.capacity_type, managed.dollars_per_hour) == ("system", "on-demand", 0.1)


def test_a_price_that_is_not_known_is_named_and_not_counted() -> None:
    scene = scene_of(Node=[node("one"), node("two", "u-99tb1.metal")])
    fleet = read_fleet(scene, PRICES, NOW)
    assert fleet.dollars_per_hour == 0.4
    assert fleet.unpriced == ("u-99tb1.metal",)
    assert "no price known of u-99tb1.metal" in summary(fleet)
    elsewhere = read_fleet(scene, None, NOW)
    assert elsewhere.unpriced == ("g6.xlarge", "u-99tb1.metal")


def test_waiting_pods_stand_by_workload_with_the_reason() -> None:
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU\nis left"}
    waiting = [pod(f"model-{place}", "", "StatefulSet", phase="Pending", conditions=[unplaced]) for place in range(3)]
    fleet = read_fleet(scene_of(Node=[node("one")], Pod=[*waiting, pod("there", "one")]), PRICES, NOW)
    (group,) = fleet.waiting
    assert (group.workload, group.namespace, group.pods, group.seconds) == ("StatefulSet/owner", "genai", 3, 60)
    assert "no GPU is left" in group.reason


def test_the_region_is_that_of_the_nodes() -> None:
    assert region_of(scene_of(Node=[node("one")])) == "us-east-1"
    assert region_of(Scene()) == ""


def drawn(fleet: FleetView, width: int, height: int) -> list[str]:
    console = Console(width=width, height=height, highlight=False)
    with console.capture() as captured:
        console.print(render_screen(fleet, (), width, height))
    return captured.get().rstrip("\n").split("\n")


def test_two_thousand_nodes_fit_a_screen() -> None:
    nodes = [node(f"ip-10-0-{place // 250}-{place % 250}.ec2.internal") for place in range(2000)]
    pods = [pod(f"model-{place}", found["metadata"]["name"]) for place, found in enumerate(nodes)]
    waiting = [pod(f"waits-{place}", "", f"Kind{place}", phase="Pending") for place in range(50)]
    fleet = read_fleet(scene_of(Node=nodes, Pod=[*pods, *waiting]), PRICES, NOW)
    for width, height in ((80, 24), (120, 40), (200, 60)):
        lines = drawn(fleet, width, height)
        assert len(lines) <= height, (width, height)
        assert lines[0].startswith("2000 nodes (2000 ready) · $800.000 an hour")
        assert any("more" in line and int(line.split()[2]) > 1900 for line in lines if line.startswith("... and"))
        assert any(line.startswith("Kind") for line in lines), "what waits is shown"
