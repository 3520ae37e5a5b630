"""Models of providers: LiteLLM with this chart's additions before a server with the providers' APIs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from tests.charts.gateway import hosted_models
from tests.charts.gateway.conftest import Mount
from tests.charts.gateway.processes import (
    CHAT,
    MASTER,
    QUESTION,
    Answer,
    Mounts,
    NotYetError,
    Running,
    call,
    start_gateway,
    until,
)
from tests.charts.gateway.providers import TEXT, Providers

pytestmark = pytest.mark.programs

PROFILE = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"
ROLE = {"AWS_ACCESS_KEY_ID": "AKIAROLE", "AWS_SECRET_ACCESS_KEY": "of-the-role", "AWS_SESSION_TOKEN": "session"}
"""What EKS Pod Identity and IRSA come to."""
KEYS = {
    "anthropic": "key-of-anthropic",
    "google": "key-of-google",
    "openai": "key-of-openai",
    "openaicompatible": "key-of-elsewhere",
}
"""API keys of the providers by the name of their Secret."""
PRICED = {"inputPerMillionTokens": 2.0, "outputPerMillionTokens": 4.0}


def _values(port: int, redis: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}"

    def account(kind: str, **others: Any) -> dict[str, Any]:
        return {"kind": kind, "url": url, "apiKeySecret": {"name": kind.lower(), "key": "api_key"}, **others}

    return {
        "replicas": 1,
        "retries": 0,
        "audit": {"stdout": True},
        "redis": {"host": "127.0.0.1", "tls": False, "port": redis},
        "dataRegions": ["eu-*", "contract"],
        "providers": {
            "aws": {"kind": "bedrock", "url": url, "region": "eu-central-1"},
            "anthropic": account("anthropic", regions=["contract"]),
            "openai": account("openai", regions=["contract"]),
            "google": account("google", regions=["contract"]),
            "elsewhere": account("openaiCompatible", regions=["contract"]),
            "unknown": account("openai"),
        },
        "models": {
            "claude": {"provider": "aws", "id": PROFILE, "fallbacks": ["gpt"]},
            "claude-direct": {"provider": "anthropic", "id": "claude-haiku-4-5"},
            "gpt": {"provider": "openai", "id": "gpt-5-mini", "budget": {"amount": 1e9, "days": 10000}},
            "gemini": {"provider": "google", "id": "gemini-2.5-flash"},
            "open-model": {"provider": "elsewhere", "id": "org/open", "prices": PRICED, "fallbacks": ["dear"]},
            "dear": {"provider": "openai", "id": "o3", "budget": {"amount": 0.001, "days": 10000}},
            "vectors": {"provider": "openai", "id": "text-embedding-3-small"},
            "ranks": {"provider": "elsewhere", "id": "org/ranks"},
            "abroad": {"provider": "aws", "id": "us.amazon.nova-lite-v1:0"},
            "anywhere": {"provider": "aws", "id": "global.amazon.nova-2-lite-v1:0"},
            "nowhere": {"provider": "unknown", "id": "gpt-5"},
        },
        "keys": {"team": {"models": ["claude", "vectors"], "perModel": {"vectors": {"requestsPerMinute": 1}}}},
    }


@pytest.fixture(scope="module")
def providers() -> Iterator[Providers]:
    server = Providers()
    yield server
    server.end()


@pytest.fixture(scope="module")
def mounts(mount: Mount, providers: Providers, redis: int) -> Mounts:
    content = mount(_values(providers.port, redis), {"team": "sk-team"})
    for name, key in KEYS.items():
        content.write(f"model-keys/{name}/api_key", key)
    return content


@pytest.fixture(scope="module")
def gateway(litellm: Path, mounts: Mounts) -> Iterator[Running]:
    running = start_gateway(litellm, mounts, **ROLE)
    try:
        running.up("/health/readiness")
        yield running
    finally:
        running.end()


def _ask(gateway: Running, model: str, key: str = MASTER, **others: Any) -> Answer:
    return call(gateway.port, "POST", CHAT, {"model": model, **QUESTION, **others}, key)


@until
def _written(gateway: Running, request: Answer) -> Any:
    """The line of the audit log of a request."""
    identifier = next(value for name, value in request.headers.items() if name.lower() == "x-litellm-call-id")
    for line in gateway.lines:
        if line.startswith('{"log": "audit"') and (entry := json.loads(line))["request"] == identifier:
            return entry
    raise NotYetError(gateway.log)


@pytest.mark.parametrize(
    ("model", "path", "header", "credential", "cost"),
    [
        ("claude-direct", "/v1/messages", "x-api-key", "key-of-anthropic", 1000 * 1 + 500 * 5),
        ("gpt", "/v1/chat/completions", "authorization", "Bearer key-of-openai", 1000 * 0.25 + 500 * 2),
        (
            "gemini",
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "x-goog-api-key",
            "key-of-google",
            1000 * 0.3 + 500 * 2.5,
        ),
        ("open-model", "/v1/chat/completions", "authorization", "Bearer key-of-elsewhere", 1000 * 2 + 500 * 4),
        ("claude", f"/model/{PROFILE}/converse", "authorization", "AKIAROLE", 1000 * 3.3 + 500 * 16.5),
    ],
)
def test_each_provider_is_asked_in_its_own_way_and_its_price_counts(
    gateway: Running, providers: Providers, model: str, path: str, header: str, credential: str, cost: float
) -> None:
    answer = _ask(gateway, model)
    assert answer.status == 200, answer.text
    assert answer.json["choices"][0]["message"]["content"] == TEXT
    asked = providers.asked[-1]
    assert asked.path == path
    shown = {name.lower(): value for name, value in asked.headers.items()}[header]
    assert credential in shown
    sent = json.dumps(dict(asked.headers))
    assert not [key for key in KEYS.values() if key in sent and key not in credential]
    entry = _written(gateway, answer)
    assert entry["model"] == model
    assert entry["cost"] == pytest.approx(cost / 1e6)


def test_bedrock_is_signed_by_the_role_and_asked_as_its_api_defines(gateway: Running, providers: Providers) -> None:
    assert _ask(gateway, "claude", temperature=0.5, stop=["."]).status == 200
    asked = providers.asked[-1]
    headers = {name.lower(): value for name, value in asked.headers.items()}
    assert re.search(r"Credential=AKIAROLE/\d{8}/eu-central-1/bedrock/aws4_request", headers["authorization"])
    assert headers["x-amz-security-token"] == "session"
    service = botocore.session.get_session().get_service_model("bedrock-runtime")
    shape = service.operation_model("Converse").input_shape
    report = ParamValidator().validate({"modelId": PROFILE, **asked.body}, shape)
    assert not report.has_errors(), report.generate_report()


def test_a_field_that_a_provider_does_not_have_is_not_dropped(gateway: Running, providers: Providers) -> None:
    before = len(providers.asked)
    answer = _ask(gateway, "claude-direct", seed=1)
    assert answer.status == 400
    assert "seed" in answer.text
    assert len(providers.asked) == before


def test_an_answer_of_bedrock_is_streamed(gateway: Running, providers: Providers) -> None:
    answer = _ask(gateway, "claude", stream=True)
    assert answer.status == 200, answer.text
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    words = [choice["delta"].get("content") or "" for event in events for choice in json.loads(event)["choices"]]
    assert "".join(words).strip() == TEXT
    assert len([word for word in words if word]) > 1
    assert providers.asked[-1].path == f"/model/{PROFILE}/converse-stream"


def test_another_provider_answers_where_one_has_no_capacity(gateway: Running, providers: Providers) -> None:
    providers.broken.add("/converse")
    try:
        answer = _ask(gateway, "claude", "sk-team")
    finally:
        providers.broken.clear()
    assert answer.status == 200, answer.text
    assert _written(gateway, answer)["model"] == "gpt"
    assert [asked.path.rpartition("/")[2] for asked in providers.asked[-2:]] == ["converse", "completions"]


def test_a_fallback_that_has_spent_its_budget_is_not_asked(gateway: Running, providers: Providers) -> None:
    assert _ask(gateway, "dear").status == 200
    _refused(gateway, "dear")
    before = len(providers.asked)
    providers.broken.add("/v1/chat/completions")
    try:
        answer = _ask(gateway, "open-model")
    finally:
        providers.broken.clear()
    assert answer.status >= 400
    assert {asked.body["model"] for asked in providers.asked[before:]} == {"org/open"}


@until
def _refused(gateway: Running, model: str) -> None:
    if (answer := _ask(gateway, model)).status != 429:
        raise NotYetError(answer.text)


def test_embeddings_and_ranks_have_the_limits_of_the_key(gateway: Running, providers: Providers) -> None:
    body = {"model": "vectors", "input": "text"}
    answers = [call(gateway.port, "POST", "/v1/embeddings", body, "sk-team") for _ in range(2)]
    assert [answer.status for answer in answers] == [200, 429]
    assert answers[0].json["data"][0]["embedding"] == [0.5, -0.5]
    ranked = call(gateway.port, "POST", "/v1/rerank", {"model": "ranks", "query": "a", "documents": ["b"]}, MASTER)
    assert ranked.status == 200, ranked.text
    assert providers.asked[-1].body["model"] == "org/ranks"
    assert call(gateway.port, "POST", "/v1/rerank", {"model": "ranks", "query": "a"}, "sk-team").status == 403


def test_what_may_leave_the_regions_is_not_served(gateway: Running) -> None:
    listed = {model["id"] for model in call(gateway.port, "GET", "/v1/models", key=MASTER).json["data"]}
    assert {"claude", "gpt"} <= listed
    assert not {"abroad", "anywhere", "nowhere"} & listed
    for name, place in (("abroad", "us-east-1"), ("anywhere", r"\*"), ("nowhere", "an unknown region")):
        assert re.search(rf"model {name} is left out: its requests may be processed in {place}", gateway.log)
        assert _ask(gateway, name).status == 400


def test_a_key_that_the_provider_replaced_counts_without_a_restart(
    gateway: Running, mounts: Mounts, providers: Providers
) -> None:
    mounts.write("model-keys/google/api_key", "rotated")
    _asked_with(gateway, providers, "rotated")
    mounts.write("model-keys/google/api_key", "key-of-google")
    _asked_with(gateway, providers, "key-of-google")
    assert not [key for key in ("rotated", "key-of-", "of-the-role") if key in gateway.log]


@until
def _asked_with(gateway: Running, providers: Providers, key: str) -> None:
    assert _ask(gateway, "gemini").status == 200
    shown = {name.lower(): value for name, value in providers.asked[-1].headers.items()}["x-goog-api-key"]
    if shown != key:
        raise NotYetError(shown)


def test_the_list_is_what_litellm_counts_by(litellm: Path) -> None:
    """A release with other prices shows them here; the head of the list says how to write it again."""
    (source,) = litellm.parent.glob(f"lib/*/site-packages/{hosted_models.SOURCE}")
    date = yaml.safe_load(hosted_models.LIST.read_text())["date"]
    content = json.loads(source.read_text())
    assert hosted_models.LIST.read_text() == hosted_models.text(content, hosted_models.chart_release(), date)
