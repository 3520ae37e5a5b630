"""Pain 20: the endpoint is open to the world."""

import asyncio
import importlib.util
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import container, environment, pod, render, the, volumes

KEY = {"name": "api-key", "key": "key"}
OFFICE = {"office": "203.0.113.0/24"}
FILE = Path(__file__).resolve().parents[2] / "charts" / "vllm" / "files" / "require_api_key.py"


def public(**load_balancer: Any) -> dict[str, Any]:
    return {"type": "LoadBalancer", "loadBalancer": {"scheme": "internet-facing", **load_balancer}}


def secured(**load_balancer: Any) -> dict[str, Any]:
    return public(certificateArn="arn:aws:acm:us-west-2:111122223333:certificate/a", **load_balancer)


def test_a_model_is_inside_the_cluster_and_closed_to_other_namespaces(render_chart: RenderChart) -> None:
    manifests = render(render_chart, {})
    assert the(manifests, "Service")["spec"]["type"] == "ClusterIP"
    assert the(manifests, "NetworkPolicy")["spec"]["ingress"][0]["from"] == [{"podSelector": {}}]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (
            {"service": public(sourceRanges=OFFICE)},
            "without an API key lets any client use the model: set apiKeySecret.name",
        ),
        ({"service": public(), "apiKeySecret": KEY}, "without a certificate sends keys and prompts unencrypted"),
        ({"service": secured(), "apiKeySecret": KEY}, "sourceRanges: internet-facing needs the address ranges"),
        ({"service": secured(sourceRanges={"office": None}), "apiKeySecret": KEY}, "needs the address ranges"),
        (
            {"service": secured(sourceRanges={"a": "0.0.0.0/1", "b": "128.0.0.0/1"}), "apiKeySecret": KEY},
            "0.0.0.0/1 is a good part of the internet",
        ),
        (
            {"service": secured(sourceRanges={"all": "0.0.0.0/0"}), "apiKeySecret": KEY},
            "0.0.0.0/0 is the whole internet",
        ),
        ({"service": secured(sourceRanges={"all": "::/0"}), "apiKeySecret": KEY}, "::/0 is the whole internet"),
    ],
)
def test_the_internet_is_refused_without_key_or_ranges(render_chart: RenderChart, model: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=rf"models\.small\.service\.loadBalancer\..*{reason}"):
        render(render_chart, model)


def test_with_both_it_is_open_to_the_ranges(render_chart: RenderChart) -> None:
    service = the(render(render_chart, {"service": secured(sourceRanges=OFFICE), "apiKeySecret": KEY}), "Service")
    assert service["spec"]["loadBalancerSourceRanges"] == ["203.0.113.0/24"]
    scheme = service["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"]
    assert scheme == "internet-facing"


def test_the_key_is_a_reference_and_is_asked_for_on_every_route(render_chart: RenderChart) -> None:
    manifests = render(render_chart, {"apiKeySecret": KEY})
    server = container(render_chart, {"apiKeySecret": KEY})
    variables = environment(server)
    assert variables["VLLM_API_KEY"] == {"secretKeyRef": {"name": "api-key", "key": "key"}}
    module, _, name = next(each for each in server["args"] if "middleware" in each).partition("=")[2].rpartition(".")
    (folder,) = (path for path in volumes(pod(render_chart, {"apiKeySecret": KEY})) if path == variables["PYTHONPATH"])
    assert folder == "/etc/vllm"
    assert f"class {name}:" in the(manifests, "ConfigMap")["data"][f"{module}.py"]
    assert "VLLM_API_KEY" not in environment(container(render_chart, {}))


def answers(scope: MutableMapping[str, Any]) -> str:
    """What the middleware does with a request: `passed on`, or what it answers itself."""
    specification = importlib.util.spec_from_file_location("require_api_key", FILE)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    sent: list[MutableMapping[str, Any]] = []
    passed: list[MutableMapping[str, Any]] = []

    async def application(scope: MutableMapping[str, Any], _receive: Any, _send: Any) -> None:
        passed.append(scope)

    async def receive() -> MutableMapping[str, Any]:
        return {}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    asyncio.run(module.RequireApiKey(application)(scope, receive, send))
    return "passed on" if passed else str(sent[0].get("status", sent[0]["type"]))


@pytest.mark.parametrize(
    ("path", "authorization", "answer"),
    [
        ("/v1/models", b"Bearer sesame", "passed on"),
        ("/v1/models", b"bearer sesame", "passed on"),
        ("/v1/models", b"", "401"),
        ("/v1/models", b"Bearer ", "401"),
        ("/v1/models", b"Bearer sesam", "401"),
        ("/v1/models", b"Basic sesame", "401"),
        ("/tokenize", b"", "401"),
        ("/tokenize", b"Bearer sesame", "passed on"),
        ("/invocations", b"", "401"),
        ("/pooling", b"", "401"),
        ("/docs", b"", "401"),
        ("/health/../v1/models", b"", "401"),
        ("/health", b"", "passed on"),
        ("/metrics", b"", "passed on"),
    ],
)
def test_routes_behind_the_key(monkeypatch: pytest.MonkeyPatch, path: str, authorization: bytes, answer: str) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    headers = [(b"authorization", authorization)] if authorization else []
    assert answers({"type": "http", "method": "POST", "path": path, "headers": headers}) == answer


def test_other_kinds_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sesame")
    assert answers({"type": "websocket", "path": "/v1/realtime", "headers": []}) == "websocket.close"
    assert answers({"type": "lifespan"}) == "passed on"
    assert answers({"type": "http", "method": "OPTIONS", "path": "/v1/models", "headers": []}) == "passed on"


def test_an_empty_key_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "")
    with pytest.raises(ValueError, match="VLLM_API_KEY is empty"):
        answers({"type": "http", "method": "GET", "path": "/v1/models", "headers": []})


def test_a_key_that_no_request_can_send_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "sesame\n")  # as `kubectl create secret --from-file` keeps it
    with pytest.raises(ValueError, match="white space at an end"):
        answers({"type": "http", "path": "/v1/models", "headers": []})
