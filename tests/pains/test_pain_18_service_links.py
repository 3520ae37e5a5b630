"""Pain 18: a Service called vllm sets VLLM_PORT."""

import pytest

from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import pod


@pytest.mark.parametrize("kind", ["nvidia", "neuron", "none"])
def test_kubernetes_puts_no_services_into_the_environment(render_chart: RenderChart, kind: str) -> None:
    assert pod(render_chart, {"accelerator": {"kind": kind}})["enableServiceLinks"] is False
