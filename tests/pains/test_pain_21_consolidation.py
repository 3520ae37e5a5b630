"""Pain 21: Karpenter moves a model that is loading or answering."""

import pytest

from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import findings, objects, platform


@pytest.mark.parametrize("name", ["gpu", "neuron", "mine"])
def test_only_empty_accelerated_nodes_go_and_one_at_a_time(render_chart: RenderChart, name: str) -> None:
    subject = platform(render_chart, pools={"mine": {"accelerator": "nvidia"}})
    spec = objects(subject, "NodePool")[name].content["spec"]
    assert spec["disruption"] == {
        "consolidationPolicy": "WhenEmpty",
        "consolidateAfter": "10m",
        "budgets": [{"nodes": "1"}],
    }


def test_models_have_longer_than_their_own_grace_period_to_drain(render_chart: RenderChart) -> None:
    subject = platform(render_chart)
    assert not findings(subject, "consolidation-of-models", "termination-grace", "drain-longer-than-grace")
    node = objects(subject, "NodePool")["gpu"].content["spec"]["template"]["spec"]["terminationGracePeriod"]
    (model,) = objects(subject, "Deployment").values()
    grace = model.content["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert node == "1h"
    assert grace < 3600


def test_a_pool_that_would_move_models_is_found(render_chart: RenderChart) -> None:
    hasty = {"disruption": {"consolidationPolicy": "WhenEmptyOrUnderutilized"}}
    assert findings(platform(render_chart, pools={"gpu": hasty}), "consolidation-of-models")
