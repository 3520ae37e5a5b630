"""Pain 23: Karpenter does not know of shared GPUs."""

from collections.abc import Mapping
from typing import Any

import pytest

from drydock.checks.subject import Subject
from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import MODEL, findings, objects, platform

LABEL = "nvidia.com/device-plugin.config"
SHARED = "nvidia.com/gpu.shared"
RENAMED = {"strategy": "time-slicing", "replicas": 4, "renameByDefault": True}
OVERLAY = {
    "quarters": {
        "requirements": {LABEL: {"operator": "In", "values": ["time-slicing"]}},
        "capacity": {SHARED: 4},
    }
}


def shared(render_chart: RenderChart, *, renamed: bool = False, overlays: Mapping[str, Any] | None = None) -> Subject:
    """Four small models on shares of the pool `shared`, and one on a whole GPU."""
    share = {"accelerator": {"kind": "nvidia", "share": "time-slicing"}, "engine": {"gpuMemoryUtilization": 0.2}}
    tiny = {"source": {"huggingFace": {"id": "org/tiny"}, "size": "1Gi"}, **share}
    models = {f"tiny-{number}": tiny for number in range(4)}
    pool = {"accelerator": "nvidia", "sharing": "time-slicing", "limits": {"nvidia.com/gpu": 4}}
    charts: dict[str, Any] = {
        "vllm": {"models": {"small": MODEL, **models}},
        "karpenter-nodepools": {"nodePools": {"shared": pool}, "nodeOverlays": dict(overlays or {})},
    }
    if renamed:
        charts["global"] = {
            "clusterName": "dev",
            "region": "us-west-2",
            "gpuSharing": {"time-slicing": SHARED},
        }
        charts["nvidia-device-plugin"] = {"configs": {"time-slicing": {"sharing": RENAMED}}}
    return platform(render_chart, charts=charts)


def hosts(subject: Subject) -> dict[str, set[str]]:
    """Pools by model."""
    return {
        verdict.pod.manifest.name: {each.pool.name for each in verdict.pools if each.hosts}
        for verdict in subject.verdicts
        if verdict.pod.manifest.kind == "Deployment" and "vllm" in verdict.pod.manifest.name
    }


def test_shares_go_to_nodes_that_share_and_whole_gpus_to_others(render_chart: RenderChart) -> None:
    subject = shared(render_chart)
    found = hosts(subject)
    assert {name[-6:]: pools for name, pools in found.items() if "tiny" in name} == {
        f"tiny-{number}": {"shared"} for number in range(4)
    }
    assert [pools for name, pools in found.items() if "tiny" not in name] == [{"gpu"}]
    assert not findings(subject, "pod-feasibility", "device-plugin-missing")


def test_karpenter_does_not_know_a_renamed_share(render_chart: RenderChart) -> None:
    found = findings(shared(render_chart, renamed=True), "pod-feasibility")
    assert len(found) == 4
    for each in found:
        assert f"the pod needs 1 {SHARED}, and no instance type of it has any" in each.reason
        assert "declare nvidia.com/gpu.shared with a NodeOverlay" in each.remedy


def test_an_overlay_tells_karpenter(render_chart: RenderChart) -> None:
    subject = shared(render_chart, renamed=True, overlays=OVERLAY)
    assert not findings(subject, "pod-feasibility", "device-plugin-missing")
    assert all(pools == {"shared"} for name, pools in hosts(subject).items() if "tiny" in name)
    elsewhere = {"quarters": {**OVERLAY["quarters"], "requirements": {LABEL: {"operator": "In", "values": ["halves"]}}}}
    assert len(findings(shared(render_chart, renamed=True, overlays=elsewhere), "pod-feasibility")) == 4


def test_claimed_gpus_need_nodes_that_are_there(render_chart: RenderChart) -> None:
    model = {**MODEL, "accelerator": {"kind": "nvidia", "count": 2, "dynamicResourceAllocation": True}}
    pool: dict[str, Any] = {"accelerator": "nvidia", "dynamicResourceAllocation": True}
    charts = {"vllm": {"models": {"small": model}}}
    with pytest.raises(RenderError, match="Karpenter buys no node for a pod with resource claims"):
        platform(render_chart, pools={"claimed": pool}, charts=charts)
    (found,) = findings(platform(render_chart, charts=charts), "pod-feasibility")
    assert "claims devices by DRA" in found.reason
    subject = platform(render_chart, pools={"claimed": {**pool, "replicas": 1}}, charts=charts)
    assert not findings(subject, "pod-feasibility", "device-plugin-on-other-nodes")
    assert list(hosts(subject).values()) == [{"claimed"}]
    (template,) = objects(subject, "ResourceClaimTemplate").values()
    (request,) = template.content["spec"]["spec"]["devices"]["requests"]
    assert request["exactly"] == {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount", "count": 2}
    (pod,) = (each.pod for each in subject.verdicts if "vllm" in each.pod.manifest.name)
    (claim,) = pod.spec["resourceClaims"]
    assert claim["resourceClaimTemplateName"] == template.name
    resources = pod.spec["containers"][0]["resources"]
    assert resources["claims"] == [{"name": claim["name"]}]
    assert "nvidia.com/gpu" not in resources["limits"]


def test_more_than_one_share_is_refused(render_chart: RenderChart) -> None:
    model = {**MODEL, "accelerator": {"kind": "nvidia", "share": "time-slicing", "count": 2}}
    with pytest.raises(RenderError, match="more shares are not more of a GPU"):
        platform(render_chart, charts={"vllm": {"models": {"small": model}}})
