"""What an environment buys against EC2's quotas of vCPUs."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from drydock.checks.findings import Finding, Severity
from drydock.suite.account_snapshot import AccountSnapshot, QuotaUse
from drydock.suite.ec2_quotas import quota_of, quotas_by_code
from drydock.suite.environments import CapacityReservation
from tests.checks.helpers import catalogue, findings
from tests.rehearsal.small import node_class, to_yaml
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


def standard(text: str, vcpus: int) -> list[Finding]:
    return findings(text, "vcpu-quota", environment={"quotas": quotas_by_code({"onDemand": {"Standard": vcpus}})})


def test_pods_within_the_quota_are_no_finding_and_beyond_it_an_error() -> None:
    assert not found(G6 + MODELS, {"G": 12})
    (beyond,) = found(G6 + MODELS, {"G": 11})
    assert beyond.severity is Severity.ERROR
    assert "at least 12 vCPUs" in beyond.reason
    assert "Running On-Demand G and VT instances (L-DB2E81BA, 11 vCPUs)" in beyond.reason
    assert "account.quotas.onDemand.G in test.yaml" in beyond.remedy


def test_quotas_that_were_read_are_to_be_read_again() -> None:
    snapshot = AccountSnapshot("2999-01-01T00:00:00+00:00", "1", "us-west-2", quotas={"L-DB2E81BA": QuotaUse(64, 56)})
    (beyond,) = findings(
        G6 + MODELS, "vcpu-quota", environment={"snapshot": snapshot, "quotas": snapshot.free_quotas()}
    )
    assert beyond.remedy == "Have Service Quotas raise one by 4 or more, then run `drydock account test` again."


def test_quotas_of_every_capacity_type_that_a_pod_can_have_count() -> None:
    assert not found(BOTH + MODELS, {"G": 8, "spot": 4})
    assert found(BOTH + MODELS, {"G": 7, "spot": 4})


def test_quotas_that_are_not_stated_are_one_note_if_a_new_account_has_too_little() -> None:
    (note,) = found(G6 + MODELS + deployment(pod_spec({GPU: 1}), name="other"), None)
    assert note.severity is Severity.NOTE
    assert "Running On-Demand G and VT instances (L-DB2E81BA) 0, of at least 16 that are needed" in note.reason
    cpu = pool(requirements=[(FAMILY, "In", ["m7i"]), (TYPE, "In", ["on-demand"])])
    assert not found(cpu + deployment(pod_spec({"cpu": "1"})), None), "a new account has 5 vCPUs"


def test_workloads_that_may_share_nodes_count_for_what_they_fill_together() -> None:
    cpu = pool(requirements=[("node.kubernetes.io/instance-type", "In", ["m7i.4xlarge"]), (TYPE, "In", ["on-demand"])])
    services = "".join(deployment(pod_spec({"cpu": "7"}), name=name, replicas=2) for name in ("a", "b", "c"))
    (beyond,) = standard(cpu + services, 32)
    assert "Its pods and those of 2 other workloads need nodes with at least 43 vCPUs" in beyond.reason
    assert not standard(cpu + services, 43)


def test_workloads_that_fit_on_one_node_with_several_gpus_are_not_counted_twice() -> None:
    p5 = pool(requirements=[("node.kubernetes.io/instance-type", "In", ["p5.48xlarge"]), (TYPE, "In", ["on-demand"])])
    halves = "".join(deployment(pod_spec({GPU: 4}), name=name) for name in ("a", "b"))
    stated = {"quotas": quotas_by_code({"onDemand": {"P": 192}})}
    assert not findings(p5 + halves, "vcpu-quota", environment=stated)
    assert findings(p5 + halves + deployment(pod_spec({GPU: 1}), name="c"), "vcpu-quota", environment=stated)


def test_a_reservation_covers_as_many_pods_as_it_has_room_for() -> None:
    held = CapacityReservation("cr-0a1b2c3d4e5f60718", "g6.xlarge", "us-west-2a", 2, "default", {})
    reserved = pool(requirements=[(FAMILY, "In", ["g6"]), (TYPE, "In", ["reserved", "on-demand"])], node_class="held")
    selecting = to_yaml([node_class("held", capacityReservationSelectorTerms=[{"id": held.id}])]) + "\n---\n"
    stated = {"capacity_reservations": (held,), "quotas": quotas_by_code({"onDemand": {"G": 11}})}
    (beyond,) = findings(selecting + reserved + MODELS, "vcpu-quota", environment=stated)
    assert "at least 4 vCPUs" in beyond.reason, "three pods, two of them in the reservation"
    assert "3 vCPUs beside 8 of reservations" in beyond.reason, "it counts as a whole, as in a snapshot"
    two = deployment(pod_spec({GPU: 1}), replicas=2)
    assert not findings(selecting + reserved + two, "vcpu-quota", environment=stated)


def test_a_capacity_block_counts_against_no_quota() -> None:
    block = CapacityReservation("cr-0a1b2c3d4e5f60718", "g6.xlarge", "us-west-2a", 2, "capacity-block", {})
    on_demand = pool(requirements=[(FAMILY, "In", ["g6"]), (TYPE, "In", ["on-demand"])])
    stated = {"capacity_reservations": (block,), "quotas": quotas_by_code({"onDemand": {"G": 12}})}
    assert not findings(on_demand + MODELS, "vcpu-quota", environment=stated)
    default = {**stated, "capacity_reservations": (replace(block, kind="default"),)}
    assert findings(on_demand + MODELS, "vcpu-quota", environment=default)


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


def test_a_reservation_is_room_for_one_workload_or_the_other_and_not_for_both() -> None:
    held = CapacityReservation("cr-0a1b2c3d4e5f60718", "g6.xlarge", "us-west-2a", 2, "default", {})
    reserved = pool(requirements=[(FAMILY, "In", ["g6"]), (TYPE, "In", ["reserved", "on-demand"])], node_class="held")
    selecting = to_yaml([node_class("held", capacityReservationSelectorTerms=[{"id": held.id}])]) + "\n---\n"
    both = "".join(deployment(pod_spec({GPU: 1}), name=name, replicas=2) for name in ("a", "b"))
    stated = {"capacity_reservations": (held,), "quotas": quotas_by_code({"onDemand": {"G": 15}})}
    (beyond,) = findings(selecting + reserved + both, "vcpu-quota", environment=stated)
    assert "at least 8 vCPUs" in beyond.reason, "four pods, two of them in the reservation"
    enough = {**stated, "quotas": quotas_by_code({"onDemand": {"G": 16}})}
    assert not findings(selecting + reserved + both, "vcpu-quota", environment=enough)


def test_workloads_of_one_quota_and_of_several_are_held_against_all_of_them() -> None:
    on_demand = pool(requirements=[(FAMILY, "In", ["g6"]), (TYPE, "In", ["on-demand"])], labels={"for": "a"})
    either = pool("either", requirements=[(FAMILY, "In", ["g6"])], labels={"for": "b"})
    models = "".join(
        deployment(pod_spec({GPU: 1}, nodeSelector={"for": name}), name=name, replicas=3) for name in ("a", "b")
    )
    (beyond,) = found(on_demand + either + models, {"G": 16, "spot": 4})
    assert "at least 24 vCPUs" in beyond.reason
    assert not found(on_demand + either + models, {"G": 16, "spot": 8})
    (alone,) = found(on_demand + either + models, {"G": 8, "spot": 12})
    assert "at least 12 vCPUs" in alone.reason, "one cause, one finding"


def test_a_fixed_number_of_nodes_counts_whatever_pods_ask_for() -> None:
    fixed = pool(
        "fixed",
        requirements=[(FAMILY, "In", ["g6"]), (TYPE, "In", ["on-demand"])],
        taints=["fixed=yes:NoSchedule"],
        spec={"replicas": 2},
    )
    (beyond,) = found(fixed, {"G": 7})
    assert (beyond.object, beyond.severity) == ("NodePool/fixed", Severity.ERROR)
    assert "Its fixed number of nodes needs nodes with at least 8 vCPUs" in beyond.reason
    assert not found(fixed, {"G": 8})
    assert found(fixed + G6 + MODELS, {"G": 19}), "the pods can run on none of them"
    assert not found(fixed + G6 + MODELS, {"G": 20})
