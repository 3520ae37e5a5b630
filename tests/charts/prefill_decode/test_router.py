"""The router between engines for prompts and engines for answers, run as its pod runs it."""

import json
import os
import socket
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.charts.gateway.processes import Running, call, free_port, start

pytestmark = pytest.mark.programs

PROGRAM = Path(__file__).resolve().parents[3] / "charts" / "vllm" / "files" / "prefill_decode_router.py"
COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
HANDED_ON = {"remote_engine_id": "one", "remote_block_ids": [1, 2], "remote_host": "10.0.0.1", "remote_port": 5600}


@dataclass
class Engine:
    """An engine that keeps what it is asked, and answers what it is told to."""

    status: int = 200
    answer: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, Any], dict[str, str]]] = field(default_factory=list)
    server: ThreadingHTTPServer = field(init=False)

    def __post_init__(self) -> None:
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                engine.asked.append((self.path, body, {name.lower(): value for name, value in self.headers.items()}))
                self.tell(json.dumps(engine.answer).encode())

            def do_GET(self) -> None:
                self.tell(self.path.encode())

            def tell(self, content: bytes) -> None:
                self.send_response(engine.status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """The requests are kept."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def prefill() -> Iterator[Engine]:
    engine = Engine(answer={"kv_transfer_params": HANDED_ON, "choices": [{"text": "a"}]})
    yield engine
    engine.end()


@pytest.fixture
def decode() -> Iterator[Engine]:
    engine = Engine(answer={"choices": [{"text": "an answer"}]})
    yield engine
    engine.end()


def running(prefill_url: str, decode_url: str, **more: str) -> Running:
    port = free_port()
    environment = {
        **os.environ,
        "PREFILL_URL": prefill_url,
        "DECODE_URL": decode_url,
        "DRAIN_SECONDS": "5",
        "ROUTER_HOST": "127.0.0.1",
        "ROUTER_PORT": str(port),
        **more,
    }
    return start([sys.executable, str(PROGRAM)], port, port, environment)


@pytest.fixture
def router(prefill: Engine, decode: Engine) -> Iterator[Running]:
    made = running(prefill.url, decode.url)
    made.up("/ping")
    yield made
    made.end()


def counted(router: Running) -> dict[str, float]:
    rows = call(router.port, "GET", "/metrics").text.splitlines()
    found = [each.split() for each in rows if each.startswith("prefill_decode_requests_total{")]
    return {name.partition('"')[2].partition('"')[0]: float(value) for name, value in found}


def test_the_kv_cache_of_the_first_engine_is_handed_on_to_the_second(
    router: Running, prefill: Engine, decode: Engine
) -> None:
    body = {"model": "small", "prompt": "Once", "max_tokens": 9, "stream": True, "stream_options": {}, "min_tokens": 3}
    answer = call(router.port, "POST", COMPLETIONS, body, key="secret")
    assert answer.json == decode.answer
    ((path, first, headers),) = prefill.asked
    assert (path, first["max_tokens"], first["stream"]) == (COMPLETIONS, 1, False)
    assert first["kv_transfer_params"]["do_remote_decode"] is True
    assert first["prompt"] == "Once"
    assert not {"stream_options", "min_tokens"} & set(first)
    ((_, second, others),) = decode.asked
    assert second == {**body, "kv_transfer_params": HANDED_ON}
    assert headers["authorization"] == others["authorization"] == "Bearer secret"
    assert headers["x-request-id"] == others["x-request-id"]
    assert counted(router) == {"prefill": 1}


def test_a_call_of_a_tool_is_not_asked_of_one_token(router: Running, prefill: Engine, decode: Engine) -> None:
    body = {"messages": [], "tools": [{"type": "function"}], "tool_choice": "required", "max_completion_tokens": 50}
    call(router.port, "POST", CHAT, body)
    ((_, first, _),) = prefill.asked
    assert (first["tool_choice"], first["tools"], first["max_tokens"]) == ("none", body["tools"], 1)
    assert "max_completion_tokens" not in first
    ((_, second, _),) = decode.asked
    assert second["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (COMPLETIONS, {"prompt": ["Once", "Twice"]}),
        (COMPLETIONS, {"prompt": [[1, 2], [3]]}),
        (COMPLETIONS, {"prompt": "Once", "n": 2}),
        (COMPLETIONS, {"prompt": "Once", "echo": True}),
        (CHAT, {"messages": [], "prompt_logprobs": 0}),
        ("/v1/embeddings", {"input": "Once"}),
        ("/tokenize", {"prompt": "Once"}),
    ],
)
def test_what_has_not_one_prompt_and_one_answer_is_the_second_engines_alone(
    router: Running, prefill: Engine, decode: Engine, path: str, body: dict[str, Any]
) -> None:
    assert call(router.port, "POST", path, body).status == 200
    assert prefill.asked == []
    assert [(where, what) for where, what, _ in decode.asked] == [(path, body)]
    assert counted(router) == {"decode": 1}


def test_a_prompt_as_tokens_is_one_prompt(router: Running, prefill: Engine) -> None:
    call(router.port, "POST", COMPLETIONS, {"prompt": [1, 2, 3]})
    assert len(prefill.asked) == 1


@pytest.mark.parametrize("status", [500, 503, 429])
def test_without_the_first_engine_the_second_reads_the_prompt_as_well(
    router: Running, prefill: Engine, decode: Engine, status: int
) -> None:
    prefill.status = status
    body = {"prompt": "Once", "max_tokens": 9}
    assert call(router.port, "POST", COMPLETIONS, body).json == decode.answer
    assert decode.asked[0][1] == body
    assert counted(router) == {"fallback": 1}


def test_nobody_listening_for_prompts_is_no_outage(decode: Engine) -> None:
    router = running(f"http://127.0.0.1:{free_port()}", decode.url)
    try:
        router.up("/health")
        assert call(router.port, "POST", COMPLETIONS, {"prompt": "Once"}).json == decode.answer
    finally:
        router.end()


@pytest.mark.parametrize("status", [400, 401, 404])
def test_what_is_wrong_with_a_request_is_told_once(
    router: Running, prefill: Engine, decode: Engine, status: int
) -> None:
    prefill.status, prefill.answer = status, {"error": "wrong"}
    answer = call(router.port, "POST", COMPLETIONS, {"prompt": "Once"})
    assert (answer.status, answer.json) == (status, {"error": "wrong"})
    assert decode.asked == []


def test_it_is_ready_when_answers_can_be_written(router: Running, decode: Engine) -> None:
    router.up("/health")
    decode.status = 503
    assert call(router.port, "GET", "/health").status == 503
    assert call(router.port, "GET", "/ping").status == 200


def test_other_pages_are_the_second_engines(router: Running) -> None:
    assert call(router.port, "GET", "/v1/models").text == "/v1/models"


def test_it_ends_when_told_to(router: Running) -> None:
    assert router.stop() == 0


@pytest.fixture(scope="module")
def small() -> Iterator[Running]:
    """A router that holds 1 MiB, and waits a second for a body; its engines keep nothing."""
    engine = Engine(answer={"choices": [{"text": "an answer"}]})
    made = running(engine.url, engine.url, ROUTER_HELD_MEBIBYTES="1", ROUTER_READ_SECONDS="1")
    made.up("/ping")
    yield made
    made.end()
    engine.end()


def opened(router: Running, head: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", router.port), timeout=30)
    connection.sendall(head)
    return connection


def begun(length: int) -> bytes:
    return f"POST {COMPLETIONS} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()


def test_bodies_under_way_take_no_more_memory_than_they_may(small: Running) -> None:
    with opened(small, begun(2 * 2**20) + b" " * (2**20 + 1)) as connection:
        assert connection.recv(64).startswith(b"HTTP/1.1 429 ")
    answer = call(small.port, "POST", COMPLETIONS, {"prompt": "Once"})
    assert answer.status == 200, "what was refused is let go"


def test_a_body_has_to_come_in_time(small: Running) -> None:
    with opened(small, begun(100) + b"{") as connection:
        assert connection.recv(64).startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET @127.0.0.1:1/x HTTP/1.1\r\nHost: a\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X-%d: a\r\n" % number for number in range(40_000)) + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\nX: a\nY: b\r\n\r\n",
    ],
)
def test_what_is_no_request_reaches_no_engine(small: Running, request_: bytes) -> None:
    with opened(small, request_) as connection:
        status = connection.recv(64).split(b" ")[1]
    assert 400 <= int(status) < 600
    assert call(small.port, "GET", "/ping").status == 200


def test_a_path_stays_with_its_engine(small: Running) -> None:
    """However it is spelt: a host in it is no host, and a parent folder no other server."""
    for path in ("//127.0.0.1:1/x", "/%40127.0.0.1:1/x", "/v1/..%2f..%2fx", "/http:%2f%2f127.0.0.1:1", "/x%3fy=1"):
        answer = call(small.port, "GET", path)
        assert answer.status == 200
        assert answer.text.startswith("/"), "the engine answers with the path that it was asked for"
