"""Small scheduling problems drawn from a seed: node pools, and a pod that only they could host."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.scheduling.builders import pod_spec

INSTANCE = "karpenter.k8s.aws/instance-"
CASE = "example.com/case"
ZONES = ("us-west-2a", "us-west-2b", "us-west-2c")
CLASSES = ("plain", "large", "raid", "bottlerocket", "efa", "reserved", "kubelet")
GPU, NEURON, EFA = "nvidia.com/gpu", "aws.amazon.com/neuron", "vpc.amazonaws.com/efa"


@dataclass(frozen=True)
class Case:
    """A pod and the pools that carry its label, in the order of their names.

    Attributes:
        name: of the pod, and the value of the label.
        objects: pools and what the pod needs beside them.
        pod: the Pod object.
    """

    name: str
    objects: tuple[dict[str, Any], ...]
    pod: dict[str, Any]


def node_classes() -> list[dict[str, Any]]:
    """The node classes that cases refer to."""
    device = {"deviceName": "/dev/xvda", "ebs": {"volumeSize": "200Gi", "volumeType": "gp3"}}
    specs: dict[str, dict[str, Any]] = {
        "plain": {},
        "large": {"blockDeviceMappings": [device]},
        "raid": {"blockDeviceMappings": [device], "instanceStorePolicy": "RAID0"},
        "bottlerocket": {
            "amiSelectorTerms": [{"alias": "bottlerocket@latest"}],
            "blockDeviceMappings": [{"deviceName": "/dev/xvdb", "ebs": {"volumeSize": "120Gi"}}],
        },
        "efa": {
            "networkInterfaces": [
                {"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"},
                {"networkCardIndex": 0, "deviceIndex": 1, "interfaceType": "efa-only"},
            ]
        },
        "reserved": {"capacityReservationSelectorTerms": [{"tags": {"purpose": "test"}}]},
        "kubelet": {
            "kubelet": {"maxPods": 30, "systemReserved": {"memory": "2Gi"}, "evictionHard": {"memory.available": "10%"}}
        },
    }
    tags = {"karpenter.sh/discovery": "agreement"}
    common = {
        "role": "node-role",
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "subnetSelectorTerms": [{"tags": tags}],
        "securityGroupSelectorTerms": [{"tags": tags}],
    }
    return [
        {
            "apiVersion": "karpenter.k8s.aws/v1",
            "kind": "EC2NodeClass",
            "metadata": {"name": name},
            "spec": {**common, **spec},
        }
        for name, spec in specs.items()
    ]


def daemon_sets() -> list[dict[str, Any]]:
    """DaemonSets on every node, and on nodes with GPUs only."""
    everywhere = pod_spec({"cpu": "250m", "memory": "300Mi"}, tolerations=[{"operator": "Exists"}])
    with_gpu = pod_spec(
        {"cpu": "500m", "memory": "1Gi", "ephemeral-storage": "2Gi"},
        tolerations=[{"operator": "Exists"}],
        affinity=_affinity([[_expression(random.Random(0), f"{INSTANCE}gpu-count", "Exists")]]),
    )
    return [_daemon_set("agent", everywhere), _daemon_set("gpu-agent", with_gpu)]


def cases(seed: int, count: int) -> list[Case]:
    """That many cases; the same for the same seed."""
    source = random.Random(seed)
    return [_case(source, f"case-{number:03d}") for number in range(count)]


def _case(source: random.Random, name: str) -> Case:
    flavour = source.choice(("cpu", "cpu", "gpu", "gpu", "neuron"))
    pools = [_pool(source, f"{name}-{letter}", name, flavour) for letter in "ab"[: source.randint(1, 2)]]
    storage = _storage(source, name) if source.random() < 0.15 else []
    spec = _pod(source, name, flavour, pools)
    if storage:
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": name}}]
        spec["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}
    return Case(name, (*storage, *pools), pod)


def _pool(source: random.Random, name: str, case: str, flavour: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": source.choice(CLASSES)},
        "requirements": _pool_requirements(source, flavour),
    }
    taints = [
        {"key": GPU, "value": "true", "effect": "NoSchedule"},
        {"key": NEURON, "effect": "NoSchedule"},
        {"key": "team", "value": source.choice(("red", "blue")), "effect": source.choice(("NoSchedule", "NoExecute"))},
        {"key": "soft", "effect": "PreferNoSchedule"},
    ]
    chances = (0.8 * (flavour == "gpu"), 0.8 * (flavour == "neuron"), 0.15, 0.15)
    spec["taints"] = [taint for taint, chance in zip(taints, chances, strict=True) if source.random() < chance]
    labels = {CASE: case, **({"tier": source.choice(("gold", "silver"))} if source.random() < 0.4 else {})}
    content: dict[str, Any] = {"template": {"metadata": {"labels": labels}, "spec": spec}}
    if source.random() < 0.25:
        content["limits"] = source.choice(({"cpu": "8"}, {"memory": "64Gi"}, {GPU: "2"}, {NEURON: "1"}, {"cpu": "200"}))
    if source.random() < 0.3:
        content["weight"] = source.randint(1, 100)
    content["disruption"] = {"consolidateAfter": "Never"}
    return {"apiVersion": "karpenter.sh/v1", "kind": "NodePool", "metadata": {"name": name}, "spec": content}


def _pool_requirements(source: random.Random, flavour: str) -> list[dict[str, Any]]:
    base: list[tuple[str, str, list[str]]] = {
        "cpu": [(f"{INSTANCE}category", "In", ["c", "m", "r", "t"])],
        "gpu": [(f"{INSTANCE}category", "In", ["g", "p"]), (f"{INSTANCE}gpu-manufacturer", "In", ["nvidia"])],
        "neuron": [(f"{INSTANCE}category", "In", ["inf", "trn"])],
    }[flavour]
    families = {
        "cpu": ["m5", "m6g", "c7i", "r7g", "t3", "m7i-flex"],
        "gpu": ["g5", "g6", "g6e", "p5", "p4d", "g4dn", "g5g"],
        "neuron": ["inf2", "trn1", "inf1", "trn2"],
    }[flavour]
    optional: list[tuple[str, str, list[str]]] = [
        (f"{INSTANCE}family", "In", source.sample(families, source.randint(1, 3))),
        (f"{INSTANCE}generation", source.choice(("Gt", "Lt")), [source.choice("3456")]),
        (f"{INSTANCE}cpu", source.choice(("Gt", "Lt")), [source.choice(("3", "8", "33", "97"))]),
        (f"{INSTANCE}memory", "Gt", [source.choice(("8000", "60000", "300000"))]),
        (
            f"{INSTANCE}size",
            source.choice(("In", "NotIn")),
            source.sample(["xlarge", "2xlarge", "4xlarge", "12xlarge"], 2),
        ),
        (f"{INSTANCE}local-nvme", source.choice(("Exists", "DoesNotExist")), []),
        (f"{INSTANCE}hypervisor", "In", ["nitro"]),
        ("kubernetes.io/arch", "In", source.choice((["amd64"], ["amd64"], ["arm64"], ["amd64", "arm64"]))),
        (
            "karpenter.sh/capacity-type",
            "In",
            source.choice((["spot"], ["on-demand"], ["reserved"], ["reserved", "spot"])),
        ),
        ("topology.kubernetes.io/zone", "In", source.sample(ZONES, source.randint(1, 2))),
        *([(f"{INSTANCE}gpu-count", source.choice(("Gt", "In")), [source.choice("0148")])] if flavour == "gpu" else []),
    ]
    chosen = [each for each in optional if source.random() < 0.3]
    requirements: list[dict[str, Any]] = [
        {"key": key, "operator": op, "values": values} for key, op, values in (*base, *chosen)
    ]
    if source.random() < 0.12:
        requirements.append({"key": f"{INSTANCE}family", "operator": "Exists", "minValues": source.choice((2, 5, 40))})
    return requirements


def _pod(source: random.Random, name: str, flavour: str, pools: Sequence[dict[str, Any]]) -> dict[str, Any]:
    requests: dict[str, str] = {
        "cpu": source.choice(("100m", "1", "3500m", "7", "15", "90")),
        "memory": source.choice(("128Mi", "2Gi", "13Gi", "60Gi", "400Gi")),
    }
    if source.random() < 0.3:
        requests["ephemeral-storage"] = source.choice(("1Gi", "15Gi", "80Gi", "170Gi", "900Gi"))
    if flavour == "gpu":
        requests[GPU] = source.choice(("1", "1", "1", "4", "8", "16"))
    if flavour == "neuron":
        requests[NEURON] = source.choice(("1", "1", "6", "16"))
    if flavour != "cpu" and source.random() < 0.12:
        requests[EFA] = source.choice(("1", "4"))
    spec = pod_spec(requests)
    limits = {key: value for key, value in requests.items() if "/" in key}
    spec["containers"][0]["resources"]["limits"] = limits
    spec["nodeSelector"] = {CASE: name}
    if source.random() < 0.3:
        spec["tolerations"] = [source.choice(({"key": "team", "operator": "Exists"}, {"key": "team", "value": "red"}))]
    if source.random() < 0.1:
        spec["nodeSelector"]["karpenter.sh/nodepool"] = source.choice(pools)["metadata"]["name"]
    if source.random() < 0.5:
        spec["affinity"] = _affinity([[_wish(source)] for _ in range(source.randint(1, 2))])
    if source.random() < 0.3:
        preferred = [{"weight": source.randint(1, 100), "preference": {"matchExpressions": [_wish(source)]}}]
        affinity = spec.setdefault("affinity", {"nodeAffinity": {}})
        affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    if source.random() < 0.1:
        spec["initContainers"] = [
            {"name": "load", "image": "example.com/load:1", "resources": {"requests": {"memory": "30Gi", "cpu": "4"}}}
        ]
    return spec


def _wish(source: random.Random) -> dict[str, Any]:
    wishes: tuple[tuple[str, str, list[str]], ...] = (
        ("kubernetes.io/arch", "In", [source.choice(("amd64", "arm64"))]),
        ("topology.kubernetes.io/zone", source.choice(("In", "NotIn")), [source.choice(ZONES)]),
        (
            "karpenter.sh/capacity-type",
            source.choice(("In", "NotIn")),
            [source.choice(("spot", "on-demand", "reserved"))],
        ),
        (f"{INSTANCE}gpu-name", source.choice(("In", "NotIn")), [source.choice(("l4", "a10g", "h100", "l40s"))]),
        (f"{INSTANCE}family", source.choice(("In", "NotIn")), [source.choice(("m5", "g5", "g6", "inf2", "c7i"))]),
        (f"{INSTANCE}cpu", source.choice(("Gt", "Lt")), [source.choice(("7", "31", "100"))]),
        (f"{INSTANCE}network-bandwidth", "Gt", [source.choice(("9999", "99999"))]),
        ("tier", source.choice(("In", "NotIn")), ["gold"]),
        ("tier", source.choice(("Exists", "DoesNotExist")), []),
        ("node.kubernetes.io/instance-type", "NotIn", ["m5.large", "g6.xlarge", "g5.xlarge"]),
    )
    key, operator, values = source.choice(wishes)
    return _expression(source, key, operator, *values)


def _expression(source: random.Random, key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"key": key, "operator": operator, **({"values": list(values)} if values else {})}


def _affinity(terms: Sequence[Sequence[dict[str, Any]]]) -> dict[str, Any]:
    selector = {"nodeSelectorTerms": [{"matchExpressions": list(each)} for each in terms]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def _storage(source: random.Random, name: str) -> list[dict[str, Any]]:
    topology = {"key": "topology.kubernetes.io/zone", "values": source.sample(ZONES, source.randint(1, 2))}
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name},
            "provisioner": "ebs.csi.aws.com",
            "volumeBindingMode": "WaitForFirstConsumer",
            "allowedTopologies": [{"matchLabelExpressions": [topology]}],
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": name,
                "resources": {"requests": {"storage": "10Gi"}},
            },
        },
    ]


def _daemon_set(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": spec}},
    }


def to_yaml(objects: Sequence[dict[str, Any]]) -> str:
    """Objects as a YAML stream."""
    return "\n---\n".join(json.dumps(each) for each in objects)
