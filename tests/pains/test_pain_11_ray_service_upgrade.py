"""Pain 11: an upgrade of a RayService doubles the GPUs, because a second cluster starts beside the first."""

import json
from typing import Any

import pytest

from drydock.checks.findings import Severity
from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.checks.helpers import findings
from tests.scheduling.builders import pod_spec, pool

GPU = "nvidia.com/gpu"


def ray_service(**spec: Any) -> str:
    groups = [{"replicas": 2, "template": {"spec": pod_spec({GPU: 4})}}]
    content = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": {"name": "ray"},
        "spec": {"rayClusterConfig": {"workerGroupSpecs": groups}, **spec},
    }
    return json.dumps(content)


def gpus(limit: int) -> str:
    return pool(requirements=[("karpenter.k8s.aws/instance-family", "In", ["g6"])], limits={GPU: limit})


def test_a_second_cluster_that_the_pool_has_no_room_for_is_found() -> None:
    (found,) = findings(gpus(8) + ray_service(), "ray-service-upgrade")
    assert (found.pain, found.severity, found.path) == (11, Severity.ERROR, "spec.upgradeStrategy")
    assert f"8 more {GPU}" in found.reason


def test_with_room_for_both_nothing_is_found() -> None:
    assert findings(gpus(16) + ray_service(), "ray-service-upgrade") == []


@pytest.mark.parametrize("kind", ["None", "NewClusterWithIncrementalUpgrade"])
def test_strategies_without_a_second_cluster_of_full_size_need_no_room(kind: str) -> None:
    assert findings(gpus(8) + ray_service(upgradeStrategy={"type": kind}), "ray-service-upgrade") == []


def test_the_chart_starts_no_second_cluster_unless_told(render_chart: RenderChart) -> None:
    model = {"source": {"huggingFace": {"id": "org/model"}}}
    chat: dict[str, Any] = {"llm": {"model": model}}
    (made,) = [each for each in render_chart("kuberay", {"rayServices": {"chat": chat}}) if each.kind == "RayService"]
    assert made.content["spec"]["upgradeStrategy"] == {"type": "None"}
    incremental = {**chat, "upgrade": {"type": "NewClusterWithIncrementalUpgrade"}}
    with pytest.raises(RenderError, match="gatewayClassName is empty"):
        render_chart("kuberay", {"rayServices": {"chat": incremental}})
