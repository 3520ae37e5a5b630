"""A release of everything that the rehearsal stands in for, on one cluster; each test looks at one part of it."""

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from drydock.clusters.kube import any_path
from drydock.clusters.objects import full_name
from drydock.monitor.cluster_watch import ClusterWatch
from drydock.monitor.fleet_view import read_fleet
from drydock.outcome.results import Circumstances, build_report
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Outcome, Release
from drydock.report.model import NodeReport, RehearsalReport
from drydock.scheduling.prices import CapacityType
from drydock.suite.environments import CapacityReservation
from tests.rehearsal.small import (
    GPU,
    Content,
    Pods,
    balanced,
    claim,
    claimed,
    device_plugin,
    ingress,
    node_class,
    node_pool,
    small_release,
    workload,
)

ZONES = ("us-west-2a", "us-west-2b")
RESERVATIONS = (
    CapacityReservation("cr-0000000000000000a", "c6i.2xlarge", "us-west-2b", 1, "default", {"for": "test"}),
    CapacityReservation("cr-0000000000000000b", "p5.48xlarge", "us-west-2a", 1, "capacity-block", {"for": "training"}),
)
CHEAP = {"karpenter.k8s.aws/instance-category": ["c"], "kubernetes.io/arch": ["amd64"]}
OFFERING = re.compile(
    r"^karpenter_cloudprovider_instance_type_offering_price_estimate"
    r'\{capacity_type="(?P<capacity>[^"]*)",instance_type="(?P<type>[^"]*)",zone="(?P<zone>[^"]*)"\} (?P<price>\S+)$',
    re.MULTILINE,
)
DISK = [{"deviceName": "/dev/xvda", "ebs": {"volumeSize": "200Gi", "volumeType": "gp3"}}]


def objects() -> list[Content]:
    static = {"accessModes": ["ReadWriteMany"], "capacity": {"storage": "1Gi"}, "storageClassName": ""}
    bucket = {**static, "csi": {"driver": "s3.csi.aws.com", "volumeHandle": "bucket"}}
    data = {"metadata": {"name": "data"}, "spec": claim("data", None)["spec"]}
    return [
        node_class("plain"),
        node_class("gpu", blockDeviceMappings=DISK),
        node_class("odcr", capacityReservationSelectorTerms=[{"tags": {"for": "test"}}]),
        node_class(
            "block", alias="bottlerocket@latest", capacityReservationSelectorTerms=[{"tags": {"for": "training"}}]
        ),
        node_pool("cpu", "plain", {**CHEAP, "topology.kubernetes.io/zone": ZONES}),
        node_pool(
            "gpu",
            "gpu",
            {"karpenter.k8s.aws/instance-family": ["g5", "g6"], "karpenter.sh/capacity-type": ["spot", "on-demand"]},
            taints=[GPU],
        ),
        node_pool("odcr", "odcr", {"karpenter.sh/capacity-type": ["reserved", "on-demand"], **CHEAP}, taints=["odcr"]),
        node_pool("block", "block", {"karpenter.sh/capacity-type": ["reserved"]}, taints=[GPU]),
        node_pool("always", "plain", CHEAP, taints=["always"], replicas=1),
        device_plugin("plugin", "gpu"),
        workload("Deployment", "model", Pods({GPU: "1", "ephemeral-storage": "100Gi"}, pool="gpu", tolerate=[GPU])),
        workload("Deployment", "training", Pods({GPU: "8"}, pool="block", tolerate=[GPU])),
        workload("Deployment", "steady", Pods({"cpu": "5"}, pool="odcr", tolerate=["odcr"]), replicas=2),
        workload("Job", "once", Pods(pool="cpu", restart="Never")),
        workload(
            "StatefulSet", "store", Pods({"cpu": "1"}, pool="cpu"), serviceName="store", volumeClaimTemplates=[data]
        ),
        claim("cache", "efs", "ReadWriteMany"),
        claim("weights", "", "ReadWriteMany", volumeName="bucket"),
        balanced("front", "service.k8s.aws/nlb"),
        ingress("pages", "alb"),
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "bucket"}, "spec": bucket},
        workload(
            "Deployment",
            "reader",
            Pods(
                pool="cpu",
                volumes=[claimed("cache"), claimed("weights")],
                mounts={"cache": "/cache", "weights": "/weights"},
            ),
        ),
        nameless("KubernetesDefaultServiceCIDRError", "The default ServiceCIDR can not be created"),
        nameless("OutOfAddresses", "No address is left"),
    ]


def nameless(reason: str, message: str) -> Content:
    """An event about a kind, as the API server itself gives while its default objects are missing."""
    about = {"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR"}
    metadata = {"name": reason.lower(), "namespace": "default"}
    said = {"type": "Warning", "reason": reason, "message": message}
    return {"apiVersion": "v1", "kind": "Event", "metadata": metadata, "involvedObject": about, **said}


@dataclass(frozen=True)
class Rehearsed:
    """What the tests look at."""

    cluster: RehearsalCluster
    release: Release
    outcome: Outcome
    report: RehearsalReport

    def objects(self, kind: str) -> Mapping[str, Any]:
        return {full_name(each): each for each in self.release.scene.of(kind)}

    def node_of(self, workload_name: str) -> NodeReport:
        names = {each.name: each for each in self.report.nodes}
        return names[next(pod.node for pod in self.report.pods if pod.workload == workload_name)]


@pytest.fixture(scope="module")
def rehearsed(
    shared_cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rehearsed]:
    folder = tmp_path_factory.mktemp("small") / "ready"
    release = small_release(shared_cluster, rehearsal_tools["helm4"], folder, objects(), RESERVATIONS, {"efs": True})
    release.install()
    outcome = release.wait()
    assert outcome.ready, outcome.verdict
    circumstances = Circumstances(
        environment="ready",
        started=release.install_began or 0.0,
        install_began=release.install_began,
        seconds=outcome.seconds,
        versions={"kubernetes": shared_cluster.kubernetes_version, "karpenter": "", "helm": release.helm_version()},
        steps=(),
        prices=shared_cluster.prices(release.account.region),
        assumptions=release.prerequisites.told(),
        limits=(),
    )
    yield Rehearsed(shared_cluster, release, outcome, build_report(release.scene, outcome.verdict, circumstances))
    release.uninstall()
    release.wait_gone()


def test_every_workload_is_ready(rehearsed: Rehearsed) -> None:
    assert rehearsed.outcome.ready
    assert {pod.phase for pod in rehearsed.report.pods} == {"Ready"}
    assert {"Deployment/model", "StatefulSet/store", "DaemonSet/plugin", "Job/once"} <= {
        pod.workload for pod in rehearsed.report.pods
    }


def test_what_the_api_server_repairs_is_no_warning(rehearsed: Rehearsed) -> None:
    assert [(each.object, each.reason, each.message) for each in rehearsed.report.warnings] == [
        ("ServiceCIDR", "OutOfAddresses", "No address is left")
    ]


def test_a_volume_is_made_in_the_zone_of_its_pod(rehearsed: Rehearsed) -> None:
    api = rehearsed.cluster.await_api()
    claims = rehearsed.objects("PersistentVolumeClaim")
    assert {each["status"]["phase"] for each in claims.values()} == {"Bound"}
    volume = api.get(f"/api/v1/persistentvolumes/{claims['ready/data-store-0']['spec']['volumeName']}")
    terms = volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == [rehearsed.node_of("StatefulSet/store").zone]
    shared = api.get(f"/api/v1/persistentvolumes/{claims['ready/cache']['spec']['volumeName']}")
    assert "nodeAffinity" not in shared["spec"], "a shared volume is reached from everywhere"
    assert claims["ready/weights"]["spec"]["volumeName"] == "bucket"


def test_storage_classes_of_the_target_are_told(rehearsed: Rehearsed) -> None:
    assert "StorageClass efs exists, as on eks" in rehearsed.report.assumptions


def test_what_the_target_serves_gets_an_address(rehearsed: Rehearsed) -> None:
    served = [*rehearsed.objects("Ingress").values(), *rehearsed.objects("Service").values()]
    asked = [each for each in served if each["kind"] == "Ingress" or each["spec"].get("type") == "LoadBalancer"]
    assert len(asked) == 2
    assert all(each["status"]["loadBalancer"]["ingress"][0]["hostname"] for each in asked)


def test_gpus_appear_when_the_device_plugin_runs(rehearsed: Rehearsed) -> None:
    pods = {pod.workload: pod for pod in rehearsed.report.pods}
    plugin, model = pods["DaemonSet/plugin"], pods["Deployment/model"]
    assert plugin.ready_seconds is not None
    assert model.scheduled_seconds is not None
    assert plugin.ready_seconds <= model.scheduled_seconds
    assert rehearsed.node_of("Deployment/model").accelerators == {GPU: (1, 1)}
    assert rehearsed.node_of("Deployment/training").accelerators[GPU] == (8, 8), "Bottlerocket brings its own plugin"


def test_cold_starts_are_told_of_workloads_with_accelerators(rehearsed: Rehearsed) -> None:
    with_accelerators = {pod.workload for pod in rehearsed.report.pods if pod.accelerators}
    told = {each.workload: each.seconds for each in rehearsed.report.cold_starts}
    assert set(told) == with_accelerators
    assert min(told.values()) >= 180


def test_a_node_has_the_disk_that_its_node_class_gives_it(rehearsed: Rehearsed) -> None:
    node = rehearsed.objects("Node")[rehearsed.node_of("Deployment/model").name]
    assert node["status"]["capacity"]["ephemeral-storage"] == "200Gi"


def test_reserved_capacity_is_used_and_no_more_than_there_is(rehearsed: Rehearsed) -> None:
    training = rehearsed.node_of("Deployment/training")
    assert (training.instance_type, training.zone, training.capacity_type) == ("p5.48xlarge", ZONES[0], "reserved")
    steady = [each for each in rehearsed.report.nodes if each.pool == "odcr"]
    assert sorted(each.capacity_type for each in steady) == ["on-demand", "reserved"]
    reserved = next(each for each in steady if each.capacity_type == "reserved")
    assert (reserved.instance_type, reserved.zone) == ("c6i.2xlarge", ZONES[1])
    labels = [each["metadata"]["labels"] for each in rehearsed.objects("NodeClaim").values()]
    ids = {each["karpenter.k8s.aws/capacity-reservation-id"] for each in labels if "reserved" in each.values()}
    assert ids == {each.id for each in RESERVATIONS}


def test_reserved_nodes_stay_reserved_when_karpenter_asks_ec2_again(rehearsed: Rehearsed) -> None:
    api = rehearsed.cluster.await_api()
    node = rehearsed.node_of("Deployment/training").name
    over = {"karpenter.sh/capacity-type": "on-demand", "karpenter.k8s.aws/capacity-reservation-id": None}
    api.merge(f"/api/v1/nodes/{node}", {"metadata": {"labels": over}})
    labels = api.get(f"/api/v1/nodes/{node}")["metadata"]["labels"]
    assert labels["karpenter.sh/capacity-type"] == "reserved"
    assert labels["karpenter.k8s.aws/capacity-reservation-id"] == RESERVATIONS[1].id


def test_a_static_pool_has_its_node_before_any_pod_asks(rehearsed: Rehearsed) -> None:
    assert [each.pods for each in rehearsed.report.nodes if each.pool == "always"] == [()]


def test_the_view_of_nodes_agrees_with_the_report_and_follows_the_cluster(rehearsed: Rehearsed) -> None:
    watch = ClusterWatch(any_path(rehearsed.cluster.kubeconfig))
    prices = rehearsed.cluster.prices(rehearsed.release.account.region)
    fleet = read_fleet(watch.scene, prices, time.time())
    shown = {node.name: (node.instance_type, node.accelerators, node.dollars_per_hour) for node in fleet.nodes}
    for node in rehearsed.report.nodes:
        assert shown[node.name] == (node.instance_type, node.accelerators, node.dollars_per_hour)
    watch.start()
    name = rehearsed.node_of("Deployment/model").name
    rehearsed.cluster.await_api().merge(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
    await_state(watch, name, "cordoned")
    rehearsed.cluster.await_api().merge(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})
    await_state(watch, name, "ready")


@retry(retry=retry_if_exception_type(AssertionError), stop=stop_after_delay(60), wait=wait_fixed(0.2), reraise=True)
def await_state(watch: ClusterWatch, name: str, state: str) -> None:
    watch.refresh()
    (shown,) = (node.state for node in read_fleet(watch.scene, None, time.time()).nodes if node.name == name)
    assert shown == state


@retry(retry=retry_if_exception_type(KeyError), stop=stop_after_delay(120), wait=wait_fixed(1), reraise=True)
def offered(cluster: RehearsalCluster, wanted: Iterable[tuple[str, str, str]]) -> list[float]:
    """Dollars an hour of offerings (instance type, zone, capacity type), as Karpenter exports them once a minute."""
    matches = OFFERING.finditer(cluster.karpenter_metrics())
    found = {(match["type"], match["zone"], match["capacity"]): float(match["price"]) for match in matches}
    return [found[each] for each in wanted]


def test_prices_are_those_that_karpenter_decides_by(rehearsed: Rehearsed) -> None:
    prices = rehearsed.cluster.prices(rehearsed.release.account.region)
    told: dict[str, CapacityType] = {"on-demand": "on-demand", "spot": "spot"}
    for node in rehearsed.report.nodes:
        hourly = prices.hourly(node.instance_type, told.get(node.capacity_type, "on-demand"))
        assert node.dollars_per_hour == pytest.approx(hourly)
        wanted = [(node.instance_type, node.zone, capacity) for capacity in told.values()]
        for capacity, known in zip(told.values(), offered(rehearsed.cluster, wanted), strict=True):
            assert known == pytest.approx(prices.hourly(node.instance_type, capacity), rel=1e-4)
    assert rehearsed.report.dollars_per_hour == pytest.approx(sum(n.dollars_per_hour for n in rehearsed.report.nodes))


def test_the_cheapest_offering_is_bought(rehearsed: Rehearsed) -> None:
    model = rehearsed.node_of("Deployment/model")
    assert (model.instance_type, model.capacity_type) == ("g6.xlarge", "spot")
    on_demand = rehearsed.cluster.prices(rehearsed.release.account.region).on_demand
    assert model.dollars_per_hour < min(price for kind, price in on_demand.items() if kind.startswith("g5.")) / 2
