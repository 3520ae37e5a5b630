"""Pain 10: a rollout waits for a GPU that is not to be had."""

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import render, the


def test_a_rollout_frees_a_gpu_before_it_needs_one(render_chart: RenderChart) -> None:
    strategy = the(render(render_chart, {"replicas": 4}), "Deployment")["spec"]["strategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}}


def test_a_single_pod_is_gone_before_its_successor_asks_for_a_gpu(render_chart: RenderChart) -> None:
    for model in {"replicas": 1}, {"autoscaling": {"enabled": True, "maxReplicas": 1}}:
        assert the(render(render_chart, model), "Deployment")["spec"]["strategy"] == {"type": "Recreate"}


def test_whoever_has_gpus_to_spare_may_say_so(render_chart: RenderChart) -> None:
    strategy = the(render(render_chart, {"rollout": {"maxSurge": 1, "maxUnavailable": 0}}), "Deployment")
    assert strategy["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


def test_a_rollout_that_can_never_begin_is_refused(render_chart: RenderChart) -> None:
    with pytest.raises(
        RenderError, match=r"models.small.rollout: maxSurge 0 and maxUnavailable 0 let no rollout begin"
    ):
        render(render_chart, {"rollout": {"maxUnavailable": 0}})


def test_a_new_pod_does_not_wait_for_the_volume_of_the_old_one(render_chart: RenderChart) -> None:
    model = {
        "cache": {"type": "persistentVolumeClaim"},
        "scheduling": {"zone": "us-west-2a"},
        "rollout": {"maxSurge": 1},
    }
    with pytest.raises(RenderError, match=r"would wait for the old one indefinitely: set rollout.maxSurge to 0"):
        render(render_chart, model)


def test_a_drain_is_not_held_back_by_a_model_with_one_pod(render_chart: RenderChart) -> None:
    assert "PodDisruptionBudget" not in {each.kind for each in render(render_chart, {"replicas": 1})}
