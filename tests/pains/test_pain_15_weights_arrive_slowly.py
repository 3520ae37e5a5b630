"""Pain 15: weights arrive slowly, or the Hub refuses with status 429."""

from typing import Any

import pytest

from drydock.checks.findings import Severity
from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import MODEL, findings, objects, platform

S3 = {"size": "15Gi", "s3": {"uri": "s3://weights/small"}}
CLAIM = {"size": "15Gi", "claim": {"name": "weights", "accessMode": "ReadWriteMany"}}
SHARED_CACHE = {"type": "persistentVolumeClaim", "accessMode": "ReadWriteMany", "storageClass": "efs"}


def _model(**changes: Any) -> dict[str, Any]:
    return {"vllm": {"models": {"small": {**MODEL, **changes}}}}


@pytest.mark.parametrize(
    "several",
    [
        {"replicas": 2},
        {"autoscaling": {"enabled": True, "maxReplicas": 3}},
        {"autoscaling": {"enabled": True, "kind": "ScaledObject", "minReplicas": 0, "maxReplicas": 3}},
    ],
)
def test_several_pods_that_each_ask_the_hub_are_found(render_chart: RenderChart, several: Any) -> None:
    (found,) = findings(platform(render_chart, charts=_model(**several)), "hub-download")
    assert found.severity is Severity.WARNING
    assert "org/small" in found.reason


@pytest.mark.parametrize(
    "changes",
    [{}, {"source": S3, "replicas": 3}, {"source": CLAIM, "replicas": 3}, {"cache": SHARED_CACHE, "replicas": 3}],
)
def test_one_pod_and_shared_weights_are_fine(render_chart: RenderChart, changes: Any) -> None:
    assert not findings(platform(render_chart, charts=_model(**changes)), "hub-download")


def test_the_startup_probe_and_the_rollout_last_as_long_as_the_declared_throughput_asks(
    render_chart: RenderChart,
) -> None:
    slow, fast = (
        objects(platform(render_chart, charts=_model(startup={"throughput": rate})), "Deployment")[
            "genai-vllm-small"
        ].content["spec"]
        for rate in (10, 100)
    )
    probes = [each["template"]["spec"]["containers"][0]["startupProbe"] for each in (slow, fast)]
    seconds = [each["failureThreshold"] * each["periodSeconds"] for each in probes]
    assert seconds[0] - seconds[1] == pytest.approx(15 * 1024 / 10 - 15 * 1024 / 100, abs=20)
    assert slow["progressDeadlineSeconds"] - fast["progressDeadlineSeconds"] == seconds[0] - seconds[1]


def test_less_than_that_is_refused(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match="so the pod would be killed again and again"):
        platform(render_chart, charts=_model(startup={"throughput": 10, "timeoutSeconds": 1000}))
