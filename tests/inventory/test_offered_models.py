"""`drydock models`: who may use which model, what it costs, and where it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import Drydock

PROFILE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
VALUES = {
    "model-gateway": {
        "providers": {"aws": {"kind": "bedrock"}},
        "models": {
            "llama-3-8b": {
                "prices": {"inputPerMillionTokens": 0.2, "outputPerMillionTokens": 0.6},
                "tokensPerMinute": 5000,
                "fallbacks": ["claude"],
            },
            "llama-3-70b": {"enabled": False},
            "claude": {"provider": "aws", "id": PROFILE},
            "abroad": {"provider": "aws", "id": "eu.amazon.nova-lite-v1:0"},
            "drawing": {"url": "http://sdxl.genai.svc:8000"},
        },
        "dataRegions": ["us-*"],
    }
}


@pytest.fixture(scope="module")
def values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("models") / "hosted.yaml"
    file.write_text(yaml.safe_dump(VALUES))
    return file


@pytest.fixture(scope="module")
def offered(drydock: Drydock, values: Path) -> dict[str, Any]:
    models = json.loads(drydock("models", "prod", "-f", values, "--format", "json").stdout)
    return {model["name"]: model for model in models}


def test_an_engine_has_its_gpus_context_and_objectives(offered: dict[str, Any]) -> None:
    engine = offered["llama-3-8b"]
    assert (engine["runs"], engine["on"], engine["regions"]) == ("engine", "a10g", ["us-west-2"])
    assert engine["context"] == 8192
    assert (engine["input_price"], engine["output_price"]) == (0.2, 0.6)
    assert (engine["requests_per_minute"], engine["tokens_per_minute"]) == (None, 5000)
    assert engine["keys"] == ["batch", "chat"]
    assert engine["fallbacks"] == ["claude"]
    assert engine["objectives"]["ttft_p95_ms"] == 1000


def test_a_hosted_model_has_its_listed_price_and_every_region_of_its_profile(offered: dict[str, Any]) -> None:
    hosted = offered["claude"]
    assert (hosted["runs"], hosted["on"]) == ("hosted", f"bedrock {PROFILE}")
    assert {"us-east-1", "us-west-2"} <= set(hosted["regions"])
    assert (hosted["input_price"], hosted["output_price"], hosted["context"]) == (3.3, 16.5, 200000)
    assert hosted["keys"] == ["chat"]
    assert not hosted["objectives"]


def test_what_the_gateway_does_not_serve_is_left_out(offered: dict[str, Any]) -> None:
    assert set(offered) == {"llama-3-8b", "qwen3-1.7b", "claude", "drawing"}
    assert offered["drawing"]["on"] == "http://sdxl.genai.svc:8000"
    assert offered["qwen3-1.7b"]["on"] == "inf2.8xlarge"


def test_a_key_sees_what_it_may_use(drydock: Drydock, values: Path) -> None:
    head, *rows = drydock("models", "prod", "-f", values, "--key", "batch").stdout.splitlines()
    assert head.startswith("MODEL")
    assert [row.split()[0] for row in rows] == ["llama-3-8b"]
    refused = drydock("models", "prod", "--key", "nobody")
    assert refused.returncode == 2
    assert "Name one of batch, chat." in refused.stderr
