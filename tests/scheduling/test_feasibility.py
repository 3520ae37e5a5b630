"""Feasibility of pods against node pools, on objects by hand."""

import json
import time
from typing import Any

import pytest

from drydock.suite.environments import CapacityReservation
from tests.checks.helpers import judge
from tests.scheduling.builders import daemon_set, deployment, needs, pod_spec, pool

CATEGORY = "karpenter.k8s.aws/instance-category"
FAMILY = "karpenter.k8s.aws/instance-family"
TYPE = "node.kubernetes.io/instance-type"
ARCH = "kubernetes.io/arch"
ZONE = "topology.kubernetes.io/zone"
CAPACITY = "karpenter.sh/capacity-type"
GPU = "nvidia.com/gpu"
GPU_POOL = pool(requirements=[(FAMILY, "In", ["g6"]), (ARCH, "In", ["amd64"])], taints=[f"{GPU}=true:NoSchedule"])
CPU_POOL = pool("cpu", [(CATEGORY, "In", ["m"]), (ARCH, "In", ["amd64"])])


def test_a_gpu_pod_runs_where_the_gpus_are_and_tolerates_by_admission() -> None:
    (verdict,) = judge(GPU_POOL + CPU_POOL + deployment(pod_spec({GPU: 1})))
    hosts = {each.pool.name: each.hosts for each in verdict.pools}
    assert hosts == {"gpu": True, "cpu": False}
    (gpu,) = [each for each in verdict.pools if each.hosts]
    assert "g6.xlarge" in gpu.types
    assert all(name.startswith("g6.") for name in gpu.types)


@pytest.mark.parametrize(
    ("pools", "spec", "reason"),
    [
        (
            pool(requirements=[(FAMILY, "In", ["p5"])]),
            pod_spec({GPU: 16}),
            "the pod needs 16 nvidia.com/gpu, and its largest instance type (p5.48xlarge) has 8 nvidia.com/gpu",
        ),
        (CPU_POOL, pod_spec({GPU: 1}), "the pod needs 1 nvidia.com/gpu, and no instance type of it has any"),
        (
            GPU_POOL,
            pod_spec(),
            "its nodes have the taint nvidia.com/gpu=true:NoSchedule, which the pod does not tolerate",
        ),
        (
            pool(requirements=[(TYPE, "In", ["g6.xlarge", "m5.24xlarge"])]),
            pod_spec({GPU: 1, "memory": "100Gi"}),
            "the pod needs 100 GiB memory, and the roomiest instance type that has the rest (g6.xlarge) has",
        ),
        (
            CPU_POOL,
            pod_spec(nodeSelector={ARCH: "arm64"}),
            "the pod requires kubernetes.io/arch In [arm64], and it allows amd64",
        ),
        (
            CPU_POOL,
            pod_spec(nodeSelector={"team": "red"}),
            "the pod requires team In [red], and its nodes do not carry that label",
        ),
        (
            CPU_POOL,
            pod_spec(affinity=needs("karpenter.k8s.aws/instance-gpu-name", "In", "l4")),
            "instance types meets karpenter.k8s.aws/instance-gpu-name In [l4]",
        ),
        (CPU_POOL, pod_spec(nodeSelector={"karpenter.sh/nodepool": "gpu"}), "the pod requires node pool gpu"),
        (
            CPU_POOL,
            pod_spec(nodeSelector={ZONE: "us-west-2d"}),
            "cannot be bought in us-west-2d",
        ),
        (
            pool(requirements=[(FAMILY, "In", ["g6"])], limits={GPU: 2}),
            pod_spec({GPU: 4}),
            "one g6.12xlarge would exceed its limits (4 nvidia.com/gpu over the limit of 2 nvidia.com/gpu)",
        ),
        (
            pool(requirements=[(FAMILY, "In", ["p5"]), (CAPACITY, "In", ["reserved"])]),
            pod_spec({GPU: 8}),
            "it buys reserved capacity alone, and its node class default selects no reservation",
        ),
        (pool(node_class="missing"), pod_spec(), "its EC2NodeClass missing does not exist"),
        (
            pool(requirements=[(FAMILY, "In", ["g99"])]),
            pod_spec(),
            "other requirements has karpenter.k8s.aws/instance-family In [g99]",
        ),
        (pool(spec={"replicas": 0}), pod_spec(), "it has replicas: 0"),
    ],
)
def test_a_pool_that_cannot_host_a_pod_says_why(pools: str, spec: dict[str, Any], reason: str) -> None:
    (verdict,) = judge(pools + deployment(spec))
    assert not verdict.is_feasible
    assert verdict.pools[0].exclusion is not None
    assert reason in verdict.pools[0].exclusion.reason
    assert verdict.pools[0].exclusion.remedy


def test_daemon_sets_take_their_part_of_every_node_they_run_on() -> None:
    small = pool(requirements=[(TYPE, "In", ["m5.large"])])
    agent = daemon_set(pod_spec({"cpu": "500m"}, tolerations=[{"operator": "Exists"}]))
    fits = deployment(pod_spec({"cpu": "1500m"}))
    assert judge(small + fits)[0].is_feasible
    (verdict,) = judge(small + agent + fits)
    assert not verdict.is_feasible
    assert verdict.pools[0].exclusion is not None
    assert "beside the DaemonSets" in verdict.pools[0].exclusion.reason
    elsewhere = daemon_set(pod_spec({"cpu": "500m"}, nodeSelector={"karpenter.k8s.aws/instance-gpu-count": "1"}))
    assert judge(small + elsewhere + fits)[0].is_feasible


def test_a_daemon_set_that_holds_the_pods_host_port_keeps_it_out() -> None:
    port = [{"containerPort": 9400, "hostPort": 9400}]
    spec = pod_spec()
    spec["containers"][0]["ports"] = port
    verdict = judge(pool() + daemon_set(spec) + deployment(spec))[0]
    assert verdict.pools[0].exclusion is not None
    assert "host port" in verdict.pools[0].exclusion.reason


def test_any_one_of_the_required_terms_will_do_and_preferences_never_exclude() -> None:
    affinity = needs("team", "In", "red")
    terms = affinity["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    terms.append({"matchExpressions": [{"key": ARCH, "operator": "In", "values": ["amd64"]}]})
    affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "team", "operator": "Exists"}]}}
    ]
    assert judge(CPU_POOL + deployment(pod_spec(affinity=affinity)))[0].is_feasible
    soft = pool("soft", taints=["busy=yes:PreferNoSchedule"])
    assert judge(soft + deployment(pod_spec()))[0].is_feasible


@pytest.mark.parametrize(
    ("terms", "preference", "feasible"),
    [
        ([ARCH, "team"], None, True),
        ([ARCH, "team"], "team", False),
        (["team", ARCH], "team", True),
        ([ARCH], "team", True),
    ],
)
def test_all_alternatives_but_the_last_are_tried_with_the_preference_only(
    terms: list[str], preference: str | None, feasible: bool
) -> None:
    """As Karpenter does it (preferences.go): alternatives are given up before preferences are."""
    values = {ARCH: "amd64", "team": "red"}
    expressions = {key: [{"key": key, "operator": "In", "values": [value]}] for key, value in values.items()}
    affinity: dict[str, Any] = {
        "requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchExpressions": expressions[key]} for key in terms]
        }
    }
    if preference:
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": 10, "preference": {"matchExpressions": expressions[preference]}}
        ]
    (verdict,) = judge(CPU_POOL + deployment(pod_spec(affinity={"nodeAffinity": affinity})))
    assert verdict.is_feasible is feasible
    if not feasible:
        assert verdict.pools[0].exclusion is not None
        assert "Karpenter drops it before it gives up the pod's preferences" in verdict.pools[0].exclusion.reason


@pytest.mark.parametrize(
    ("operator", "values", "feasible"),
    [
        ("NotIn", ["red"], True),
        ("DoesNotExist", [], True),
        ("Exists", [], False),
    ],
)
def test_a_label_that_the_nodes_lack_meets_negative_requirements_only(
    operator: str, values: list[str], feasible: bool
) -> None:
    spec = pod_spec(affinity=needs("team", operator, *values))
    assert judge(CPU_POOL + deployment(spec))[0].is_feasible is feasible


def test_bounds_select_by_number() -> None:
    newer = pool(requirements=[(CATEGORY, "In", ["g"]), ("karpenter.k8s.aws/instance-generation", "Gt", ["5"])])
    (verdict,) = judge(newer + deployment(pod_spec({GPU: 1})))
    families = {name.partition(".")[0] for name in verdict.pools[0].types}
    assert "g6" in families
    assert "g5" not in families


def test_min_values_must_be_covered_by_the_types_left() -> None:
    requirement = {"key": FAMILY, "operator": "In", "values": ["g5", "g6"], "minValues": 2}
    content = json.loads(pool().removesuffix("---\n"))
    content["spec"]["template"]["spec"]["requirements"] = [requirement]
    text = json.dumps(content) + "\n---\n"
    assert judge(text + deployment(pod_spec({GPU: 1})))[0].is_feasible
    (verdict,) = judge(text + deployment(pod_spec({GPU: 1}, nodeSelector={FAMILY: "g6"})))
    assert verdict.pools[0].exclusion is not None
    assert "minValues 2" in verdict.pools[0].exclusion.reason


def test_reserved_capacity_needs_a_reservation_that_the_node_class_selects() -> None:
    text = """
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: reserved}
spec: {amiSelectorTerms: [{alias: al2023@latest}], capacityReservationSelectorTerms: [{tags: {team: red}}]}
---
""" + pool(requirements=[(CAPACITY, "In", ["reserved"])], node_class="reserved")
    workload = deployment(pod_spec({GPU: 8}))

    def reservation(zone: str, team: str) -> CapacityReservation:
        return CapacityReservation("cr-0123456789abcdef0", "p5.48xlarge", zone, 1, "default", {"team": team})

    (verdict,) = judge(text + workload, reservations=[reservation("us-west-2a", "red")])
    assert verdict.pools[0].types == {"p5.48xlarge"}
    assert not judge(text + workload, reservations=[reservation("us-west-2a", "blue")])[0].is_feasible
    assert not judge(text + workload, reservations=[reservation("us-west-2c", "red")])[0].is_feasible


def test_a_volume_keeps_a_pod_in_its_zone() -> None:
    storage = """
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: zonal}
allowedTopologies: [{matchLabelExpressions: [{key: topology.kubernetes.io/zone, values: [us-west-2b]}]}]
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: cache}
spec: {storageClassName: zonal, accessModes: [ReadWriteOnce]}
---
"""
    workload = deployment(pod_spec(volumes=[{"name": "cache", "persistentVolumeClaim": {"claimName": "cache"}}]))
    in_zone = {zone: pool(requirements=[(ZONE, "In", [zone])]) for zone in ("us-west-2a", "us-west-2b")}
    assert judge(in_zone["us-west-2b"] + storage + workload)[0].is_feasible
    (verdict,) = judge(in_zone["us-west-2a"] + storage + workload)
    assert verdict.pools[0].exclusion is not None
    assert (
        "a volume of the pod requires topology.kubernetes.io/zone In [us-west-2b]" in verdict.pools[0].exclusion.reason
    )


def test_a_runtime_class_adds_its_selector_and_overhead() -> None:
    runtime = """
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {name: sandbox}
handler: sandbox
overhead: {podFixed: {cpu: "1"}}
scheduling: {nodeSelector: {sandbox: "true"}}
---
"""
    workload = deployment(pod_spec({"cpu": "1"}, runtimeClassName="sandbox"))
    assert not judge(pool() + runtime + workload)[0].is_feasible
    (verdict,) = judge(
        pool(requirements=[(TYPE, "In", ["m5.large", "m5.xlarge"])], labels={"sandbox": "true"}) + runtime + workload
    )
    assert verdict.pools[0].types == {"m5.xlarge"}


@pytest.mark.parametrize(
    ("selector", "problem"),
    [
        ({"kubernetes.io/hostname": "n"}, "kubernetes.io/hostname"),
        ({"karpenter.k8s.aws/ec2nodeclass": "default"}, "karpenter.k8s.aws/ec2nodeclass"),
        ({CAPACITY: "ondemand"}, "there are on-demand, spot and reserved"),
    ],
)
def test_what_karpenter_ignores_is_told(selector: dict[str, str], problem: str) -> None:
    (verdict,) = judge(pool() + deployment(pod_spec(nodeSelector=selector)))
    assert not verdict.is_feasible
    assert problem in verdict.problem


def test_pods_inside_custom_resources_are_judged_too() -> None:
    cluster = {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": "ray"},
        "spec": {
            "headGroupSpec": {"template": {"spec": pod_spec({"cpu": "1"})}},
            "workerGroupSpecs": [{"replicas": 2, "numOfHosts": 2, "template": {"spec": pod_spec({GPU: 16})}}],
        },
    }
    group = {
        "apiVersion": "leaderworkerset.x-k8s.io/v1",
        "kind": "LeaderWorkerSet",
        "metadata": {"name": "big"},
        "spec": {
            "replicas": 2,
            "leaderWorkerTemplate": {
                "size": 4,
                "leaderTemplate": {"spec": pod_spec()},
                "workerTemplate": {"spec": pod_spec({GPU: 8})},
            },
        },
    }
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "tune"},
        "spec": {
            "nodeSelector": {"team": "red"},
            "templates": [
                {"name": "main", "dag": {"tasks": []}},
                {"name": "train", "container": {"image": "example.com/train:1", "resources": {"limits": {GPU: 1}}}},
            ],
        },
    }
    verdicts = judge(pool() + "\n---\n".join(json.dumps(each) for each in (cluster, group, workflow)))
    seen = {each.pod.name: (each.pod.replicas, each.is_feasible) for each in verdicts}
    assert seen == {
        "RayCluster/ray (headGroupSpec)": (1, True),
        "RayCluster/ray (workerGroupSpecs.0)": (4, False),
        "LeaderWorkerSet/big (leaderWorkerTemplate.leaderTemplate)": (2, True),
        "LeaderWorkerSet/big (leaderWorkerTemplate.workerTemplate)": (6, True),
        "WorkflowTemplate/tune (templates.1)": (1, False),
    }


def test_what_a_workflow_submits_and_patches_is_judged() -> None:
    job = {
        "apiVersion": "ray.io/v1",
        "kind": "RayJob",
        "spec": {
            "rayClusterSpec": {
                "headGroupSpec": {"template": {"spec": pod_spec()}},
                "workerGroupSpecs": [{"replicas": 1, "template": {"spec": pod_spec({GPU: 9})}}],
            }
        },
    }
    workflow = {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "tune"},
        "spec": {
            "podSpecPatch": '{"nodeSelector": {"team": "red"}}',
            "templates": [
                {"name": "train", "resource": {"action": "create", "manifest": json.dumps(job)}},
                {"name": "check", "container": {"image": "example.com/check:1"}},
                {"name": "apply", "resource": {"action": "create", "manifest": "{{inputs.parameters.manifest}}"}},
            ],
        },
    }
    seen = {each.pod.name: each.is_feasible for each in judge(pool() + json.dumps(workflow))}
    assert seen == {
        "WorkflowTemplate/tune (templates.0.resource.manifest.spec.rayClusterSpec.headGroupSpec)": True,
        "WorkflowTemplate/tune (templates.0.resource.manifest.spec.rayClusterSpec.workerGroupSpecs.0)": False,
        "WorkflowTemplate/tune (templates.1)": False,
    }


def test_auto_mode_has_the_labels_under_its_own_domain() -> None:
    content = json.loads(pool().removesuffix("---\n"))
    content["spec"]["template"]["spec"] |= {
        "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"},
        "requirements": [{"key": "eks.amazonaws.com/instance-gpu-name", "operator": "In", "values": ["l4"]}],
    }
    (verdict,) = judge(json.dumps(content) + "\n---\n" + deployment(pod_spec({GPU: 1})))
    assert verdict.is_feasible
    assert "g6.xlarge" in verdict.pools[0].types


def test_auto_mode_buys_what_it_supports_and_uses_larger_local_disks() -> None:
    content = json.loads(pool().removesuffix("---\n"))
    content["spec"]["template"]["spec"] |= {
        "nodeClassRef": {"group": "eks.amazonaws.com", "kind": "NodeClass", "name": "default"},
        "requirements": [{"key": "eks.amazonaws.com/instance-category", "operator": "In", "values": ["g", "t", "f"]}],
    }
    pools = json.dumps(content) + "\n---\n"
    (small,) = judge(pools + deployment(pod_spec()))
    assert not [name for name in small.pools[0].types if name.startswith(("f", "g6f")) or name.endswith("micro")]
    (large,) = judge(pools + deployment(pod_spec({"ephemeral-storage": "150Gi"})))
    assert "g6.xlarge" in large.pools[0].types
    assert "t3.large" not in large.pools[0].types


def test_an_environment_is_judged_in_milliseconds() -> None:
    pools = "".join(
        pool(f"p{number}", [(CATEGORY, "In", ["c", "m", "r"]), (ARCH, "In", ["amd64"])]) for number in range(4)
    )
    pods = "".join(
        deployment(pod_spec({"cpu": str(number % 4), "memory": "3Gi"}), f"d{number}") for number in range(20)
    )
    began = time.perf_counter()
    verdicts = judge(pools + pods)
    assert all(each.is_feasible for each in verdicts)
    print(f"20 pods against 4 pools of {len(verdicts[0].pools[0].types)} types: {time.perf_counter() - began:.3f} s")
