"""The gateway's request filter: whatever a client sends, LiteLLM gets a request that the key may make, or none."""

import asyncio
import importlib.util
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FILE = Path(__file__).resolve().parents[3] / "charts/model-gateway/files/request_filter.py"
ROUTES = tuple(line.split() for line in Path(__file__).with_name("litellm_routes.txt").read_text().splitlines())
KEYS = {"sk-llama": ["llama"], "sk-all": []}
MODELS = ("llama", "secret-big", "org/model")
CASES = int(os.environ.get("DRYDOCK_FUZZ_CASES", "300"))
"""Requests of the fuzz test; `drydock bench` makes many more."""


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("request_filter", FILE)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["request_filter"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


filter_ = _load()


@dataclass
class Gateway:
    """The filter before an app that keeps what reaches it."""

    management: bool = False
    body_bytes: int = 4096
    reached: list[tuple[Mapping[str, Any], bytes]] = field(default_factory=list)
    refused: list[Any] = field(default_factory=list)

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        body = (await receive())["body"] if scope["method"] == "POST" else b""
        self.reached.append((scope, body))
        headers = [
            (b"x-litellm-model-api-base", b"http://engine"),
            (b"x-litellm-call-id", b"1"),
            (b"retry-after", b"1"),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"done"})

    def ask(
        self,
        method: str = "POST",
        path: str = "/v1/chat/completions",
        body: object = None,
        headers: tuple[tuple[str, str], ...] = (("authorization", "Bearer sk-llama"),),
        query: bytes = b"",
    ) -> tuple[int, dict[bytes, bytes], bytes]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "query_string": query,
            "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers],
        }
        messages: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": raw, "more_body": False}

        async def send(message: Any) -> None:
            messages.append(message)

        made = filter_.RequestFilter(
            self.app,
            authenticate=None if self.management else _caller,
            models=lambda: MODELS,
            refused=self.refused.append,
            management=self.management,
            body_bytes=self.body_bytes,
            read_seconds=0.05,
        )
        asyncio.run(made(scope, receive, send))
        return messages[0]["status"], dict(messages[0]["headers"]), b"".join(each["body"] for each in messages[1:])


def _caller(key: str) -> Any:
    return filter_.Caller(key, frozenset(KEYS[key])) if key in KEYS else None


CHAT = {"model": "llama", "messages": [{"role": "user", "content": "Hello"}]}


def test_a_request_arrives_with_its_key_its_model_and_nothing_else() -> None:
    gateway = Gateway()
    headers = (("x-api-key", "sk-llama"), ("x-litellm-tags", "free"), ("accept", "text/event-stream"))
    status, answered, _ = gateway.ask(
        body={**CHAT, "user": "chat", "top_k": 3}, headers=headers, query=b"model=secret-big"
    )
    assert status == 200
    ((scope, body),) = gateway.reached
    assert json.loads(body) == {**CHAT, "top_k": 3}
    assert scope["query_string"] == b""
    assert dict(scope["headers"]) == {
        b"authorization": b"Bearer sk-llama",
        b"accept": b"text/event-stream",
        b"content-type": b"application/json",
        b"content-length": str(len(body)).encode(),
    }
    assert set(answered) == {b"x-litellm-call-id", b"retry-after"}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/engines/secret-big/chat/completions", b""),
        ("/openai/deployments/secret-big/chat/completions", b""),
        ("/v1/chat/completions/", b""),
        ("//v1/chat/completions", b""),
        ("/vllm/v1/chat/completions", b""),
        ("/vllm/../pause", b""),
        ("/anthropic/v1/messages", b""),
        ("/openapi.json", b""),
        ("/ui/", b""),
        ("/metrics", b""),
        ("/model/info", b""),
        ("/v1/models/llama", b""),
        ("/key/generate", b""),
    ],
)
def test_other_routes_are_not_there(path: str, query: bytes) -> None:
    gateway = Gateway()
    for method in ("GET", "POST", "PUT", "HEAD", "OPTIONS"):
        assert gateway.ask(method, path, CHAT, query=query)[0] == 404
    assert gateway.reached == []


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({**CHAT, "model": "secret-big"}, 403),
        ({**CHAT, "model": "llama,secret-big"}, 403),
        ({**CHAT, "model": ["secret-big"]}, 400),
        ({"messages": []}, 400),
        ({**CHAT, "api_key": "x"}, 400),
        ({**CHAT, "api_base": "http://attacker"}, 400),
        ({**CHAT, "fallbacks": ["secret-big"]}, 400),
        ({**CHAT, "litellm_metadata": {}}, 400),
        ({**CHAT, "mock_response": "x"}, 400),
        ({**CHAT, "no-log": True}, 400),
        ({**CHAT, "extra_body": {"model": "secret-big"}}, 400),
        ({**CHAT, "tools": [{"type": "mcp", "server_url": "litellm_proxy"}]}, 400),
        ({**CHAT, "tools": [{"type": ["function"]}]}, 400),
        ({**CHAT, "tools": "all"}, 400),
        (b'{"model": "llama", "model": "secret-big"}', 400),
        (b'{"model": "llama", "messages": [{"role": "user", "role": "system"}]}', 400),
        (b'{"model": "llama", "temperature": NaN}', 400),
        (b"[" * 100_00, 413),
        (b"[" * 3000, 400),
        (b"[]", 400),
        (b"", 400),
        (b"\xff\xfe", 400),
        (b"model=llama", 400),
    ],
)
def test_what_a_client_may_not_set_is_refused(body: object, status: int) -> None:
    gateway = Gateway()
    assert gateway.ask(body=body)[0] == status
    assert gateway.reached == []
    assert [refusal.status for refusal in gateway.refused] == [status]


@pytest.mark.parametrize(
    "headers",
    [
        (),
        (("authorization", ""),),
        (("authorization", "Bearer "),),
        (("authorization", "Bearer sk-unknown"),),
        (("authorization", "Bearer sk-llama sk-all"),),
        (("authorization", "Bearer sk-llamä"),),
        (("authorization", "Bearer sk-llama"), ("x-api-key", "sk-all")),
        (("x-goog-api-key", "sk-llama"),),
    ],
)
@pytest.mark.parametrize("management", [False, True])
def test_without_one_known_key_nothing_is_reached(headers: tuple[tuple[str, str], ...], management: bool) -> None:
    gateway = Gateway()
    for path in ("/v1/chat/completions", "/v1/embeddings"):
        assert gateway.ask(path=path, body=CHAT, headers=headers)[0] in (400, 401)
    assert gateway.ask("GET", "/v1/models", headers=headers)[0] in (400, 401)
    assert gateway.reached == []
    if management and not any("sk-" in value for _, value in headers):
        assert Gateway(management=True).ask("POST", "/key/generate", {}, headers=headers)[0] == 401


def test_keys_are_managed_with_a_database_alone() -> None:
    with_database = Gateway(management=True)
    for path in ("/key/generate", "/team/new", "/global/spend/report"):
        assert with_database.ask("POST", path, {})[0] == 200
        assert Gateway().ask("POST", path, {})[0] == 404
    for path in ("/key/../vllm/pause", "/key/%2e%2e/config", "/keys", "/config/update", "/key//generate", "/model/new"):
        assert with_database.ask("POST", path, {})[0] == 404


def test_probes_say_whether_and_nothing_more() -> None:
    gateway = Gateway()
    status, headers, body = gateway.ask("GET", "/health/readiness", headers=())
    assert (status, json.loads(body)) == (200, {"status": 200})
    assert b"x-litellm-call-id" not in headers


def test_a_body_is_bounded_and_has_a_deadline() -> None:
    gateway = Gateway()
    assert gateway.ask(body=b" " * 5000)[0] == 413
    assert gateway.ask(body=CHAT, headers=(("authorization", "Bearer sk-all"), ("content-encoding", "gzip")))[0] == 415

    async def slow() -> int:
        async def receive() -> Any:
            await asyncio.Event().wait()

        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        made = filter_.RequestFilter(
            gateway.app,
            authenticate=_caller,
            models=lambda: MODELS,
            refused=gateway.refused.append,
            management=False,
            body_bytes=10,
            read_seconds=0.01,
        )
        headers = [(b"authorization", b"Bearer sk-all")]
        scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "query_string": b"", "headers": headers}
        await made(scope, receive, send)
        status: int = sent[0]["status"]
        return status

    assert asyncio.run(slow()) == 408


def test_a_websocket_is_closed() -> None:
    gateway = Gateway()
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    made = filter_.RequestFilter(
        gateway.app, authenticate=_caller, models=lambda: MODELS, refused=print, management=True, body_bytes=10
    )
    asyncio.run(made({"type": "websocket", "path": "/v1/realtime", "headers": []}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert gateway.reached == []


SPELLINGS = (
    lambda path: path,
    lambda path: f"{path}/",
    lambda path: f"/{path}",
    lambda path: path.replace("/", "//"),
    str.upper,
    lambda path: f"/v1{path}",
    lambda path: path.removeprefix("/v1"),
    lambda path: f"/vllm/..{path}",
    lambda path: f"{path}\x00",
    lambda path: path.replace("c", "%63"),
)
ORDERS = {
    "api_key": "x",
    "api_base": "http://attacker",
    "base_url": "http://attacker",
    "fallbacks": ["secret-big"],
    "context_window_fallbacks": [{"llama": ["secret-big"]}],
    "model_info": {"id": "secret-big"},
    "litellm_metadata": {"user_api_key_alias": "other"},
    "metadata": {"user_api_key_alias": "other", "tags": ["free"]},
    "user": "other",
    "num_retries": 99,
    "timeout": 0.001,
    "mock_response": "x",
    "input_cost_per_token": 0,
    "no-log": True,
    "cache": {"no-cache": True},
    "guardrails": [],
    "specific_deployment": True,
    "previous_response_id": "resp_1",
    "prompt_id": "1",
    "kv_transfer_params": {"remote_host": "169.254.169.254"},
    "priority": -1,
    "temperature": 0.5,
    "stream": True,
    "n": 2,
}


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    route, methods = draw(st.sampled_from(ROUTES))
    concrete = route
    while "{" in concrete:
        concrete = concrete[: concrete.index("{")] + draw(st.sampled_from(MODELS)) + concrete[concrete.index("}") + 1 :]
    listed = st.sampled_from([*filter_.FIELDS, "/v1/models", "/health/readiness"])
    path = draw(st.one_of(st.just(concrete), listed))
    path = draw(st.sampled_from(SPELLINGS))(path)
    fields = draw(st.sets(st.sampled_from(sorted(ORDERS)), max_size=3))
    model = draw(st.one_of(st.sampled_from([*MODELS, "llama,secret-big", "", None]), st.text(max_size=5)))
    keys = draw(st.lists(st.sampled_from(["sk-llama", "sk-all", "sk-unknown", ""]), max_size=2))
    names = draw(st.permutations(["authorization", "x-api-key", "api-key"]))
    others = draw(
        st.lists(st.sampled_from(["x-litellm-model", "x-litellm-tags", "x-litellm-api-key", "cookie"]), max_size=2)
    )
    return {
        "method": draw(st.sampled_from([*(each for each in methods.split(",") if each.isupper()), "GET", "POST"])),
        "path": path,
        "body": {"model": model, "messages": [], **{name: ORDERS[name] for name in fields}},
        "headers": tuple(zip(names, keys, strict=False)) + tuple((name, "secret-big") for name in others),
        "query": draw(st.sampled_from([b"", b"model=secret-big", b"api_key=x", b"key=sk-all"])),
    }


@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=CASES <= 300)
@given(requests())
def test_no_request_reaches_more_than_its_key_may(request_: dict[str, Any]) -> None:
    gateway = Gateway()
    status, _, _ = gateway.ask(**request_)
    if not gateway.reached:
        assert 400 <= status < 500
        return
    ((scope, body),) = gateway.reached
    assert scope["query_string"] == b""
    assert scope[filter_.MARK] is True
    if scope["path"] in filter_.PROBES:
        assert scope["headers"] == []
        return
    headers = dict(scope["headers"])
    key = headers[b"authorization"].decode().removeprefix("Bearer ")
    assert key in {value for name, value in request_["headers"]}
    assert set(headers) <= {b"authorization", b"content-type", b"content-length", *filter_.HEADERS}
    if scope["method"] == "GET":
        assert scope["path"] == "/v1/models"
        return
    content = json.loads(body)
    assert set(content) <= filter_.FIELDS[scope["path"]]
    assert content["model"] == request_["body"]["model"]
    assert content["model"] in (KEYS[key] or MODELS)
