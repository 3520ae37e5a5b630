"""Pain 14: a volume is in the wrong zone."""

from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import pod, render

CLAIM: dict[str, Any] = {"cache": {"type": "persistentVolumeClaim"}}
SHARED: dict[str, Any] = {
    "cache": {"type": "persistentVolumeClaim", "accessMode": "ReadWriteMany", "storageClass": "efs"}
}
WEIGHTS: dict[str, Any] = {"source": {"size": "15Gi", "claim": {"name": "weights"}}}
IN_ONE_ZONE: dict[str, Any] = {"scheduling": {"zone": "us-west-2a"}}
ZONES = {"zones": ["us-west-2a", "us-west-2b"]}


@pytest.mark.parametrize("storage", [CLAIM, WEIGHTS])
def test_a_volume_of_one_zone_needs_a_pod_of_one_zone(render_chart: RenderChart, storage: Any) -> None:
    for shared in {}, ZONES:
        with pytest.raises(
            RenderError, match=r"exists in one zone, .*: set scheduling.zone, or accessMode to ReadWriteMany"
        ):
            render(render_chart, storage, **{"global": shared})
    spec = pod(render_chart, {**storage, **IN_ONE_ZONE}, **{"global": ZONES})
    assert spec["nodeSelector"]["topology.kubernetes.io/zone"] == "us-west-2a"


def test_a_platform_of_one_zone_needs_no_more(render_chart: RenderChart) -> None:
    assert pod(render_chart, CLAIM, **{"global": {"zones": ["us-west-2a"]}})


@pytest.mark.parametrize("storage", [CLAIM, WEIGHTS])
@pytest.mark.parametrize("scale", [{"replicas": 2}, {"autoscaling": {"enabled": True}}])
def test_a_volume_of_one_node_is_not_for_two_pods(render_chart: RenderChart, storage: Any, scale: Any) -> None:
    reason = r"models.small.(cache|source.claim): only one node can mount .* the model may have 2 pods: set accessMode"
    with pytest.raises(RenderError, match=reason):
        render(render_chart, {**storage, **IN_ONE_ZONE, **scale})


def test_two_pods_share_a_volume_that_every_zone_reaches(render_chart: RenderChart) -> None:
    assert pod(render_chart, {**SHARED, "replicas": 2}, **{"global": ZONES})
    weights = {"source": {"size": "15Gi", "claim": {"name": "weights", "accessMode": "ReadOnlyMany"}}}
    assert pod(render_chart, {**weights, "replicas": 2}, **{"global": ZONES})


def test_ebs_is_not_taken_for_shared_storage(render_chart: RenderChart) -> None:
    without_class = {"cache": {"type": "persistentVolumeClaim", "accessMode": "ReadWriteMany"}}
    with pytest.raises(RenderError, match=r"models.small.cache.storageClass: EBS, .* has no ReadWriteMany volumes"):
        render(render_chart, without_class)
    assert pod(render_chart, without_class, **{"global": {"storageClass": "efs"}})


def test_a_zone_that_the_platform_does_not_use_is_refused(render_chart: RenderChart) -> None:
    reason = r"models.small.scheduling.zone: us-west-2c is not a zone of .*: set one of us-west-2a, us-west-2b"
    with pytest.raises(RenderError, match=reason):
        render(render_chart, {"scheduling": {"zone": "us-west-2c"}}, **{"global": ZONES})
