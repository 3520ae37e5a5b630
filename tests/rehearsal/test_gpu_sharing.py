"""Pods that share a GPU land on one node, as the device plugin and Karpenter count shares."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from drydock.rehearsal.release import Release
from tests.rehearsal.conftest import InstallDev

GPU, SHARED = "nvidia.com/gpu", "nvidia.com/gpu.shared"
COUNT = "karpenter.k8s.aws/instance-gpu-count"
ONE = {"operator": "In", "values": ["1"]}


def pool(share: str) -> dict[str, Any]:
    """One of nodes with one GPU each."""
    return {"accelerator": "nvidia", "sharing": share, "requirements": {COUNT: ONE}, "limits": {GPU: 1}}


def model(share: str) -> dict[str, Any]:
    """Four small servers that take turns on GPUs."""
    return {
        "source": {"huggingFace": {"id": "org/small"}, "size": "2Gi"},
        "replicas": 4,
        "accelerator": {"kind": "nvidia", "share": share},
        "engine": {"gpuMemoryUtilization": 0.2},
        "resources": {"perAccelerator": {"cpu": "500m", "memory": "2Gi", "sharedMemory": "512Mi"}},
    }


VALUES = {
    "global": {"gpuSharing": {"quarters": SHARED}},
    "nvidia-device-plugin": {
        "configs": {"quarters": {"sharing": {"strategy": "time-slicing", "replicas": 4, "renameByDefault": True}}}
    },
    "karpenter-nodepools": {
        "nodePools": {"sliced": pool("time-slicing"), "renamed": pool("quarters")},
        "nodeOverlays": {
            "quarters": {
                "requirements": {
                    "nvidia.com/device-plugin.config": {"operator": "In", "values": ["quarters"]},
                    COUNT: ONE,
                },
                "capacity": {SHARED: 4},
            }
        },
    },
    "vllm": {"models": {"llama-3-8b": None, "one-name": model("time-slicing"), "other-name": model("quarters")}},
}


@pytest.fixture(scope="module")
def release(install_dev: InstallDev) -> Release:
    """Two models of four pods each, and two pools that may have one GPU each."""
    return install_dev(VALUES)


def nodes(release: Release) -> Mapping[str, Any]:
    """By their pools, each of which has one."""
    return {each["metadata"]["labels"]["karpenter.sh/nodepool"]: each for each in release.scene.of("Node")}


@pytest.mark.parametrize(("component", "name"), [("one-name", "sliced"), ("other-name", "renamed")])
def test_four_pods_are_on_the_one_node_of_their_pool(release: Release, component: str, name: str) -> None:
    where = Counter(
        pod["spec"]["nodeName"]
        for pod in release.scene.of("Pod")
        if pod["metadata"]["labels"].get("app.kubernetes.io/component") == component
    )
    assert where == {nodes(release)[name]["metadata"]["name"]: 4}
    assert len(list(release.scene.of("Node"))) == 2


@pytest.mark.parametrize(("name", "devices"), [("sliced", {GPU: "4"}), ("renamed", {GPU: "0", SHARED: "4"})])
def test_a_node_has_what_the_plugin_registers(release: Release, name: str, devices: Mapping[str, str]) -> None:
    node = nodes(release)[name]
    for part in ("capacity", "allocatable"):
        assert {key: value for key, value in node["status"][part].items() if key.startswith("nvidia.com/")} == devices


def test_karpenter_knows_the_shares_of_its_overlay(release: Release) -> None:
    claims = {each["metadata"]["labels"]["karpenter.sh/nodepool"]: each for each in release.scene.of("NodeClaim")}
    assert claims["renamed"]["spec"]["resources"]["requests"][SHARED] == "4", "all four pods were placed at once"
    assert claims["sliced"]["spec"]["resources"]["requests"][GPU] == "1", "it takes a share for a whole GPU"
