"""Findings name the true cause, the user's own line and a remedy that fits; what follows from a cause is folded."""

from pathlib import Path
from typing import Any

import pytest

from drydock.checks.findings import Finding, Severity, folded
from drydock.suite.environments import CapacityReservation
from tests.checks.helpers import findings
from tests.scheduling.builders import daemon_set, deployment, needs, pod_spec, pool

GPU = "nvidia.com/gpu"
POOL = "karpenter.sh/nodepool"
FAMILY = "karpenter.k8s.aws/instance-family"
CAPACITY = "karpenter.sh/capacity-type"
ADD_ONS = "CriticalAddonsOnly=true:NoSchedule"
SYSTEM = pool("system", [(FAMILY, "In", ["m7i"])], taints=[ADD_ONS])
G6 = pool("gpu", [(FAMILY, "In", ["g6"])], taints=["nvidia.com/gpu=true:NoSchedule"])


def one(text: str, check: str = "pod-feasibility", **options: Any) -> Finding:
    (found,) = findings(text, check, **options)
    return found


def test_a_pool_that_is_turned_off_is_turned_on() -> None:
    values = {"karpenter-nodepools": {"nodePools": {"neuron": {"enabled": False}}}}
    pods = deployment(pod_spec({"aws.amazon.com/neuron": 1}, nodeSelector={POOL: "neuron"}))
    found = one(SYSTEM + G6 + pods, values=values)
    assert found.reason == "The pod requires node pool neuron, which the release does not have (it is turned off)."
    assert found.remedy == "Set karpenter-nodepools.nodePools.neuron.enabled=true."


def test_a_pool_of_a_preset_is_stacked(tmp_path: Path) -> None:
    (tmp_path / "environments").mkdir()
    (tmp_path / "capacity").mkdir()
    (tmp_path / "capacity" / "big.yaml").write_text("pools: {nodePools: {gpu-efa: {weight: 1}}}")
    environment = {"file": tmp_path / "environments" / "test.yaml"}
    pods = deployment(pod_spec({GPU: 1}, nodeSelector={POOL: "gpu-efa"}))
    assert f"{tmp_path.name}/capacity/big.yaml" in one(G6 + pods, environment=environment).remedy


def test_a_pool_that_is_misspelt_is_guessed_and_several_pods_are_one_finding() -> None:
    spec = pod_spec({GPU: 1}, nodeSelector={POOL: "gpuu"})
    found = one(SYSTEM + G6 + deployment(spec, "one") + deployment(spec, "two"))
    assert found.remedy == "Did you mean gpu? Node pools of the release: gpu, system."
    assert found.consequences == ("Deployment/two: pod-feasibility",)


def test_a_pod_with_a_gpu_is_not_sent_to_the_pool_of_add_ons() -> None:
    found = one(SYSTEM + G6 + deployment(pod_spec({GPU: 2}, affinity=needs(FAMILY, "In", "g7x"))))
    assert "CriticalAddonsOnly" not in found.remedy
    assert "the other pools have no nvidia.com/gpu" in found.reason


def test_a_small_pod_beside_the_pool_of_add_ons_needs_a_pool_of_its_own() -> None:
    found = one(SYSTEM + deployment(pod_spec({"cpu": "1"})))
    assert found.remedy.startswith("Add a node pool without that taint")


def test_a_pod_that_excludes_itself() -> None:
    pods = deployment(pod_spec(nodeSelector={"tier": "a"}, affinity=needs("tier", "In", "b")))
    assert "tier (In [a] and In [b]) excludes itself" in one(pool() + pods).reason


def test_a_node_full_of_daemons_is_not_advised_to_take_no_pods() -> None:
    small = {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": "small"},
        "spec": {"amiSelectorTerms": [{"alias": "al2023@latest"}], "kubelet": {"maxPods": 1}},
    }
    import json

    text = pool(node_class="small") + f"{json.dumps(small)}\n---\n" + daemon_set(pod_spec()) + deployment(pod_spec())
    assert one(text).remedy.startswith("Raise kubelet.maxPods of node class small above 1")


@pytest.mark.parametrize(
    ("requirements", "reason", "remedy"),
    [
        ([("node.kubernetes.io/instance-type", "In", ["g6.xlrge"])], "offers no g6.xlrge", "Did you mean g6.xlarge?"),
        (
            [(FAMILY, "In", ["g6"]), ("karpenter.k8s.aws/instance-gpu-count", "In", ["3"])],
            "has karpenter.k8s.aws/instance-",
            "Widen karpenter.k8s.aws/instance-",
        ),
        ([("topology.kubernetes.io/zone", "In", ["us-west-2d"])], "the cluster has us-west-2a", "have one of"),
        ([(CAPACITY, "In", ["reserved"])], "its node class default selects no reservation", "SelectorTerms"),
    ],
)
def test_an_empty_pool_has_one_finding_with_its_cause(
    requirements: list[tuple[str, str, list[str]]], reason: str, remedy: str
) -> None:
    text = pool("odd", requirements) + deployment(pod_spec()) + daemon_set(pod_spec())
    (found,) = (finding for finding in findings(text) if finding.severity is Severity.ERROR)
    assert found.check == "pool-without-types"
    assert reason in found.reason
    assert remedy in found.remedy
    assert [each.partition(":")[0] for each in found.consequences] == ["DaemonSet/agent", "Deployment/model"]


def test_reservations_that_no_term_picks_are_named_by_tag() -> None:
    terms = [{"tags": {"team": "search"}}]
    node_class = (
        "{apiVersion: karpenter.k8s.aws/v1, kind: EC2NodeClass, metadata: {name: own}, spec: {amiSelectorTerms: "
        f"[{{alias: al2023@latest}}], capacityReservationSelectorTerms: {terms}}}}}\n---\n"
    )
    text = node_class + pool("own", [(CAPACITY, "In", ["reserved"])], node_class="own")
    reserved = CapacityReservation("cr-0a1b2c3d4e5f60718", "g6.xlarge", "us-west-2a", 1, "default", {})
    found = one(text, "pool-without-types", reservations=[reserved])
    assert "no reservation with the tag team=search" in found.reason
    assert "account.capacityReservations" in found.remedy


def test_the_line_is_that_of_the_users_values(tmp_path: Path) -> None:
    values = tmp_path / "own.yaml"
    values.write_text("vllm:\n  models:\n    big:\n      accelerator:\n        count: 16\n")
    text = G6 + deployment(pod_spec({GPU: 16}, nodeSelector={POOL: "gpu"}), "test-vllm-big")
    found = one(text, environment={"values_files": (values,)})
    assert (found.file, found.line) == (str(values), 5)


def test_a_value_of_set_is_named(tmp_path: Path) -> None:
    text = G6 + deployment(pod_spec({GPU: 16}, nodeSelector={POOL: "gpu"}), "test-vllm-big")
    found = one(text, environment={"set_values": ("vllm.models.big.accelerator.count=16",)})
    assert found.reason.endswith("(set by --set vllm.models.big.accelerator.count=16).")


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        ({"memory": "1.2.3Gi"}, "'1.2.3Gi' is not a quantity."),
        ({"cpu": "."}, "'.' is not a quantity."),
        ({"memory": "1Gi\n"}, "'1Gi\\n' is not a quantity."),
    ],
)
def test_amounts_that_are_none_are_findings(amounts: dict[str, str], message: str) -> None:
    assert one(deployment(pod_spec(amounts)), "quantity").reason == message


@pytest.mark.parametrize("amount", ["1e999999999", "9" * 400, "1e-999999999", "99999999Ei", "0e99999"])
def test_amounts_of_any_size_are_judged(amount: str) -> None:
    assert findings(G6 + deployment(pod_spec({"memory": amount})), "quantity") == []


@pytest.mark.parametrize("share", ["25%%", "a quarter", "-1", "2.5"])
def test_shares_that_are_none_are_findings(share: str) -> None:
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": share}}
    found = one(G6 + deployment(pod_spec({GPU: 1}), strategy=strategy), "quantity")
    assert found.path == "spec.strategy.rollingUpdate.maxSurge"


def test_consequences_of_consequences_stand_under_the_first_cause() -> None:
    root = Finding("dev", "zone", "wrong.", "Correct it.")
    middle = Finding("dev", "pool-without-types", "empty.", "-", object="NodePool/gpu", cause="zone")
    last = Finding("dev", "pod-feasibility", "no pool.", "-", object="Pod/a", cause="pool-without-types NodePool/gpu")
    (found,) = folded([last, middle, root])
    assert found.check == "zone"
    assert len(found.consequences) == 2


@pytest.mark.parametrize(
    ("limits", "replicas", "reason"),
    [
        ({"cpu": "8"}, 3, "12 cpu, and its limits, against which Karpenter counts whole nodes, allow 8 cpu"),
        ({"nodes": "2"}, 3, "3 nodes"),
        ({"memory": "40Gi"}, 3, "GiB memory"),
        ({"cpu": "12", "nodes": "3", "memory": "64Gi"}, 3, ""),
    ],
)
def test_limits_are_held_against_whole_nodes(limits: dict[str, str], replicas: int, reason: str) -> None:
    text = pool("gpu", [("node.kubernetes.io/instance-type", "In", ["g6.xlarge"])], limits=limits)
    found = findings(text + deployment(pod_spec({GPU: 1}), replicas=replicas), "pool-capacity")
    assert [reason in each.reason for each in found] == [True] * bool(reason)
