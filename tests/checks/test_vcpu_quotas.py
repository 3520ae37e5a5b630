"""What an environment buys against EC2's quotas of vCPUs."""

from collections.abc import Mapping
from typing import Any

import pytest

from drydock.checks.findings import Finding, Severity
from drydock.suite.ec2_quotas import quota_of, quotas_by_code
from tests.checks.helpers import catalogue, findings
from tests.scheduling.builders import deployment, pod_spec, pool

GPU = "nvidia.com/gpu"
FAMILY = "karpenter.k8s.aws/instance-family"
TYPE = "karpenter.sh/capacity-type"
G6 = pool(requirements=[(FAMILY, "In", ["g6"]), (TYPE, "In", ["on-demand"])])
BOTH = pool(requirements=[(FAMILY, "In", ["g6"]), (TYPE, "In", ["on-demand", "spot"])])
MODELS = deployment(pod_spec({GPU: 1}), replicas=3)


def found(text: str, quotas: Mapping[str, int] | None) -> list[Finding]:
    stated = {"onDemand": {"G": quotas["G"]}, "spot": {"G": quotas.get("spot", 0)}} if quotas else {}
    return findings(text, "vcpu-quota", environment={"quotas": quotas_by_code(stated)})


def test_pods_within_the_quota_are_no_finding_and_beyond_it_an_error() -> None:
    assert not found(G6 + MODELS, {"G": 12})
    (beyond,) = found(G6 + MODELS, {"G": 11})
    assert beyond.severity is Severity.ERROR
    assert "at least 12 vCPUs" in beyond.reason
    assert "Running On-Demand G and VT instances (L-DB2E81BA, 11 vCPUs)" in beyond.reason
    assert "account.quotas.onDemand.G in test.yaml" in beyond.remedy


def test_quotas_of_every_capacity_type_that_a_pod_can_have_count() -> None:
    assert not found(BOTH + MODELS, {"G": 8, "spot": 4})
    assert found(BOTH + MODELS, {"G": 7, "spot": 4})


def test_quotas_that_are_not_stated_are_one_note_if_a_new_account_has_too_little() -> None:
    (note,) = found(G6 + MODELS + deployment(pod_spec({GPU: 1}), name="other"), None)
    assert note.severity is Severity.NOTE
    assert "Running On-Demand G and VT instances (L-DB2E81BA) 0, of at least 16 that are needed" in note.reason
    cpu = pool(requirements=[(FAMILY, "In", ["m7i"]), (TYPE, "In", ["on-demand"])])
    assert not found(cpu + deployment(pod_spec({"cpu": "1"})), None), "a new account has 5 vCPUs"


def test_limits_beyond_the_quota_are_a_note() -> None:
    limited = pool(requirements=[(FAMILY, "In", ["g6"]), (TYPE, "In", ["on-demand"])], limits={"cpu": 64})
    (note,) = found(limited + deployment(pod_spec({GPU: 1})), {"G": 32})
    assert note.severity is Severity.NOTE
    assert "allow 64 vCPUs" in note.reason
    assert not found(limited + deployment(pod_spec({GPU: 1})), {"G": 64})


@pytest.mark.parametrize(
    ("instance_type", "code"),
    [
        ("m7i.large", "L-1216C47A"),
        ("gr6.4xlarge", "L-DB2E81BA"),
        ("p5.48xlarge", "L-417A185B"),
        ("u-3tb1.56xlarge", "L-43DA4232"),
    ],
)
def test_a_type_counts_against_the_quota_of_its_family(instance_type: str, code: str) -> None:
    quota = quota_of(instance_type, "on-demand")
    assert quota is not None
    assert quota.code == code
    assert quota_of(instance_type, "reserved") is None


def test_every_type_of_a_region_has_a_quota() -> None:
    without: list[Any] = [name for name in catalogue().types if quota_of(name, "on-demand") is None]
    assert not without
