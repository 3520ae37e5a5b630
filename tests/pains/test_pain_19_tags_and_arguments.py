"""Pain 19: a moved tag or a removed argument stops the engine."""

from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import container, render


@pytest.mark.parametrize("kind", ["nvidia", "neuron", "none"])
def test_images_are_releases(render_chart: RenderChart, kind: str) -> None:
    tag = container(render_chart, {"accelerator": {"kind": kind}})["image"].rpartition(":")[2]
    assert any(character.isdigit() for character in tag)
    assert "latest" not in tag


def test_latest_is_refused(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match="vllm-openai:latest can change under a running release"):
        render(render_chart, {"image": {"tag": "latest", "vllmVersion": "0.26.0"}})


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            {"extraArgs": {"disable-log-requests": True}},
            r"extraArgs.disable-log-requests: vLLM 0.26.0 does not know .* any more .*: requests are not",
        ),
        ({"extraArgs": {"swap-space": 4}}, r"does not know --swap-space any more"),
        ({"extraArgs": {"rope-theta": 1}}, r"set engine.hfOverrides with rope_parameters"),
        ({"extraArgs": {"max-modle-len": 1}}, r"vLLM 0.26.0 does not know --max-modle-len and would not start"),
        ({"extraArgs": {"no-async-scheduling": True}}, r"set async-scheduling to false in its place"),
        ({"extraArgs": {"async-scheduling": "no"}}, r"is turned on and off: set true or false"),
        ({"extraArgs": {"max-logprobs": True}}, r"needs a value, and true or false is not one"),
        ({"extraArgs": {"disable-log-stats": False}}, r"can only be turned on: leave it out"),
        ({"extraArgs": {"max-model-len": 1}, "engine": {"maxModelLen": 2}}, r"--max-model-len is set already"),
        ({"extraArgs": {"tensor-parallel-size": 1}}, r"--tensor-parallel-size is set already"),
        ({"extraArgs": {"port": 80}}, r"--port is not taken: set service.port"),
        ({"extraArgs": {"config": "/x"}}, r"--config is not taken: a file would hide its arguments"),
        ({"engine": {"kvCacheDtype": "fp9"}}, r"engine.kvCacheDtype: 'fp9' is not accepted by --kv-cache-dtype .*"),
        ({"engine": {"toolCallParser": "llama3"}}, r"engine.toolCallParser: 'llama3' .* set one of .*llama3_json"),
        ({"engine": {"reasoningParser": "qwen"}}, r"engine.reasoningParser: 'qwen' .* set one of .*qwen3"),
        ({"engine": {"maxLoraRank": 17}}, r"engine.maxLoraRank: '17' .* set one of 1, "),
    ],
)
def test_arguments_that_the_release_would_not_start_with(render_chart: RenderChart, model: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=rf"models\.small\..*{reason}"):
        render(render_chart, model)


def test_arguments_are_those_of_the_release_in_the_image(render_chart: RenderChart) -> None:
    older = {"accelerator": {"kind": "neuron"}}
    assert "--swap-space=4" in container(render_chart, {**older, "extraArgs": {"swap-space": 4}})["args"]
    with pytest.raises(RenderError, match=r"vLLM 0.16.0 does not know --performance-mode"):
        render(render_chart, {**older, "extraArgs": {"performance-mode": "balanced"}})


def test_a_release_that_is_not_known_here_has_to_be_named(render_chart: RenderChart) -> None:
    newer: dict[str, Any] = {"image": {"tag": "v0.99.0"}, "extraArgs": {"max-logprobs": 20}}
    with pytest.raises(
        RenderError, match=r"vLLM '0.99.0' are not known here, only those of 0.16.0 and 0.26.0: set image"
    ):
        render(render_chart, newer)
    newer["image"]["vllmVersion"] = "v0.26.0"
    assert "--max-logprobs=20" in container(render_chart, newer)["args"]


def test_a_build_of_ones_own_may_know_other_arguments(render_chart: RenderChart) -> None:
    own = {"image": {"tag": "mine-7", "vllmVersion": "unchecked"}, "extraArgs": {"of-my-own": 1}}
    assert "--of-my-own=1" in container(render_chart, own)["args"]
    with pytest.raises(RenderError, match="--api-key is not taken"):
        render(render_chart, {**own, "extraArgs": {"api-key": "x"}})
