"""Pain 1: GPU pods stay Pending, because their requests and the node pools do not meet."""

from typing import Any

import pytest

from drydock.testing.pytest_plugin import RenderChart
from tests.checks.helpers import findings as findings_in
from tests.pains.suite import MODEL, findings, platform
from tests.scheduling.builders import pod_spec, pool

SOURCE = MODEL["source"]
COUNTED = "karpenter.k8s.aws/instance-gpu-count"


def models(**by_name: Any) -> dict[str, Any]:
    return {"vllm": {"models": {name: {"source": SOURCE, **model} for name, model in by_name.items()}}}


@pytest.mark.parametrize(
    ("accelerator", "host"),
    [
        ({"kind": "nvidia", "count": 1}, "gpu"),
        ({"kind": "nvidia", "count": 8, "gpuNames": ["h100"]}, "gpu"),
        ({"kind": "neuron", "count": 1}, "neuron"),
        ({"kind": "none"}, "general-cpu"),
    ],
)
def test_a_pod_and_the_pool_of_its_accelerator_always_meet(
    render_chart: RenderChart, accelerator: dict[str, Any], host: str
) -> None:
    subject = platform(render_chart, charts=models(small={"accelerator": accelerator}))
    assert findings(subject, "pod-feasibility", "daemon-feasibility") == []
    (verdict,) = [each for each in subject.verdicts if not each.pod.is_daemon]
    assert host in [each.pool.name for each in verdict.pools if each.hosts]


def test_a_model_without_an_accelerator_stays_off_accelerated_nodes(render_chart: RenderChart) -> None:
    subject = platform(render_chart, charts=models(small={"accelerator": {"kind": "none"}}))
    (verdict,) = [each for each in subject.verdicts if not each.pod.is_daemon]
    assert {each.pool.name for each in verdict.pools if each.hosts}.isdisjoint({"gpu", "neuron"})


def test_each_pool_is_told_with_what_excludes_it(render_chart: RenderChart) -> None:
    single = {"gpu": {"requirements": {COUNTED: {"operator": "In", "values": ["1"]}}}}
    subject = platform(
        render_chart, pools=single, charts=models(large={"accelerator": {"kind": "nvidia", "count": 8, "pool": ""}})
    )
    (found,) = findings(subject, "pod-feasibility")
    assert found.pain == 1
    assert "gpu: the pod needs 8 nvidia.com/gpu" in found.reason
    assert "the other pools have no nvidia.com/gpu" in found.reason


def test_a_pod_inside_a_custom_resource_is_judged_too() -> None:
    ray = f"""
apiVersion: ray.io/v1
kind: RayCluster
metadata: {{name: ray}}
spec:
  workerGroupSpecs:
    - replicas: 1
      template: {{spec: {pod_spec({"nvidia.com/gpu": 1}, nodeSelector={"team": "other"})}}}
"""
    family = ("karpenter.k8s.aws/instance-family", "In", ["g6"])
    (found,) = findings_in(pool(requirements=[family]) + ray, "pod-feasibility")
    assert "team" in found.reason
    assert findings_in(pool(requirements=[family], labels={"team": "other"}) + ray, "pod-feasibility") == []
