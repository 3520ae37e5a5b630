"""`accelerator.share` ties a pool, the device plugin's configuration and the pods that share a GPU together."""

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name, labels_of_nodes, taints

LABEL = "nvidia.com/device-plugin.config"
GPU, SHARED, SLICE = "nvidia.com/gpu", "nvidia.com/gpu.shared", "nvidia.com/mig-1g.10gb"
UMBRELLA = "genai-platform"
ENTRIES = {
    "time-slicing": {},
    "halves": {"sharing": {"strategy": "mps", "replicas": 2, "renameByDefault": True}},
    "small": {"migStrategy": "mixed"},
}
RESOURCES = {"halves": SHARED, "small": SLICE}


def values(
    share: str, accelerator: Mapping[str, Any] | None = None, resources: Mapping[str, str] = RESOURCES
) -> dict[str, Any]:
    """A pool, the plugin's entry and a model of one profile."""
    model = {
        "source": {"huggingFace": {"id": "org/small"}, "size": "2Gi"},
        "accelerator": {"kind": "nvidia", "share": share, **(accelerator or {})},
        "engine": {"gpuMemoryUtilization": 0.2},
    }
    return {
        "global": {
            "clusterName": "dev",
            "region": "us-west-2",
            "gpuSharing": dict(resources),
            "mpsSharing": {"halves": True},
        },
        "karpenter-nodepools": {"nodePools": {"shared": {"accelerator": "nvidia", "sharing": share}}},
        "nvidia-device-plugin": {"configs": {key: ENTRIES[key] for key in {share, *resources, "time-slicing"}}},
        "vllm": {"models": {"tiny": model}},
    }


@pytest.mark.parametrize(("share", "resource"), [("time-slicing", GPU), ("halves", SHARED), ("small", SLICE)])
def test_one_name_leads_from_the_pod_to_the_plugin(render_chart: RenderChart, share: str, resource: str) -> None:
    manifests = render_chart(UMBRELLA, values(share))
    pool = by_name(manifests, "NodePool")["shared"]
    assert labels_of_nodes(pool)[LABEL] == share
    assert taints(pool) == {GPU: "NoSchedule", LABEL: "NoSchedule"}
    (configs,) = (each["data"] for each in by_name(manifests, "ConfigMap").values() if "time-slicing" in each["data"])
    assert share in configs
    (pod,) = (
        each["spec"]["template"]["spec"] for name, each in by_name(manifests, "Deployment").items() if "tiny" in name
    )
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": LABEL, "operator": "In", "values": [share]}]
    assert "karpenter.sh/nodepool" not in pod.get("nodeSelector", {}), "the pool of whole GPUs is left out"
    assert {"key": LABEL, "operator": "Equal", "value": share, "effect": "NoSchedule"} in pod["tolerations"]
    resources = pod["containers"][0]["resources"]
    assert {key for key in resources["limits"] if key.startswith("nvidia.com/")} == {resource}
    assert resources["limits"][resource] == resources["requests"][resource] == "1"
    assert _has_own_shared_memory(pod) == (share != "halves")


def _has_own_shared_memory(pod: Mapping[str, Any]) -> bool:
    """Whether a volume of the pod would hide the /dev/shm that the device plugin mounts for MPS."""
    return any(mount["mountPath"] == "/dev/shm" for mount in pod["containers"][0]["volumeMounts"])


def test_pods_of_every_chart_leave_the_mps_daemons_shared_memory(render_chart: RenderChart) -> None:
    sharing = {"mpsSharing": {"halves": True}}
    accelerator = {"kind": "nvidia", "share": "halves", "pool": ""}
    for name, shared in (("halves", True), ("other", False)):
        wanted = {**accelerator, "share": name}
        profile = {"enabled": True, "accelerator": wanted, "sharedMemory": "1Gi"}
        hub = render_chart("jupyterhub", {"global": sharing, "singleuser": {"profiles": {"share": profile}}})
        (files,) = (each["data"] for each in by_name(hub, "ConfigMap").values() if "profiles.yaml" in each["data"])
        server = yaml.safe_load(files["profiles.yaml"])["profiles"]["share"]["template"]["spec"]
        assert _has_own_shared_memory(server) != shared
        assert ("shared-memory" in {volume["name"] for volume in server["volumes"]}) != shared
        workers = {"research": {"workers": {"gpu": {"accelerator": wanted}}}}
        (ray,) = by_name(render_chart("kuberay", {"global": sharing, "rayClusters": workers}), "RayCluster").values()
        worker = ray["spec"]["workerGroupSpecs"][0]["template"]["spec"]
        assert _has_own_shared_memory(worker) != shared


def test_a_pool_can_be_named_as_well(render_chart: RenderChart) -> None:
    manifests = render_chart(UMBRELLA, values("time-slicing", {"pool": "shared"}))
    (pod,) = (
        each["spec"]["template"]["spec"] for name, each in by_name(manifests, "Deployment").items() if "tiny" in name
    )
    assert pod["nodeSelector"]["karpenter.sh/nodepool"] == "shared"


def test_training_and_headroom_take_a_share_as_a_model_does(render_chart: RenderChart) -> None:
    """One share of a GPU, on nodes that share, whose taint they tolerate."""
    accelerator = {"kind": "nvidia", "share": "halves"}
    chosen = values("halves")
    training = {
        "data": "s3://bucket/data",
        "baseModel": "s3://bucket/base",
        "models": "s3://bucket/made",
        "deployment": {"enabled": False},
    }
    chosen["argo"] = {
        "enabled": True,
        "artifactRepository": {"bucket": "artifacts"},
        "pipelines": {"tune": {**training, "accelerator": accelerator}},
    }
    chosen["tenancy"] = {"enabled": True, "headroom": {"spare": {"accelerator": accelerator}}}
    manifests = render_chart(UMBRELLA, chosen)
    (workflow,) = by_name(manifests, "WorkflowTemplate").values()
    (stage,) = (each for each in workflow["spec"]["templates"] if each["name"] == "fine-tuning")
    (spare,) = (each for name, each in by_name(manifests, "Deployment").items() if "headroom" in name)
    pod = spare["spec"]["template"]["spec"]
    assert not _has_own_shared_memory({"containers": [stage["container"]]})
    for scheduled, container in ((stage, stage["container"]), (pod, pod["containers"][0])):
        assert container["resources"]["limits"][SHARED] == "1"
        assert GPU not in container["resources"]["limits"]
        assert {"key": LABEL, "operator": "Equal", "value": "halves", "effect": "NoSchedule"} in scheduled[
            "tolerations"
        ]


@pytest.mark.parametrize(
    ("accelerator", "reason"),
    [
        ({"count": 2}, r"more shares are not more of a GPU.*set accelerator\.count to 1, not 2"),
        ({"kind": "neuron"}, "only NVIDIA GPUs are shared"),
    ],
)
def test_shares_that_cannot_be(render_chart: RenderChart, accelerator: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=f"(?s){reason}"):
        render_chart(UMBRELLA, values("time-slicing", accelerator))


@pytest.mark.parametrize(
    ("share", "resources", "reason"),
    [
        ("halves", {}, r"pods would ask for nvidia\.com/gpu, and .*configs\.halves offers nvidia\.com/gpu\.shared"),
        ("small", {}, r"global\.gpuSharing\.small: .* offers a resource for each MIG profile"),
        ("time-slicing", {"time-slicing": SHARED}, r"set global\.gpuSharing\.time-slicing to nvidia\.com/gpu"),
    ],
)
def test_pods_and_plugin_agree_on_the_resource(
    render_chart: RenderChart, share: str, resources: Mapping[str, str], reason: str
) -> None:
    with pytest.raises(RenderError, match=f"(?s){reason}"):
        render_chart(UMBRELLA, values(share, resources=resources))


def test_a_profile_that_the_plugin_does_not_have(render_chart: RenderChart) -> None:
    nothing = values("time-slicing")
    nothing["vllm"]["models"]["tiny"]["accelerator"]["share"] = "thirds"
    with pytest.raises(RenderError, match=r"accelerator\.share: 'thirds' is no entry of nvidia-device-plugin\.configs"):
        render_chart(UMBRELLA, nothing)
    stray = values("time-slicing", resources={})
    stray["global"]["gpuSharing"] = {"thirds": SHARED}
    with pytest.raises(RenderError, match=r"global\.gpuSharing\.thirds: it is no entry"):
        render_chart(UMBRELLA, stray)


def test_engines_of_one_gpu_fit_into_its_memory_together(render_chart: RenderChart) -> None:
    greedy = values("time-slicing")
    greedy["vllm"]["models"]["tiny"]["engine"] = {}
    with pytest.raises(RenderError, match=r"4 pods share the GPU, and 0\.9 of its memory .* set 0\.25 or less"):
        render_chart(UMBRELLA, greedy)
    greedy["vllm"]["models"]["tiny"]["engine"] = {"gpuMemoryUtilization": 0.25}
    assert render_chart(UMBRELLA, greedy)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"nodePools": {"shared": {"accelerator": "none", "sharing": "halves"}}}, "only NVIDIA GPUs are shared"),
        ({"nodeClasses": {"gpu": {"amiFamily": "Bottlerocket"}}}, "Bottlerocket brings a device plugin of its own"),
        ({"global": {"clusterName": "dev", "autoMode": {"enabled": True}}}, "EKS Auto Mode brings a device plugin"),
    ],
)
def test_pools_that_cannot_share(render_chart: RenderChart, changed: Mapping[str, Any], reason: str) -> None:
    pool = {"shared": {"accelerator": "nvidia", "sharing": "halves"}}
    with pytest.raises(RenderError, match=reason):
        render_chart("karpenter-nodepools", {"global": {"clusterName": "dev"}, "nodePools": pool, **changed})


def test_auto_mode_has_no_shares(render_chart: RenderChart) -> None:
    own = values("time-slicing")
    own["karpenter-nodepools"] = {}
    own["global"]["autoMode"] = {"enabled": True}
    with pytest.raises(RenderError, match="EKS Auto Mode shares no GPUs"):
        render_chart(UMBRELLA, own)
