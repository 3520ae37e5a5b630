"""LiteLLM with this chart's additions, before simulated engines."""

import json
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.charts.gateway.conftest import Mount
from tests.charts.gateway.processes import (
    CHAT,
    MASTER,
    QUESTION,
    Answer,
    Mounts,
    NotYetError,
    Running,
    StartModel,
    call,
    entry,
    free_port,
    has_printed,
    send,
    start_activator,
    start_gateway,
    start_model,
    until,
)

pytestmark = pytest.mark.programs

KEYS = {"search": "sk-search", "chat": "sk-chat", "rich": "sk-rich"}
StartGateway = Callable[..., Running]
VALUES: dict[str, Any] = {
    "replicas": 2,
    "audit": {"stdout": True},
    "redis": {"host": "127.0.0.1", "tls": False},
    "models": {
        "llama": {
            "fallbacks": ["qwen"],
            "prices": {"inputPerMillionTokens": 1_000_000, "outputPerMillionTokens": 1_000_000},
        },
        "external": {"url": "http://127.0.0.1:1", "requestsPerMinute": 2},
    },
    "modelKeySecrets": {"engine": ["api_key"]},
    "keys": {
        "search": {"models": ["llama", "sleeper"], "requestsPerMinute": 5},
        "chat": {"perModel": {"qwen": {"requestsPerMinute": 2}}},
        "rich": {"budget": {"amount": 1, "days": 10000}},
    },
}


@pytest.fixture
def gateways(litellm: Path) -> Iterator[StartGateway]:
    """Starts more replicas; they end with the test."""
    started: list[Running] = []

    def begin(mounts: Mounts, **environment: str) -> Running:
        started.append(start_gateway(litellm, mounts, **environment))
        return started[-1]

    yield begin
    for each in started:
        each.end()


@pytest.fixture(scope="module")
def ports() -> dict[str, int]:
    return {name: free_port() for name in ("llama", "qwen", "sleeper")}


@pytest.fixture(scope="module")
def mounts(mount: Mount, ports: dict[str, int], redis: int) -> Mounts:
    found = mount({**VALUES, "redis": {**VALUES["redis"], "port": redis}}, KEYS)
    found.write("model-keys/engine/api_key", "engine-key")
    found.catalogue(_catalogue(ports))
    return found


def _catalogue(ports: dict[str, int]) -> dict[str, Any]:
    return {
        "llama": entry(ports["llama"], "llama", apiKeySecret={"name": "engine", "key": "api_key"}),
        "qwen": entry(ports["qwen"], "qwen"),
        "sleeper": entry(ports["sleeper"], "sleeper", scaleToZero=True),
    }


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """URL of an S3."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


@pytest.fixture(scope="module")
def gateway(litellm: Path, mounts: Mounts, ports: dict[str, int]) -> Iterator[Running]:
    """One replica, with an activator and two models that are up."""
    activator = start_activator(mounts)
    settings = mounts.settings()
    mounts.change_settings(activator={**settings["activator"], "url": f"http://127.0.0.1:{activator.port}"})
    engines = [
        start_model(ports["llama"], "llama", VLLM_API_KEY="engine-key"),
        start_model(ports["qwen"], "qwen"),
    ]
    running = start_gateway(litellm, mounts)
    try:
        for each in engines:
            each.up("/health")
        running.up("/health/readiness")
        yield running
    finally:
        for each in (running, activator, *engines):
            each.end()


def _ask(gateway: Running, key: str, model: str, **others: Any) -> Answer:
    return call(gateway.port, "POST", CHAT, {"model": model, **QUESTION, **others}, key)


def _audit(gateway: Running) -> list[Any]:
    return [json.loads(line) for line in gateway.lines if line.startswith('{"log": "audit"')]


def test_models_of_the_catalogue_and_of_the_values_are_served(gateway: Running) -> None:
    found = call(gateway.port, "GET", "/v1/models", key=MASTER).json["data"]
    assert {each["id"] for each in found} == {"llama", "qwen", "sleeper", "external"}
    answer = _ask(gateway, MASTER, "llama")
    assert answer.json["model"] == "llama"
    assert answer.json["choices"][0]["message"]["content"]


def test_only_known_keys_may_send_requests_and_only_to_their_models(gateway: Running) -> None:
    assert _ask(gateway, "sk-unknown", "llama").status == 401
    assert call(gateway.port, "POST", CHAT, {"model": "llama", **QUESTION}).status == 401
    refused = _ask(gateway, KEYS["search"], "qwen")
    assert refused.status == 403
    assert "key not allowed to access model" in refused.text
    for key in (KEYS["search"], MASTER):
        assert call(gateway.port, "POST", "/key/generate", {}, key).status == 404


def test_a_key_gets_no_more_requests_than_its_limit(gateway: Running) -> None:
    statuses = [_ask(gateway, KEYS["search"], "llama").status for _ in range(12)]
    # The minute may turn in between.
    assert 429 in statuses
    assert statuses.count(200) <= 10
    assert _ask(gateway, KEYS["chat"], "llama").status == 200


def test_a_key_gets_no_more_of_a_model_than_its_limit_there(gateway: Running) -> None:
    statuses = [_ask(gateway, KEYS["chat"], "qwen").status for _ in range(6)]
    assert 429 in statuses
    assert _ask(gateway, MASTER, "qwen").status == 200


def test_replicas_spend_a_budget_together(gateways: StartGateway, gateway: Running, mounts: Mounts) -> None:
    second = gateways(mounts)
    second.up("/health/readiness")
    assert _ask(second, KEYS["rich"], "llama").status == 200
    _refused(gateway)


@until
def _refused(gateway: Running) -> None:
    answer = _ask(gateway, KEYS["rich"], "llama")
    if answer.status != 429:
        raise NotYetError(answer.text)
    assert "The budget of key rich is spent: 1 in 10000 days" in answer.text


def test_another_model_answers_where_one_is_gone(gateway: Running, mounts: Mounts, ports: dict[str, int]) -> None:
    whole = _catalogue(ports)
    mounts.catalogue({**whole, "llama": {**whole["llama"], "url": f"http://127.0.0.1:{free_port()}"}})
    _answered_by(gateway, "llama", "qwen")
    mounts.catalogue(whole)
    _answered_by(gateway, "llama", "llama")


@until
def _answered_by(gateway: Running, asked: str, expected: str) -> None:
    answer = _ask(gateway, MASTER, asked)
    if answer.status != 200 or answer.json["model"] != expected:
        raise NotYetError(answer.text)


def test_a_model_that_comes_is_served_without_a_restart(
    gateway: Running, mounts: Mounts, ports: dict[str, int]
) -> None:
    assert _ask(gateway, MASTER, "new").status == 400
    mounts.catalogue({**_catalogue(ports), "new": {**entry(ports["qwen"], "new"), "names": ["qwen", "new"]}})
    _lists(gateway, "new", there=True)
    mounts.catalogue(_catalogue(ports))
    _lists(gateway, "new", there=False)


@until
def _lists(gateway: Running, name: str, *, there: bool) -> None:
    found = {each["id"] for each in call(gateway.port, "GET", "/v1/models", key=MASTER).json["data"]}
    if (name in found) is not there:
        raise NotYetError(str(found))


def test_a_key_that_is_replaced_counts_no_more(gateway: Running, mounts: Mounts) -> None:
    assert call(gateway.port, "GET", "/v1/models", key=KEYS["chat"]).status == 200
    mounts.write("keys/chat", "sk-replaced")
    _refuses(gateway, KEYS["chat"])
    assert call(gateway.port, "GET", "/v1/models", key="sk-replaced").status == 200
    mounts.write("keys/chat", KEYS["chat"])


@until
def _refuses(gateway: Running, key: str) -> None:
    if (status := call(gateway.port, "GET", "/v1/models", key=key).status) != 401:
        raise NotYetError(str(status))


def test_a_request_wakes_a_model_that_sleeps(gateway: Running, ports: dict[str, int], models: StartModel) -> None:
    body = {"model": "sleeper", **QUESTION}
    waiting = send(gateway.port, CHAT, body, MASTER)
    streamed = send(gateway.port, CHAT, {**body, "stream": True}, MASTER)
    models(ports["sleeper"], "sleeper")
    assert waiting.answer().status == 200
    events = streamed.answer().text.strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert len(events) > 2


def test_a_request_that_waits_moves_with_the_activator_and_is_not_held_twice(
    gateways: StartGateway, mount: Mount, models: StartModel, activators: Callable[[Mounts], Running]
) -> None:
    port = free_port()
    # Seconds in which a request is seen to be held, and the activator told to stop.
    mounts = mount({"activator": {"holdSeconds": 20}, "retries": 2})
    mounts.catalogue({"sleeper": entry(port, "sleeper", scaleToZero=True)})
    settings = mounts.settings()["activator"]
    mounts.change_settings(activator={**settings, "holdSeconds": 240})  # in which the model has started
    other = activators(mounts)
    mounts.change_settings(activator={**settings, "url": f"http://127.0.0.1:{other.port}"})
    stopping = activators(mounts)
    mounts.change_settings(activator={**settings, "url": f"http://127.0.0.1:{stopping.port}"})
    gateway = gateways(mounts)
    gateway.up("/health/readiness")

    late = _ask(gateway, MASTER, "sleeper")
    assert late.status == 503
    assert "was not ready in time" in late.text
    refusals = 'activator_refused_requests_total{model="sleeper",reason="late"} 1.0'
    assert refusals in call(stopping.look_port, "GET", "/metrics").text

    waiting = send(gateway.port, CHAT, {"model": "sleeper", **QUESTION}, MASTER)
    _holds(stopping)
    assert stopping.stop() == 0
    _holds(other)
    models(port, "sleeper")
    assert waiting.answer().status == 200


@until
def _holds(activator: Running) -> None:
    found = call(activator.look_port, "GET", "/models/sleeper").json
    if found["held"] != 1:
        raise NotYetError(str(found))


def test_the_audit_log_tells_who_asked_what_but_not_the_words(gateway: Running) -> None:
    answer = _ask(gateway, KEYS["chat"], "llama")
    assert answer.status == 200
    done = _written(gateway, key="chat", status="success", model="llama")
    assert done["promptTokens"] > 0
    assert done["completionTokens"] > 0
    assert done["cost"] == done["promptTokens"] + done["completionTokens"]
    assert len(done["keyHash"]) == 64
    _ask(gateway, KEYS["search"], "qwen")
    assert _written(gateway, key="search", status="failure", code=403)["model"] == "qwen"
    assert QUESTION["messages"][0]["content"] not in gateway.log
    assert not any(key in gateway.log for key in (*KEYS.values(), MASTER, "engine-key"))


@until
def _written(gateway: Running, **expected: Any) -> Any:
    for each in reversed(_audit(gateway)):
        if expected.items() <= each.items():
            return each
    raise NotYetError(gateway.log)


def test_with_content_prompts_and_answers_are_written_too(
    gateways: StartGateway, mount: Mount, gateway: Running, ports: dict[str, int]
) -> None:
    mounts = mount({"audit": {"stdout": True, "content": True}})
    mounts.catalogue({"qwen": _catalogue(ports)["qwen"]})
    second = gateways(mounts)
    second.up("/health/readiness")
    assert _ask(second, MASTER, "qwen").status == 200
    entry_ = _written(second, key="master", status="success")
    assert entry_["prompt"] == QUESTION["messages"]
    assert entry_["response"]["choices"]


@pytest.mark.parametrize(
    ("switches", "headers"),
    [
        ({}, {"x-litellm-disable-callbacks": "gateway,prometheus"}),
        ({"metadata": {"user_api_key_alias": "chat", "headers": {}}, "user": "chat"}, {}),
    ],
)
def test_nobody_takes_a_request_out_of_the_log_or_makes_it_cheaper(
    gateway: Running, switches: dict[str, Any], headers: dict[str, str]
) -> None:
    before = len(_audit(gateway))
    body = {"model": "llama", **QUESTION, **switches}
    assert call(gateway.port, "POST", CHAT, body, MASTER, headers=headers).status == 200
    _written_since(gateway, before)


@pytest.mark.parametrize("switch", ["input_cost_per_token", "turn_off_message_logging", "api_base", "no-log"])
def test_prices_redaction_and_places_are_not_the_clients_to_set(gateway: Running, switch: str) -> None:
    assert _ask(gateway, MASTER, "llama", **{switch: 0}).status == 400


@until
def _written_since(gateway: Running, before: int) -> None:
    entries = [each for each in _audit(gateway)[before:] if each["key"] == "master"]
    if not entries:
        raise NotYetError(gateway.log)
    assert entries[0]["cost"] == entries[0]["promptTokens"] + entries[0]["completionTokens"] > 0


@pytest.mark.parametrize("content", [False, True])
def test_the_audit_log_goes_to_s3(
    gateways: StartGateway, mount: Mount, gateway: Running, ports: dict[str, int], s3: str, content: bool
) -> None:
    bucket = f"audit-{str(content).lower()}"
    boto3.client("s3", "us-west-2", endpoint_url=s3).create_bucket(
        Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    place = {"bucket": bucket, "region": "us-west-2", "endpoint": s3}
    mounts = mount({"audit": {"content": content, "s3": place}})
    mounts.catalogue({"qwen": _catalogue(ports)["qwen"]})
    second = gateways(mounts, DEFAULT_S3_FLUSH_INTERVAL_SECONDS="1")
    second.up("/health/readiness")
    switch = "litellm-enable-message-redaction" if content else "litellm-disable-message-redaction"
    body = {"model": "qwen", **QUESTION}
    assert call(second.port, "POST", CHAT, body, MASTER, headers={switch: "true"}).status == 200
    written = _stored(s3, bucket)
    assert written["metadata"]["user_api_key_alias"] == "master"
    assert written["model_group"] == "qwen"
    assert (QUESTION["messages"][0]["content"] in str(written)) is content
    assert written["total_tokens"] > 0


@until
def _stored(s3: str, bucket: str) -> Any:
    store = boto3.client("s3", "us-west-2", endpoint_url=s3)
    found = store.list_objects_v2(Bucket=bucket).get("Contents", [])
    if not found:
        raise NotYetError("no object")
    assert found[0]["Key"].startswith("audit/")
    return json.loads(store.get_object(Bucket=bucket, Key=found[0]["Key"])["Body"].read())


def test_metrics_have_a_door_of_their_own(gateway: Running) -> None:
    _ask(gateway, MASTER, "qwen")
    text = call(gateway.look_port, "GET", "/metrics").text
    assert 'litellm_proxy_total_requests_metric_total{api_key_alias="' in text
    for key in ("", MASTER):
        assert call(gateway.port, "GET", "/metrics", key=key).status == 404


def test_a_model_whose_key_is_not_mounted_is_left_out_and_told(
    gateways: StartGateway, mount: Mount, ports: dict[str, int]
) -> None:
    mounts = mount({})
    mounts.catalogue({name: _catalogue(ports)[name] for name in ("llama", "qwen")})
    running = gateways(mounts)
    running.up("/health/readiness")
    _lists(running, "qwen", there=True)
    _lists(running, "llama", there=False)
    has_printed(running, "model llama is left out: it asks for the API key in Secret engine, key api_key")


class Engine:
    """An engine that asks for no key and keeps the paths and bodies that reach it."""

    def __init__(self, name: str) -> None:
        self.asked: list[tuple[str, Any]] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                engine.asked.append((self.path, json.loads(raw or b"null")))
                usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
                choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}
                answer = {"id": "1", "object": "chat.completion", "created": 1, "model": name, "usage": usage}
                body = json.dumps({**answer, "choices": [choice]}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_PUT = do_DELETE = do_POST  # noqa: N815

            def log_message(self, *_: object) -> None:
                """The requests are kept."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass
class Attacked:
    """A gateway whose key may use one of two models."""

    running: Running
    own: Engine
    secret: Engine
    hub: Engine


ATTACKER = "sk-attacker"


@pytest.fixture(scope="module")
def attacked(litellm: Path, mount: Mount) -> Iterator[Attacked]:
    own, secret, hub = Engine("llama"), Engine("secret-big"), Engine("hub")
    mounts = mount(
        {"keys": {"attacker": {"models": ["llama"]}, "other": {}}}, {"attacker": ATTACKER, "other": "sk-other"}
    )
    entries = {"llama": entry(own.port, "llama"), "secret-big": entry(secret.port, "secret-big")}
    mounts.catalogue({**entries, "llama-3-8b": entry(own.port, "llama-3-8b")})
    running = start_gateway(litellm, mounts, HF_ENDPOINT=f"http://127.0.0.1:{hub.port}")
    try:
        running.up("/health/readiness")
        yield Attacked(running, own, secret, hub)
    finally:
        for part in (running, own, secret, hub):
            part.end()


def test_a_key_reaches_its_model_alone_by_every_route_of_litellm(attacked: Attacked) -> None:
    """Each route of LiteLLM, with each of its methods, and the model of another key in path, query and header."""
    port, body = attacked.running.port, {"model": "llama", **QUESTION}
    headers = {"x-litellm-model": "secret-big"}
    opened = set()
    for line in ROUTES.read_text().splitlines():
        route, methods = line.split()
        path = re.sub(r"\{[^}]*\}", "secret-big", route)
        for method in {each for each in methods.split(",") if each.isupper()} | {"GET", "POST"}:
            for spelling in (path, f"{path}?model=secret-big"):
                status = call(port, method, spelling, body, ATTACKER, headers=headers).status
                assert status < 500, (method, spelling)
                if status not in (404, 405):
                    opened.add(path)
    assert attacked.secret.asked == []
    assert {path for path, _ in attacked.own.asked} <= {"/v1/chat/completions", "/v1/embeddings"}
    assert opened <= {*OPENED, *(path.removeprefix("/v1") for path in OPENED)}


ROUTES = Path(__file__).with_name("litellm_routes.txt")
OPENED = {
    "/health/liveliness",
    "/health/readiness",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/images/generations",
    "/v1/messages",
    "/v1/models",
    "/v1/rerank",
    "/v1/responses",
}


def test_no_tokenizer_is_fetched_from_hugging_face(attacked: Attacked) -> None:
    """LiteLLM would fetch one for a model of that name, and answer no other request meanwhile."""
    body = {"model": "llama-3-8b", **QUESTION}
    assert call(attacked.running.port, "POST", CHAT, body, "sk-other").status == 200
    assert attacked.hub.asked == []


def test_no_request_takes_the_model_from_others(attacked: Attacked) -> None:
    port = attacked.running.port
    for number in range(20):
        body = {"model": "llama", **QUESTION, "api_key": f"sk-{number}"}
        assert call(port, "POST", CHAT, body, ATTACKER).status == 400
    statuses = [call(port, "POST", CHAT, {"model": "llama", **QUESTION}, "sk-other").status for _ in range(20)]
    assert statuses == [200] * 20


def test_a_cache_of_another_engine_is_not_the_clients_to_name(attacked: Attacked) -> None:
    transfer = {"do_remote_prefill": True, "remote_host": "169.254.169.254", "remote_block_ids": [1]}
    body = {"model": "llama", **QUESTION, "kv_transfer_params": transfer}
    assert call(attacked.running.port, "POST", CHAT, body, ATTACKER).status == 200
    assert "kv_transfer_params" not in attacked.own.asked[-1][1]


@pytest.mark.parametrize(
    "master", ["", " ", "sk-", "sk-1234", "a-long-password-that-is-no-key", "sk-with-an-end-of-line-\n"]
)
def test_a_master_key_that_is_none_opens_nothing(gateways: StartGateway, mounts: Mounts, master: str) -> None:
    running = gateways(mounts, LITELLM_MASTER_KEY=master)
    assert running.process.wait(60) == 1
    has_printed(running, "the master key")


def test_what_litellm_serves_is_what_was_looked_at(litellm: Path) -> None:
    """A release with other routes shows them here, before anybody can reach them."""
    script = Path(__file__).with_name("list_routes.py")
    command = [str(litellm / "python"), str(script)]
    found = subprocess.run(command, env={"PATH": "/usr/bin"}, capture_output=True, text=True, timeout=240, check=True)
    assert found.stdout.splitlines() == ROUTES.read_text().splitlines()
