"""Pain 16: the token is missing, or under another key."""

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import HUB, S3, container, environment, render

GATED = {**HUB, "huggingFace": {"id": "some/model", "gated": True}}


def test_a_gated_model_does_not_start_without_its_token(render_chart: RenderChart) -> None:
    token = environment(container(render_chart, {"source": GATED}))["HF_TOKEN"]
    assert token == {"secretKeyRef": {"name": "hf-secret", "key": "hf_api_token"}}


def test_the_secret_is_where_the_values_say(render_chart: RenderChart) -> None:
    secret = {"name": "hub", "key": "token"}
    source = {**GATED, "huggingFace": {"id": "some/model", "gated": True, "tokenSecret": secret}}
    assert environment(container(render_chart, {"source": source}))["HF_TOKEN"] == {"secretKeyRef": secret}


def test_a_gated_model_without_a_secret_is_refused(render_chart: RenderChart) -> None:
    source = {**GATED, "huggingFace": {"id": "some/model", "gated": True, "tokenSecret": {"name": ""}}}
    with pytest.raises(RenderError, match=r"models.small.source.huggingFace: the Hub asks for a token for some/model"):
        render(render_chart, {"source": source})


def test_an_open_model_starts_without_a_token_and_uses_one_that_is_there(render_chart: RenderChart) -> None:
    token = environment(container(render_chart, {}))["HF_TOKEN"]
    assert token["secretKeyRef"] == {"name": "hf-secret", "key": "hf_api_token", "optional": True}
    without = {**HUB, "huggingFace": {"id": "some/model", "tokenSecret": {"name": ""}}}
    assert "HF_TOKEN" not in environment(container(render_chart, {"source": without}))


def test_a_model_from_elsewhere_gets_no_token(render_chart: RenderChart) -> None:
    assert "HF_TOKEN" not in environment(container(render_chart, {"source": S3}))


@pytest.mark.parametrize("name", ["HF_TOKEN", "VLLM_API_KEY", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD"])
def test_no_credential_can_be_written_into_values(render_chart: RenderChart, name: str) -> None:
    with pytest.raises(RenderError, match=rf"models.small.extraEnv.{name}: "):
        render(render_chart, {"extraEnv": {name: "changeme"}})


@pytest.mark.parametrize("name", ["hf-token", "api-key"])
def test_no_credential_can_be_an_argument(render_chart: RenderChart, name: str) -> None:
    with pytest.raises(RenderError, match=rf"models.small.extraArgs.{name}: .* is readable to all users; set"):
        render(render_chart, {"extraArgs": {name: "changeme"}})
