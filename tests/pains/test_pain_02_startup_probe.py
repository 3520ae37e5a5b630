"""Pain 2: a probe kills the engine while it loads."""

from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import HUB, container, render, the


@pytest.mark.parametrize(("size", "mebibytes"), [("15Gi", 15 * 1024), ("642Gi", 642 * 1024), ("1Ti", 1024 * 1024)])
@pytest.mark.parametrize(("throughput", "compile_seconds"), [(50, 600), (400, 0)])
def test_the_startup_probe_lasts_as_long_as_the_weights_take(
    render_chart: RenderChart, size: str, mebibytes: int, throughput: int, compile_seconds: int
) -> None:
    startup = {"throughput": throughput, "compileSeconds": compile_seconds}
    manifests = render(render_chart, {"source": {**HUB, "size": size}, "startup": startup})
    spec = the(manifests, "Deployment")["spec"]
    probe = spec["template"]["spec"]["containers"][0]["startupProbe"]
    seconds = probe["periodSeconds"] * probe["failureThreshold"]
    assert seconds >= mebibytes // throughput + compile_seconds
    assert spec["progressDeadlineSeconds"] > seconds, "a rollout would be given up before"


def test_liveness_waits_for_the_startup_probe(render_chart: RenderChart) -> None:
    server = container(render_chart, {})
    assert server["startupProbe"]["httpGet"] == server["livenessProbe"]["httpGet"]
    assert "initialDelaySeconds" not in server["livenessProbe"]
    assert server["livenessProbe"]["periodSeconds"] * server["livenessProbe"]["failureThreshold"] >= 60


def test_probes_can_be_made_to_measure(render_chart: RenderChart) -> None:
    own: dict[str, Any] = {"periodSeconds": 30, "timeoutSeconds": 20, "failureThreshold": 9}
    model = {"probes": {"liveness": own, "readiness": own}, "startup": {"timeoutSeconds": 4000, "periodSeconds": 20}}
    server = container(render_chart, model)
    for kind in "livenessProbe", "readinessProbe":
        assert {key: server[kind][key] for key in own} == own
    assert (server["startupProbe"]["periodSeconds"], server["startupProbe"]["failureThreshold"]) == (20, 200)


def test_a_startup_probe_too_short_for_the_weights_is_refused(render_chart: RenderChart) -> None:
    reason = r"models.small.startup.timeoutSeconds: 300 s end before 15Gi have arrived at 50 MiB/s .* set 907 or more"
    with pytest.raises(RenderError, match=reason):
        render(render_chart, {"startup": {"timeoutSeconds": 300}})


def test_a_model_of_unknown_size_is_refused(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match=r"models.small.source.size: the startup probe, .* are sized by it"):
        render(render_chart, {"source": {"huggingFace": {"id": "some/model"}}})
