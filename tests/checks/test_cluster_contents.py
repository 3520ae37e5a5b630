"""What the target lacks, and facts of AWS: each is found with its remedy, and what the target has is not."""

import datetime
import re
from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from drydock.checks.findings import Severity
from drydock.suite.aws_facts import ami_release, kubernetes_support, supported_versions
from tests.checks.helpers import findings

EKS: Mapping[str, Any] = {"target": "eks"}
AUTO_MODE: Mapping[str, Any] = {"target": "eks-auto-mode"}
BARE: Mapping[str, Any] = {"target": "existing"}


def claim(**spec: Any) -> dict[str, Any]:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": body}


def storage_class(name: str, provisioner: str) -> dict[str, Any]:
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass"}
    return {**kind, "metadata": {"name": name}, "provisioner": provisioner}


def service(**spec: Any) -> dict[str, Any]:
    body = {"type": "LoadBalancer", "ports": [{"port": 80}], "loadBalancerSourceRanges": ["10.0.0.0/8"], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "front"}, "spec": body}


def ingress(name: str) -> dict[str, Any]:
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress"}
    return {**kind, "metadata": {"name": "pages"}, "spec": {"ingressClassName": name}}


def node_pool(group: str = "eks.amazonaws.com", *, replicas: int | None = None, key: str = "", **spec: Any) -> Any:
    requirements = [{"key": key or "eks.amazonaws.com/instance-family", "operator": "In", "values": ["g6"]}]
    reference = {"group": group, "kind": "NodeClass", "name": "gpu"}
    template = {"nodeClassRef": reference, "requirements": requirements, "expireAfter": "336h", **spec}
    fixed = {} if replicas is None else {"replicas": replicas}
    kind = {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": "gpu"}}
    return {**kind, "spec": {"template": {"spec": template}, **fixed}}


def node_class(name: str = "gpu", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "eks.amazonaws.com/v1", "kind": "NodeClass", "metadata": {"name": name}, "spec": spec}


def ami(alias: str) -> dict[str, Any]:
    kind = {"apiVersion": "karpenter.k8s.aws/v1", "kind": "EC2NodeClass", "metadata": {"name": "cpu"}}
    return {**kind, "spec": {"amiSelectorTerms": [{"alias": alias}]}}


OVERLAY = {"apiVersion": "karpenter.sh/v1alpha1", "kind": "NodeOverlay", "metadata": {"name": "shared"}, "spec": {}}
DRIVERLESS = storage_class("own", "driver.example.com")
LACKING = [
    ("target-storage", [claim()], BARE, "names no StorageClass, and the cluster has no default one"),
    ("target-storage", [claim(storageClassName="gp3")], EKS, "none of that name: it stays Pending"),
    ("target-storage", [claim(storageClassName="gp2")], AUTO_MODE, "made by kubernetes.io/aws-ebs, a driver"),
    ("target-storage", [claim(storageClassName="own"), DRIVERLESS], EKS, "made by driver.example.com, a driver that"),
    ("target-load-balancer", [service(loadBalancerClass="service.k8s.aws/nlb")], AUTO_MODE, "it gets no address"),
    ("target-load-balancer", [service()], BARE, "has no loadBalancerClass, which nothing on the cluster serves"),
    ("target-load-balancer", [ingress("nginx")], EKS, "ingressClassName nginx, which nothing on target eks serves"),
    ("target-karpenter-gate", [node_pool(replicas=2)], BARE, "feature gate StaticCapacity is off"),
    ("target-karpenter-gate", [OVERLAY], AUTO_MODE, "feature gate NodeOverlay is off"),
    ("ami-release", [ami("al2023@v20260715")], EKS, "no release v20260715 .* near it are v20260714, v20260709"),
    ("ami-release", [ami("al2023@v20260505")], EKS, r"images for Kubernetes 1\.30 to 1\.35"),
    ("auto-mode", [node_pool(expireAfter="720h")], AUTO_MODE, r"21 days \(504h\) at most in Auto Mode"),
    ("auto-mode", [node_pool(expireAfter="Never")], AUTO_MODE, "expireAfter is Never"),
    ("auto-mode", [node_pool(expireAfter="481h")], AUTO_MODE, "terminationGracePeriod 24h"),
    ("auto-mode", [node_pool("karpenter.k8s.aws")], AUTO_MODE, "no node class of Karpenter's AWS provider"),
    ("auto-mode", [node_pool(key="karpenter.k8s.aws/instance-family")], AUTO_MODE, "have no label karpenter.k8s.aws/"),
    ("auto-mode", [node_class("default")], AUTO_MODE, "NodeClass of the name default itself"),
    ("auto-mode", [node_class(tags={"karpenter.sh/nodepool": "x"})], AUTO_MODE, "gives the tag karpenter.sh/nodepool"),
    (
        "auto-mode",
        [node_class(capacityReservationSelectorTerms=[{"instanceMatchCriteria": "open"}])],
        AUTO_MODE,
        "picks reservations by id",
    ),
]
HAD = [
    ([claim(), claim(storageClassName="gp2")], EKS),
    ([claim(), claim(storageClassName="ebs-auto")], AUTO_MODE),
    ([claim(storageClassName="efs")], {"target": "existing", "cluster": {"efs": True}}),
    ([claim(storageClassName=""), claim(storageClassName="any", volumeName="mine")], BARE),
    ([claim(storageClassName="own"), storage_class("own", "kubernetes.io/no-provisioner")], BARE),
    ([claim(storageClassName="own"), DRIVERLESS], {**BARE, "cluster": {"drivers": ["driver.example.com"]}}),
    ([service(), service(loadBalancerClass="service.k8s.aws/nlb"), ingress("alb")], EKS),
    ([service(), service(loadBalancerClass="eks.amazonaws.com/nlb"), ingress("alb")], AUTO_MODE),
    ([node_pool(replicas=2), OVERLAY], EKS),
    ([node_pool(replicas=2), node_class(tags={"team": "ml"})], AUTO_MODE),
    ([node_pool(expireAfter="503h", terminationGracePeriod="1h")], AUTO_MODE),
    ([ami("al2023@v20260714"), ami("al2023@latest"), ami("bottlerocket@1.54.0")], EKS),
    ([ami("al2023@v20260505")], {"target": "eks", "cluster": {"kubernetes": "1.35"}}),
]
OURS = {"target-storage", "target-load-balancer", "target-karpenter-gate", "ami-release", "auto-mode"}


@pytest.mark.parametrize(("check", "objects", "environment", "reason"), LACKING)
def test_what_the_target_lacks_is_found(check: str, objects: Any, environment: Mapping[str, Any], reason: str) -> None:
    found = findings(yaml.safe_dump_all(objects), environment=environment)
    ours = [each for each in found if each.check in OURS]
    (finding,) = ours
    assert finding.check == check
    assert finding.severity is Severity.ERROR
    assert finding.reason.endswith(".")
    assert finding.remedy.endswith(".")
    assert re.search(reason, finding.reason), finding.reason


@pytest.mark.parametrize(("objects", "environment"), HAD)
def test_what_the_target_has_is_no_finding(objects: Any, environment: Mapping[str, Any]) -> None:
    found = findings(yaml.safe_dump_all(objects), environment=environment)
    assert [each for each in found if each.check in OURS] == []


def test_a_release_that_the_list_does_not_reach_is_a_note() -> None:
    (newer,) = findings(yaml.safe_dump(ami("al2023@v20991231")), "ami-release", environment=EKS)
    assert newer.severity is Severity.NOTE
    assert ami_release("v20200101", "1.36").note.startswith("release v20200101 is older than the list")
    assert ami_release("v20260128", "1.35").missing == "release v20260128 was withdrawn"


def test_a_version_that_eks_does_not_know_is_a_note() -> None:
    (found,) = findings(
        yaml.safe_dump(claim()), "kubernetes-support", environment={"target": "eks", "cluster": {"kubernetes": "1.99"}}
    )
    assert found.severity is Severity.NOTE
    assert found.path == "cluster.kubernetes"


@pytest.mark.parametrize(
    ("day", "said", "dollars"),
    [
        ("2026-09-01", "", 0.10),
        ("2026-11-30", "standard support for Kubernetes 1.34 on EKS ends on 2026-12-02", 0.10),
        ("2026-12-02", "standard support for Kubernetes 1.34 on EKS has ended on 2026-12-02", 0.60),
        ("2027-12-02", "EKS has ended all support for Kubernetes 1.34 on 2027-12-02", 0.60),
    ],
)
def test_support_ends_on_its_day_and_costs_more_from_then_on(day: str, said: str, dollars: float) -> None:
    support, today = kubernetes_support("1.34"), datetime.date.fromisoformat(day)
    assert support
    assert support.warning(today) == said
    assert support.dollars_per_hour(today) == dollars
    assert ("1.34" in supported_versions(today)) is (day < "2027-12-02")
