"""Pain 3: the context does not fit into the GPU's memory."""

from typing import Any

import pytest

from drydock.checks.findings import Severity
from drydock.testing.pytest_plugin import RenderChart
from tests.pains.suite import findings, platform

CHECKS = ("engine-memory", "engine-memory-uncertain", "engine-concurrency", "engine-unknown-model")


def served(render_chart: RenderChart, **model: Any) -> list[Any]:
    source = {"huggingFace": {"id": model.pop("id", "meta-llama/Llama-3.1-8B-Instruct")}, "size": "15Gi"}
    accelerator = {"kind": "nvidia", "count": 1, "pool": "gpu", "gpuNames": ["l4"], **model.pop("accelerator", {})}
    small = {"source": source, "accelerator": accelerator, **model}
    return findings(platform(render_chart, charts={"vllm": {"models": {"small": small}}}), *CHECKS)


def test_a_context_longer_than_the_cache_is_an_error_that_names_the_longest(render_chart: RenderChart) -> None:
    (finding,) = served(render_chart)  # 131,072 tokens by the model's own configuration
    assert finding.check == "engine-memory"
    assert finding.severity is Severity.ERROR
    assert "does not start on l4" in finding.reason
    longest = int(finding.remedy.partition("maxModelLen to ")[2].partition(" ")[0].replace(",", ""))
    assert [each.check for each in served(render_chart, engine={"maxModelLen": longest})] == ["engine-concurrency"]
    (doubtful,) = served(render_chart, engine={"maxModelLen": longest + 512})
    assert (doubtful.check, doubtful.severity) == ("engine-memory-uncertain", Severity.WARNING)
    assert "a first start, which compiles the model" in doubtful.reason
    assert f"maxModelLen to {longest:,} or less" in doubtful.remedy
    assert served(render_chart, engine={"maxModelLen": longest // 4}) == []


def test_the_length_of_the_warning_is_one_that_ends_it(render_chart: RenderChart) -> None:
    (finding,) = served(render_chart, engine={"maxModelLen": 16384})
    assert finding.severity is Severity.WARNING
    length = int(finding.remedy.partition("maxModelLen to ")[2].partition(" ")[0].replace(",", ""))
    assert served(render_chart, engine={"maxModelLen": length}) == []


@pytest.mark.parametrize(
    ("engine", "accelerator"),
    [
        ({"quantization": "fp8"}, {}),
        ({"maxModelLen": 32768, "kvCacheDtype": "fp8"}, {"count": 4}),
        ({}, {"count": 4}),
        ({"gpuMemoryUtilization": 0.95, "maxModelLen": 12288}, {}),
    ],
)
def test_what_gives_room_counts(render_chart: RenderChart, engine: Any, accelerator: Any) -> None:
    found = served(render_chart, engine={"maxModelLen": 24576, **engine}, accelerator=accelerator)
    assert found == []


def test_weights_larger_than_the_gpu_name_what_holds_them(render_chart: RenderChart) -> None:
    (finding,) = served(render_chart, id="Qwen/Qwen3-32B", engine={"maxModelLen": 8192})
    assert finding.severity is Severity.ERROR
    assert "4 GPUs of the kind" in finding.remedy
    assert served(render_chart, id="Qwen/Qwen3-32B", engine={"maxModelLen": 8192}, accelerator={"count": 4}) == []


def test_weights_in_the_memory_of_the_node_leave_room(render_chart: RenderChart) -> None:
    engine = {"maxModelLen": 24576, "cpuOffloadGb": 8}
    assert served(render_chart, engine=engine, resources={"memory": "40Gi"}) == []


def test_a_model_that_nobody_knows_is_a_note_and_no_error(render_chart: RenderChart) -> None:
    (finding,) = served(render_chart, id="org/own-model")
    assert finding.check == "engine-unknown-model"
    assert finding.severity is Severity.NOTE


def test_weights_in_a_folder_are_known_by_the_name_in_requests(render_chart: RenderChart) -> None:
    source = {"claim": {"name": "weights", "accessMode": "ReadOnlyMany"}, "size": "15Gi"}
    engine = {"servedModelName": "llama-3.1-8b"}
    (finding,) = served(render_chart, source=source, engine=engine)
    assert "taken for llama-3.1-8b" in finding.reason


def test_copies_of_a_model_in_eight_bits_take_half(render_chart: RenderChart) -> None:
    fp8 = "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic"
    assert served(render_chart, id=fp8, engine={"maxModelLen": 24576}) == []
