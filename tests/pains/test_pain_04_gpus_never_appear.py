"""Pain 4: a node's GPUs never appear, because no device plugin lands on it."""

from typing import Any

import pytest

from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import findings, objects, platform, pool_named

PLUGIN = "genai-nvidia-device-plugin"


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"taints": {"team": {"value": "ml", "effect": "NoExecute"}, "other": {"effect": "NoSchedule"}}},
        {"startupTaints": {"starting": {"effect": "NoSchedule"}}},
        {"labels": {"nvidia.com/device-plugin.config": "time-slicing"}},
    ],
    ids=["default", "more taints", "startup taints", "shared"],
)
def test_the_plugin_lands_on_every_nvidia_pool(render_chart: RenderChart, settings: Any) -> None:
    mine = {"accelerator": "nvidia", **settings}
    subject = platform(render_chart, pools={"gpu": settings, "mine": mine})
    assert not findings(subject, "device-plugin-missing")
    pod = objects(subject, "DaemonSet")[PLUGIN].content["spec"]["template"]["spec"]
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    ((expression,),) = [term["matchExpressions"] for term in required["nodeSelectorTerms"]]
    for name in "gpu", "mine":
        assert pool_named(subject, name).labels[expression["key"]] in expression["values"]
    assert {"operator": "Exists"} in pod["tolerations"]


def test_without_the_plugin_validate_finds_it(render_chart: RenderChart) -> None:
    subject = platform(render_chart, charts={"nvidia-device-plugin": {"enabled": False}})
    assert findings(subject, "device-plugin-missing")
