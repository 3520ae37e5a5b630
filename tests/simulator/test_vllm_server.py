"""The server over real HTTP."""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulator.vllm_server import Server, StartServer

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
CHAT = {"model": MODEL, "messages": [{"role": "user", "content": "What is a tide?"}]}


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> Server:
    return start_server("--simulate-speed", "10", "--enable-prompt-tokens-details")


def test_small_endpoints(server: Server) -> None:
    assert server.call("GET", "/health") == (200, "")
    assert server.call("GET", "/ping") == (200, "")
    assert server.call("POST", "/ping") == (200, "")
    assert server.call("GET", "/version") == (200, {"version": "0.26.0"})
    status, body = server.call("GET", "/v1/models")
    assert status == 200
    assert [(card["id"], card["max_model_len"], card["root"]) for card in body["data"]] == [(MODEL, 4096, MODEL)]


def test_the_first_request_is_answered_like_any_other(start_server: StartServer) -> None:
    """All is loaded when the server says that it is up: importing a library takes longer than an answer."""
    server = start_server(PYTHONPROFILEIMPORTTIME="1")
    assert server.call("POST", "/v1/chat/completions", {**CHAT, "max_tokens": 2})[0] == 200
    server.stop()
    up = next(place for place, line in enumerate(server.lines) if "Application startup complete." in line)
    assert any("import time:" in line for line in server.lines[:up])
    assert [line for line in server.lines[up:] if "import time:" in line] == []


def test_a_completion_counts_its_tokens(server: Server) -> None:
    body = {"model": MODEL, "prompt": [1, 2, 3, 4, 5], "max_tokens": 7, "ignore_eos": True}
    status, answer = server.call("POST", "/v1/completions", body)
    assert status == 200
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    assert answer["choices"][0]["finish_reason"] == "length"
    assert len(answer["choices"][0]["text"].split()) == 7
    used = answer["usage"]
    assert (used["prompt_tokens"], used["completion_tokens"], used["total_tokens"]) == (5, 7, 12)


def test_several_prompts_and_choices_have_their_own_index(server: Server) -> None:
    body = {"prompt": ["one", "two"], "max_tokens": 3, "n": 2, "ignore_eos": True}
    answer = server.call("POST", "/v1/completions", body)[1]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert answer["usage"]["completion_tokens"] == 12
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["model"] == MODEL


def test_a_chat_streams_role_words_reason_and_usage(server: Server) -> None:
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5, "ignore_eos": True}
    events = server.events("/v1/chat/completions", body)
    role, *words, usage = events
    assert role["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [event["choices"][0]["finish_reason"] for event in words] == [None] * 4 + ["length"]
    assert all(event["choices"][0]["delta"]["content"] for event in words)
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 5
    assert {event["object"] for event in events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in events}) == 1


def test_without_being_asked_no_usage_is_streamed(server: Server) -> None:
    events = server.events("/v1/completions", {"prompt": "x", "max_tokens": 2, "stream": True, "ignore_eos": True})
    assert len(events) == 2
    assert all(event["choices"] and "usage" not in event for event in events)


def test_usage_with_every_token(server: Server) -> None:
    options = {"include_usage": True, "continuous_usage_stats": True}
    body = {"prompt": "x", "max_tokens": 3, "stream": True, "stream_options": options, "ignore_eos": True}
    events = server.events("/v1/completions", body)
    assert [event["usage"]["completion_tokens"] for event in events] == [1, 2, 3, 3]


def test_temperature_zero_says_the_same_again(server: Server) -> None:
    body = {"prompt": "The sea", "max_tokens": 20, "temperature": 0, "ignore_eos": True}
    texts = {server.call("POST", "/v1/completions", body)[1]["choices"][0]["text"] for _ in range(2)}
    assert len(texts) == 1
    random = {server.call("POST", "/v1/completions", {**body, "temperature": 1})[1]["choices"][0]["text"]}
    assert random != texts


def test_a_stop_string_ends_the_answer_before_it(server: Server) -> None:
    body = {"prompt": "The sea", "max_tokens": 60, "temperature": 0, "ignore_eos": True}
    whole = server.call("POST", "/v1/completions", body)[1]["choices"][0]["text"]
    stop = whole.split()[30]
    answer = server.call("POST", "/v1/completions", {**body, "stop": [stop, "no such word"]})[1]
    choice = answer["choices"][0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    assert choice["text"] == whole[: whole.index(stop)]
    assert answer["usage"]["completion_tokens"] <= 31
    events = server.events("/v1/completions", {**body, "stop": stop, "stream": True})
    assert "".join(event["choices"][0]["text"] for event in events) == choice["text"]


def test_a_model_stops_by_itself_unless_told_to_go_on(server: Server) -> None:
    body = {**CHAT, "max_tokens": 4000, "temperature": 0}
    choice = server.call("POST", "/v1/chat/completions", body)[1]["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert choice["message"]["role"] == "assistant"


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/v1/completions", "{nope", 400, "JSON decode error"),
        ("/v1/completions", r'{"prompt": "\uD800"}', 400, "unable to parse raw data as a unicode string"),
        ("/v1/completions", "[" * 100_000, 400, "JSON decode error"),
        ("/v1/completions", {}, 400, "'prompt' is a required property"),
        ("/v1/completions", {"prompt": []}, 400, "prompt must be a string, array of strings"),
        ("/v1/completions", {"prompt": "x", "max_tokens": 0}, 400, "max_tokens"),
        ("/v1/completions", {"prompt": "x", "temperature": "hot"}, 400, "temperature"),
        ("/v1/completions", {"prompt": "x", "max_tokens": 5000}, 400, "'max_tokens' is too large: 5000"),
        ("/v1/completions", {"prompt": [1] * 5000}, 400, "maximum context length is 4096 tokens"),
        ("/v1/completions", {"prompt": "x", "stream_options": {"include_usage": True}}, 400, "Stream options can only"),
        ("/v1/chat/completions", {"messages": []}, 400, "messages"),
        ("/v1/chat/completions", {**CHAT, "model": "other"}, 404, "The model `other` does not exist."),
        ("/v1/embeddings", {"input": "x"}, 400, "does not support Embeddings API"),
    ],
)
def test_bad_requests_get_the_error_body(server: Server, path: str, body: object, status: int, message: str) -> None:
    got, answer = server.call("POST", path, body)
    assert got == status
    assert answer["error"]["code"] == status
    assert answer["error"]["type"] == ("NotFoundError" if status == 404 else "BadRequestError")
    assert message in answer["error"]["message"]


def test_unknown_paths_and_methods(server: Server) -> None:
    assert server.call("GET", "/v1/nothing") == (404, {"detail": "Not Found"})
    assert server.call("GET", "/v1/completions") == (405, {"detail": "Method Not Allowed"})


def test_the_next_turn_finds_the_last_one_in_the_cache(server: Server) -> None:
    question = "Tell me of the sea. " * 40
    first = {"messages": [{"role": "user", "content": question}], "max_tokens": 64, "ignore_eos": True}
    answer = server.call("POST", "/v1/chat/completions", first)[1]
    said = answer["choices"][0]["message"]["content"]
    turns = [*first["messages"], {"role": "assistant", "content": said}, {"role": "user", "content": "More."}]  # type: ignore[misc]
    used = server.call("POST", "/v1/chat/completions", {**first, "messages": turns})[1]["usage"]
    known = answer["usage"]["prompt_tokens"] + 63
    assert used["prompt_tokens_details"]["cached_tokens"] == known // 16 * 16


@pytest.fixture(scope="module")
def real_time(start_server: StartServer) -> Server:
    """As fast as the engine that it stands for."""
    return start_server("--no-enable-prefix-caching")


def test_a_client_that_goes_away_frees_its_place(real_time: Server) -> None:
    """Of an answer that takes 20 s."""
    server = real_time
    aborted = f'vllm:request_success_total{{engine="0",finished_reason="abort",model_name="{MODEL}"}}'
    running = f'vllm:num_requests_running{{engine="0",model_name="{MODEL}"}}'
    before = server.metric(aborted)
    connection = server.connection()
    body = {"prompt": "x", "max_tokens": 4000, "stream": True, "ignore_eos": True}
    connection.request("POST", "/v1/completions", json.dumps(body))
    connection.getresponse().read(100)
    assert server.metric(running) == 1
    connection.close()
    deadline = time.monotonic() + 120
    while server.metric(aborted) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.metric(aborted) == before + 1
    assert server.metric(running) == 0


def test_metrics_have_the_names_labels_and_buckets_of_a_real_server(start_server: StartServer) -> None:
    server = start_server("--served-model-name", "llama-3-8b", "--simulate-speed", "20", "--no-enable-prefix-caching")
    server.call("POST", "/v1/completions", {"prompt": [1] * 100, "max_tokens": 4, "ignore_eos": True})
    real = (Path(__file__).parent / "data/vllm-0.26-metrics.txt").read_text()
    assert _shape(server.call("GET", "/metrics")[1]) == _shape(real)


def _shape(text: str) -> set[str]:
    """Names, types, help texts, labels and buckets, without values and what differs by machine."""
    found = set()
    for line in text.splitlines():
        if "cache_config_info{" in line:
            found |= {f"cache config {name}" for name in re.findall(r'(\w+)="', line)}
        elif line.startswith("#"):
            found.add(line.strip())
        elif not line.startswith(("python_info", "process_")):
            found.add(line.rsplit(" ", 1)[0])
    return found


def test_histograms_count_what_happened(start_server: StartServer) -> None:
    server = start_server("--served-model-name", "m", "--simulate-speed", "5")
    began = time.monotonic()
    for _ in range(3):
        server.call("POST", "/v1/completions", {"prompt": [1] * 100, "max_tokens": 11, "ignore_eos": True})
    elapsed = time.monotonic() - began
    for name, count in {
        "vllm:time_to_first_token_seconds_count": 3,
        "vllm:inter_token_latency_seconds_count": 30,
        "vllm:e2e_request_latency_seconds_count": 3,
        "vllm:generation_tokens_total": 33,
        "vllm:prompt_tokens_total": 300,
        "vllm:prefix_cache_hits_total": 192,
    }.items():
        assert server.metric(f'{name}{{engine="0",model_name="m"}}') == count, name
    total = server.metric('vllm:e2e_request_latency_seconds_sum{engine="0",model_name="m"}')
    assert 3 * 0.05 < total < 5 * elapsed, "of the engine's seconds, of which there are five in each of this machine"
    assert server.metric('http_requests_total{handler="/v1/completions",method="POST",status="2xx"}') == 3


def test_keys_guard_the_api_and_nothing_else(start_server: StartServer) -> None:
    server = start_server("--simulate-speed", "20", VLLM_API_KEY="sk-secret")
    assert server.call("GET", "/health")[0] == 200
    assert server.call("GET", "/metrics")[0] == 200
    assert server.call("GET", "/v1/models") == (401, {"error": "Unauthorized"})
    assert server.call("GET", "/v1/models", Authorization="Bearer wrong")[0] == 401
    assert server.call("GET", "/v1/models", Authorization="Bearer sk-secret")[0] == 200
    server.stop()
    assert "sk-secret" not in "".join(server.lines)


def test_adapters_are_models_of_their_own(start_server: StartServer) -> None:
    server = start_server(
        "--simulate-speed", "20", "--served-model-name", "base", "--enable-lora", "--lora-modules", "sql=/adapters/sql"
    )
    cards = server.call("GET", "/v1/models")[1]["data"]
    assert [(card["id"], card["parent"]) for card in cards] == [("base", None), ("sql", "base")]
    answer = server.call("POST", "/v1/completions", {"model": "sql", "prompt": "x", "max_tokens": 2})[1]
    assert answer["model"] == "sql"
    assert 'vllm:lora_requests_info{max_lora="1"' in server.call("GET", "/metrics")[1]


def test_embeddings_of_a_pooling_model(start_server: StartServer) -> None:
    server = start_server("--runner", "pooling", "--simulate-speed", "20")
    status, body = server.call("POST", "/v1/embeddings", {"input": ["a", "b", "a"], "dimensions": 8})
    assert status == 200
    first, second, third = (item["embedding"] for item in body["data"])
    assert first == third != second
    assert len(first) == 8
    assert body["usage"]["prompt_tokens"] == 3


def test_sigterm_drains_and_leaves_with_status_zero(start_server: StartServer) -> None:
    server = start_server("--shutdown-timeout", "60", "--simulate-speed", "4")
    connection = server.connection()
    body = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body))
    response = connection.getresponse()
    response.read(50)
    assert server.stop() == 0
    assert response.read().endswith(b"data: [DONE]\n\n")
    connection.close()
    log = "".join(server.lines)
    for line in ("Shutting down", "Draining 1 in-flight requests", "Application shutdown complete.", "Finished server"):
        assert line in log


def test_requests_on_open_connections_fail_during_the_drain(start_server: StartServer) -> None:
    """As vLLM 0.26 did on H200: what is under way goes on, and what is new gets 500."""
    server = start_server("--shutdown-timeout", "60", "--simulate-speed", "2")
    under_way, kept = server.connection(), server.connection()
    body = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True}
    kept.request("GET", "/health")
    kept.getresponse().read()
    under_way.request("POST", "/v1/completions", json.dumps(body))
    stream = under_way.getresponse()
    stream.read(50)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("Draining 1 in-flight requests")
    kept.request("POST", "/v1/completions", json.dumps({"prompt": "x", "max_tokens": 1}))
    answer = kept.getresponse()
    assert (answer.status, json.loads(answer.read())["error"]["message"]) == (
        500,
        "cannot schedule new futures after shutdown",
    )
    assert stream.read().endswith(b"data: [DONE]\n\n")
    kept.close()
    under_way.close()
    assert server.process.wait(timeout=60) == 0


@pytest.mark.parametrize("stream", [False, True])
def test_without_a_drain_answers_are_aborted(start_server: StartServer, stream: bool) -> None:
    server = start_server()
    connection = server.connection()
    body = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": stream}
    connection.request("POST", "/v1/completions", json.dumps(body))
    while server.metric(f'vllm:num_requests_running{{engine="0",model_name="{MODEL}"}}') < 1:
        pass
    server.process.send_signal(signal.SIGTERM)
    text = connection.getresponse().read()
    if stream:
        *_, last, done = [event for event in text.split(b"\n\n") if event]
        assert done == b"data: [DONE]"
        text = last.removeprefix(b"data: ")
    assert json.loads(text)["choices"][0]["finish_reason"] == "abort"
    connection.close()
    assert server.process.wait(timeout=60) == 0


def _bytes_so_far(connection: socket.socket) -> tuple[bytes, bool]:
    """What has arrived, and whether the server ended the connection."""
    connection.setblocking(False)
    found = b""
    while True:
        try:
            part = connection.recv(1 << 16)
        except BlockingIOError:
            return found, False
        if not part:
            return found, True
        found += part


def test_streams_that_outlast_the_drain_hang_until_their_clients_leave(start_server: StartServer) -> None:
    """As vLLM 0.26 did on H200: no more tokens, no end, and the process stays."""
    server = start_server("--shutdown-timeout", "1")
    connection = server.connection()
    body = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True}
    connection.request("POST", "/v1/completions", json.dumps(body))
    response = connection.getresponse()
    response.read(50)
    server.process.send_signal(signal.SIGTERM)
    server.wait_for("Waiting for connections to close")
    assert "force killing remaining processes count=1" in "".join(server.lines)
    assert server.process.poll() is None
    left, ended = _bytes_so_far(connection.sock)
    assert b"[DONE]" not in left
    assert not ended
    response.close()
    connection.close()
    assert server.process.wait(timeout=60) == 0


def test_the_log_says_what_people_look_for(server: Server) -> None:
    server.call("GET", "/health")
    server.wait_for('"GET /health HTTP/1.1" 200 OK')
    log = "".join(server.lines)
    assert re.search(r"INFO \d\d-\d\d \d\d:\d\d:\d\d \[.*\] vLLM API server version 0.26.0", log)
    assert re.search(r"GPU KV cache size: [\d,]+ tokens", log)
    assert re.search(r"Maximum concurrency for 4,096 tokens per request: [\d.]+x", log)
    assert "Starting vLLM server on http://127.0.0.1:" in log
    assert re.search(r'INFO: +127.0.0.1:\d+ - "GET /health HTTP/1.1" 200 OK', log)


def test_live_times_are_those_of_the_simulation(real_time: Server) -> None:
    """631 ms on a real H200 by its own histogram; a busy machine only adds to it, and not always."""
    e2e = f'vllm:e2e_request_latency_seconds_sum{{engine="0",model_name="{MODEL}"}}'
    body = {"prompt": [1] * 512, "max_tokens": 128, "ignore_eos": True}
    taken = [math.inf]
    while min(taken) > 2 and len(taken) < 20:
        before, began = real_time.metric(e2e), time.monotonic()
        real_time.call("POST", "/v1/completions", body)
        elapsed = time.monotonic() - began
        taken.append(real_time.metric(e2e) - before)
        assert 0.6 < taken[-1] < elapsed
    assert min(taken) < 2


def test_middleware_of_the_chart_guards_every_route(start_server: StartServer) -> None:
    folder = Path(__file__).resolve().parents[2] / "charts" / "vllm" / "files"
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    middleware = "--middleware=require_api_key.RequireApiKey"
    server = start_server(middleware, "--simulate-speed", "20", VLLM_API_KEY="sk-secret", PYTHONPATH=path)
    assert server.call("GET", "/health")[0] == 200
    assert server.call("GET", "/metrics")[0] == 200
    assert server.call("GET", "/version") == (401, {"error": "Unauthorized"})
    assert server.call("POST", "/tokenize", {"model": "m", "prompt": "x"})[0] == 401
    assert server.call("GET", "/version", Authorization="Bearer sk-secret")[0] == 200
    request = {"model": "meta-llama/Llama-3.1-8B-Instruct", "prompt": "x", "max_tokens": 2}
    assert server.call("POST", "/v1/completions", request, Authorization="Bearer sk-secret")[0] == 200


@pytest.mark.parametrize(
    ("name", "words"),
    [("nowhere.Guard", "No module named"), ("json.loads", "is no class"), ("Guard", "Give MODULE.CLASS")],
)
def test_middleware_that_cannot_be_made_is_told(name: str, words: str) -> None:
    command = [sys.executable, "-m", "drydock.simulator.server", "serve", "llama-3-8b", "--middleware", name]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
