"""Pain 17: NCCL fails for want of /dev/shm."""

from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.scheduling.instance_types.quantity import amount
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import pod, render, volumes


@pytest.mark.parametrize("accelerator", [{"count": 1}, {"count": 8}, {"kind": "neuron", "count": 12}])
def test_shared_memory_grows_with_the_engine_and_fits_its_memory(render_chart: RenderChart, accelerator: Any) -> None:
    spec = pod(render_chart, {"accelerator": accelerator})
    shared = volumes(spec)["/dev/shm"]["emptyDir"]
    assert shared["medium"] == "Memory"
    size = amount("memory", shared["sizeLimit"])
    assert size >= accelerator["count"] * 1024**3
    assert size <= amount("memory", spec["containers"][0]["resources"]["limits"]["memory"]) / 2


@pytest.mark.parametrize("resources", [{"sharedMemory": "6Gi"}, {"memory": "3Gi"}])
def test_shared_memory_that_leaves_the_engine_too_little_is_refused(render_chart: RenderChart, resources: Any) -> None:
    with pytest.raises(
        RenderError, match=r"models.small.resources: what is written to /dev/shm .* set memory to twice"
    ):
        render(render_chart, {"resources": resources})
