"""What can never be ready is told as soon as it is known, with the reason; nobody waits for a time-out."""

from functools import partial

import pytest

from drydock.deploy.account.cluster_state import cluster_contents
from drydock.outcome.obstacles import Obstacle
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.release import Outcome
from drydock.suite.account_snapshot import ClassOfVolumes
from drydock.suite.cluster_description import StorageClass
from tests.rehearsal.conftest import MakeRelease
from tests.rehearsal.small import GPU, Content, Pods, balanced, claim, claimed, ingress, node_class, node_pool, workload

NEVER = 100_000
"""Seconds: a verdict that waited for this would end the test run first."""
CPU = {"karpenter.k8s.aws/instance-category": ["c", "m"], "kubernetes.io/arch": ["amd64"]}


@pytest.fixture
def make_release(make_release: MakeRelease) -> MakeRelease:
    """On a cluster that has nothing but Karpenter."""
    return partial(make_release, target="existing")


def obstacles(outcome: Outcome) -> dict[str, Obstacle]:
    assert outcome.verdict.final
    assert not outcome.ready
    return {each.subject: each for each in outcome.verdict.obstacles}


def of_workload(outcome: Outcome, name: str) -> Obstacle:
    return next(each for subject, each in obstacles(outcome).items() if subject.split("/")[-1].startswith(f"{name}-"))


def test_each_pool_is_named_with_the_requirement_that_excludes_the_pod(make_release: MakeRelease) -> None:
    release = make_release(
        "pools",
        node_class("never"),
        node_pool("never-cpu", "never", {**CPU, "topology.kubernetes.io/zone": ["us-west-2a"]}),
        node_pool("never-gpu", "never", {"karpenter.k8s.aws/instance-family": ["g6"]}, taints=[GPU, "team"]),
        node_pool("never-buys", "never", {"node.kubernetes.io/instance-type": ["x9.none"]}, weight=10),
        node_pool("never-ready", "no-such-class", CPU),
        workload("Deployment", "gpus", Pods({GPU: "16"}, tolerate=[GPU, "team"])),
        workload("Deployment", "intolerant", Pods(selector={"karpenter.k8s.aws/instance-family": "g6"})),
        workload("Deployment", "elsewhere", Pods(selector={"topology.kubernetes.io/zone": "us-west-2b"})),
        workload("Deployment", "unknown", Pods(selector={"no-such-label": "x"})),
    )
    release.install()
    outcome = release.wait(NEVER)

    gpus = of_workload(outcome, "gpus").exclusions
    assert set(gpus) == {"never-cpu", "never-gpu", "never-buys", "never-ready"}
    assert gpus["never-gpu"].startswith("no instance type has enough resources")
    assert '"nvidia.com/gpu":"16"' in gpus["never-gpu"]
    assert "karpenter.sh/nodepool" not in gpus["never-gpu"], "labels of Karpenter's own are noise"
    assert gpus["never-ready"].startswith("not ready: ")
    assert "no instance type meets" in gpus["never-buys"]

    intolerant = of_workload(outcome, "intolerant").exclusions
    assert intolerant["never-gpu"] == (
        "did not tolerate taint (taint=nvidia.com/gpu:NoSchedule); did not tolerate taint (taint=team:NoSchedule)"
    )
    assert "karpenter.k8s.aws/instance-family" in intolerant["never-cpu"]
    assert "topology.kubernetes.io/zone" in of_workload(outcome, "elsewhere").exclusions["never-cpu"]
    assert "no-such-label" in of_workload(outcome, "unknown").exclusions["never-cpu"]


def test_pods_that_admission_refuses_are_told_by_their_workload(make_release: MakeRelease) -> None:
    """The namespace of a release enforces `restricted`, as `deploy` has it."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "none", "namespace": "full"},
        "spec": {"hard": {"pods": "0"}},
    }
    release = make_release(
        "refused",
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "full"}},
        quota,
        workload("Deployment", "root", Pods(security={"privileged": True})),
        _in_namespace("full", workload("StatefulSet", "many", Pods(), serviceName="many")),
    )
    release.install()
    found = obstacles(release.wait(NEVER))
    assert "violates PodSecurity" in _reason(found, "ReplicaSet/refused/root")
    assert "exceeded quota" in _reason(found, "StatefulSet/full/many")


def test_volumes_that_nothing_makes_are_told(make_release: MakeRelease) -> None:
    static = {"metadata": {"name": "static-only"}, "provisioner": "kubernetes.io/no-provisioner"}
    release = make_release(
        "volumes",
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", **static},
        claim("orphan", "static-only"),
        workload("Deployment", "waits", Pods(volumes=[claimed("orphan")], mounts={"orphan": "/data"})),
    )
    release.install()
    found = obstacles(release.wait(NEVER))
    assert "no static volume of StorageClass static-only" in _reason(found, "PersistentVolumeClaim/volumes/orphan")


def test_a_used_up_quota_refuses_as_ec2_does_and_karpenter_goes_on(make_release: MakeRelease) -> None:
    large = {"karpenter.k8s.aws/instance-family": ["x2idn"], "karpenter.sh/capacity-type": ["on-demand", "spot"]}
    release = make_release(
        "quotas",
        node_class("quotas"),
        node_pool("quotas-large", "quotas", large, weight=10),
        node_pool("quotas-cpu", "quotas", CPU),
        workload("Deployment", "anywhere", Pods()),
        workload("Deployment", "pinned", Pods(pool="quotas-large")),
        quotas={"L-7295265B": 8, "L-E3A00192": 0},
    )
    release.install()
    outcome = release.wait(NEVER)
    pinned = of_workload(outcome, "pinned").exclusions["quotas-large"]
    assert "VcpuLimitExceeded" in pinned
    assert "(L-7295265B): 8 vCPUs, 0 in use" in pinned
    assert "MaxSpotInstanceCountExceeded" in pinned
    bought = {claim["metadata"]["labels"]["karpenter.sh/nodepool"] for claim in release.scene.of("NodeClaim")}
    assert {pool for pool in bought if pool.startswith("quotas")} == {"quotas-cpu"}, "where a pod may go as well"


def test_a_zone_without_free_addresses_refuses_as_ec2_does_and_karpenter_goes_on(make_release: MakeRelease) -> None:
    """Two nodes fit into one zone and one into the other; each has room for one pod."""
    zones = ["us-west-2a", "us-west-2b"]
    pool = {"node.kubernetes.io/instance-type": ["c6i.large"], "topology.kubernetes.io/zone": zones}
    release = make_release(
        "addresses",
        node_class("addresses"),
        node_pool("addresses", "addresses", {**pool, "karpenter.sh/capacity-type": ["on-demand"]}),
        workload("Deployment", "spread", Pods({"cpu": "1200m"}, pool="addresses"), replicas=4),
        addresses=dict(zip(zones, (40, 16), strict=True)),
    )
    release.install()
    outcome = release.wait(NEVER)
    left = of_workload(outcome, "spread").exclusions["addresses"]
    assert "InsufficientFreeAddressesInSubnet" in left
    assert "a node takes 16" in left
    bought = [each["metadata"]["labels"] for each in release.scene.of("NodeClaim")]
    mine = [each["topology.kubernetes.io/zone"] for each in bought if each["karpenter.sh/nodepool"] == "addresses"]
    assert sorted(mine) == ["us-west-2a", "us-west-2a", "us-west-2b"]


def test_a_zone_without_an_instance_type_gets_no_node_of_it(make_release: MakeRelease) -> None:
    """The cheapest type that a pool allows is in neither zone, the next in one of them."""
    zones = ["us-west-2a", "us-west-2b"]
    pool = {"node.kubernetes.io/instance-type": ["c6i.large", "m6i.large"], "topology.kubernetes.io/zone": zones}
    release = make_release(
        "offerings",
        node_class("offerings"),
        node_pool("offerings", "offerings", {**pool, "karpenter.sh/capacity-type": ["on-demand"]}),
        workload("Deployment", "anywhere", Pods({"cpu": "1200m"}, pool="offerings")),
        workload(
            "Deployment",
            "pinned",
            Pods({"cpu": "1200m"}, pool="offerings", selector={"topology.kubernetes.io/zone": zones[0]}),
        ),
        addresses=dict.fromkeys(zones, 256),
        offerings={zones[0]: {"c7i": ("large",)}, zones[1]: {"m6i": ("large",)}},
    )
    release.install()
    outcome = release.wait(NEVER)
    assert "no instance type" in of_workload(outcome, "pinned").exclusions["offerings"]
    bought = [each["metadata"]["labels"] for each in release.scene.of("NodeClaim")]
    mine = [each for each in bought if each["karpenter.sh/nodepool"] == "offerings"]
    kept = "node.kubernetes.io/instance-type", "topology.kubernetes.io/zone"
    assert [tuple(each[key] for key in kept) for each in mine] == [("m6i.large", zones[1])]


def test_what_the_target_lacks_is_lacking(make_release: MakeRelease) -> None:
    """No default class, no driver, no controller of load balancers, none of Karpenter's alpha gates."""
    driverless = {"metadata": {"name": "driverless"}, "provisioner": "efs.csi.example.com"}
    release = make_release(
        "lacking",
        {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", **driverless},
        claim("unnamed", None),
        claim("unknown", "gp3"),
        claim("driverless", "driverless"),
        balanced("front", "service.k8s.aws/nlb"),
        ingress("pages", "alb"),
        node_class("fixed"),
        node_pool("fixed", "fixed", CPU, replicas=1),
    )
    release.install()
    found = obstacles(release.wait(NEVER))
    assert "no default StorageClass" in _reason(found, "PersistentVolumeClaim/lacking/unnamed")
    assert "no StorageClass gp3" in _reason(found, "PersistentVolumeClaim/lacking/unknown")
    assert "lacks the driver efs.csi.example.com" in _reason(found, "PersistentVolumeClaim/lacking/driverless")
    assert "nothing that serves loadBalancerClass service.k8s.aws/nlb" in _reason(found, "Service/lacking/front")
    assert "nothing that serves ingressClassName alb" in _reason(found, "Ingress/lacking/pages")
    assert "StaticCapacity is off" in _reason(found, "NodePool/fixed")


def test_pools_that_never_become_ready_are_told_with_the_reason(make_release: MakeRelease) -> None:
    release = make_release(
        "unready",
        node_class("old-image", alias="al2@latest"),
        node_pool("old-image", "old-image", CPU),
        workload("Deployment", "homeless", Pods(pool="old-image")),
    )
    release.install()
    homeless = of_workload(release.wait(NEVER), "homeless")
    assert homeless.exclusions["old-image"].startswith("not ready: ")
    assert "AMI" in homeless.exclusions["old-image"]


def test_a_node_whose_gpus_no_plugin_registers_is_told(make_release: MakeRelease) -> None:
    release = make_release(
        "unplugged",
        node_class("unplugged"),
        node_pool("unplugged", "unplugged", {"karpenter.k8s.aws/instance-family": ["g6"]}, taints=[GPU]),
        workload("Deployment", "model", Pods({GPU: "1"}, pool="unplugged", tolerate=[GPU])),
    )
    release.install()
    model = of_workload(release.wait(NEVER), "model")
    assert "no device plugin runs there to register nvidia.com/gpu" in model.reason
    assert not model.unschedulable


def test_a_cluster_is_read_without_the_content_of_its_secrets(
    make_release: MakeRelease, shared_cluster: RehearsalCluster
) -> None:
    """What `drydock account --kubeconfig` reads; here, where a cluster is up."""
    release = make_release(
        "read",
        StorageClass("fast", "ebs.csi.aws.com", default=True).manifest(),
        node_class("read"),
        node_pool("read-cpu", "read", CPU),
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}, "stringData": {"key": "s3cr3t"}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "other"}, "stringData": {"key": "s3cr3t"}},
    )
    release.install()
    wanted = {"token": ("key",), "absent": ("key",)}
    found = cluster_contents(shared_cluster.kubeconfig, "read", wanted)
    assert found.kubernetes == "1.36"
    fast = ClassOfVolumes("ebs.csi.aws.com", default=True, binding="WaitForFirstConsumer")
    assert found.storage_classes["fast"] == fast
    assert "read-cpu" in found.node_pools
    assert found.secrets == {"token": ("key",)}
    assert "s3cr3t" not in str(found)


def _in_namespace(namespace: str, content: Content) -> Content:
    return {**content, "metadata": {**content["metadata"], "namespace": namespace}}


def _reason(found: dict[str, Obstacle], subject: str) -> str:
    return next(each.reason for name, each in found.items() if name.startswith(subject))
