"""The activator: requests for models without pods are counted and held, and let go when a pod answers."""

import gzip
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from tests.charts.gateway.conftest import Mount
from tests.charts.gateway.processes import (
    ACTIVATOR,
    CHAT,
    QUESTION,
    Mounts,
    NotYetError,
    Running,
    StartModel,
    call,
    entry,
    free_port,
    start_activator,
    until,
)
from tests.charts.gateway.processes import send as send_

pytestmark = pytest.mark.programs

PATH = f"/models/llama{CHAT}"
BODY = {"model": "llama", **QUESTION}
ask = partial(call, headers=ACTIVATOR)
send = partial(send_, headers=ACTIVATOR)
StartActivator = Callable[[Mounts], Running]


@pytest.fixture
def port() -> int:
    """Where the model's Service is: nobody answers there until a model is started."""
    return free_port()


@pytest.fixture
def activator(mount: Mount, activators: StartActivator, port: int) -> Running:
    return activators(_mounts(mount, port))


def _mounts(mount: Mount, port: int, **limits: Any) -> Mounts:
    mounts = mount({"activator": limits, "shutdown": {"drainSeconds": 240}})
    mounts.catalogue({"llama": entry(port, "llama", scaleToZero=True), "awake": entry(port, "awake")})
    return mounts


def _count(activator: Running) -> dict[str, Any]:
    answer = call(activator.look_port, "GET", "/models/llama")
    assert answer.status == 200
    found: dict[str, Any] = answer.json
    return found


@until
def _wait_for(activator: Running, **expected: int) -> None:
    found = _count(activator)
    if any(found[name] != value for name, value in expected.items()):
        raise NotYetError(str(found))


def _metric(activator: Running, line: str) -> float:
    rows = call(activator.look_port, "GET", "/metrics").text.splitlines()
    (row,) = (each for each in rows if each.startswith(f"{line} "))
    return float(row.rpartition(" ")[2])


class Upstream:
    """A pod that is told when to send what."""

    def __init__(self, port: int) -> None:
        self.listener = socket.create_server(("127.0.0.1", port))
        self.connections: list[socket.socket] = []

    def take(self) -> socket.socket:
        """The next request, read to the end of its body."""
        connection, _ = self.listener.accept()
        connection.settimeout(240)
        self.connections.append(connection)
        text = b""
        while b"\r\n\r\n" not in text:
            text += connection.recv(65536)
        head, _, body = text.partition(b"\r\n\r\n")
        lengths = [each for each in head.lower().split(b"\r\n") if each.startswith(b"content-length:")]
        left = int(lengths[0].partition(b":")[2]) - len(body) if lengths else 0
        while left > 0:
            left -= len(connection.recv(65536))
        return connection

    def close(self) -> None:
        for each in (*self.connections, self.listener):
            each.close()


@pytest.fixture
def upstream(port: int) -> Iterator[Upstream]:
    found = Upstream(port)
    yield found
    found.close()


def _stream(activator: Running) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("127.0.0.1", activator.port, timeout=240)
    connection.request("POST", PATH, json.dumps({**BODY, "stream": True}), ACTIVATOR)
    return connection


def test_a_request_waits_for_its_model_and_is_counted_meanwhile(
    activator: Running, models: StartModel, port: int
) -> None:
    assert _count(activator) == {"model": "llama", "requests": 0, "held": 0}
    waiting = [send(activator.port, PATH, BODY) for _ in range(3)]
    _wait_for(activator, requests=3, held=3)
    assert _metric(activator, 'activator_held_requests{model="llama"}') == 3
    models(port, "llama")
    for each in waiting:
        assert each.answer().status == 200
        assert each.answer().json["choices"]
    _wait_for(activator, requests=0, held=0)
    assert _metric(activator, 'activator_hold_seconds_count{model="llama"}') == 3
    assert ask(activator.port, "POST", PATH, BODY).status == 200


def test_a_model_that_went_to_sleep_again_is_waited_for_again(
    activator: Running, models: StartModel, port: int
) -> None:
    first = models(port, "llama")
    first.up("/health")
    assert ask(activator.port, "POST", PATH, BODY).status == 200
    first.end()
    waiting = send(activator.port, PATH, BODY)
    _wait_for(activator, requests=1, held=1)
    models(port, "llama")
    assert waiting.answer().status == 200


def test_an_answer_comes_through_piece_by_piece_and_is_counted_to_its_end(
    activator: Running, upstream: Upstream
) -> None:
    client = _stream(activator)
    pod = upstream.take()
    pod.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
    pod.sendall(b"9\r\ndata: 1\n\n\r\n")
    response = client.getresponse()
    assert response.headers["Content-Type"] == "text/event-stream"
    assert response.read(9) == b"data: 1\n\n"
    assert _count(activator) == {"model": "llama", "requests": 1, "held": 0}
    pod.sendall(b"9\r\ndata: 2\n\n\r\n0\r\n\r\n")
    assert response.read() == b"data: 2\n\n"
    client.close()
    _wait_for(activator, requests=0)


def test_an_answer_that_breaks_off_breaks_off_for_the_client_too(activator: Running, upstream: Upstream) -> None:
    client = _stream(activator)
    pod = upstream.take()
    pod.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
    response = client.getresponse()
    pod.close()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)):
        response.read()
    _wait_for(activator, requests=0)


def test_a_client_that_goes_away_ends_its_request_at_the_model(activator: Running, upstream: Upstream) -> None:
    client = _stream(activator)
    pod = upstream.take()
    pod.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
    response = client.getresponse()
    response.read(9)
    response.close()
    assert pod.recv(1) == b""
    _wait_for(activator, requests=0)


def test_a_client_that_goes_away_waits_no_longer(activator: Running) -> None:
    client = _stream(activator)
    _wait_for(activator, requests=1, held=1)
    client.sock.shutdown(socket.SHUT_RDWR)
    client.close()
    _wait_for(activator, requests=0, held=0)


def test_no_more_wait_than_may(mount: Mount, activators: StartActivator, port: int) -> None:
    activator = activators(_mounts(mount, port, maxHeldRequests=1))
    send(activator.port, PATH, BODY)
    _wait_for(activator, held=1)
    second = ask(activator.port, "POST", PATH, BODY)
    assert (second.status, second.headers["Retry-After"]) == (429, "10")
    assert "as many waiting requests as it may have" in second.json["error"]["message"]
    assert _metric(activator, 'activator_refused_requests_total{model="llama",reason="full"}') == 1
    assert _count(activator)["requests"] == 1


def test_nobody_waits_longer_than_may(mount: Mount, activators: StartActivator, port: int) -> None:
    activator = activators(_mounts(mount, port, holdSeconds=1))
    late = ask(activator.port, "POST", PATH, BODY)
    assert (late.status, late.headers["Retry-After"]) == (503, "10")
    assert "was not ready in time" in late.json["error"]["message"]
    assert _metric(activator, 'activator_refused_requests_total{model="llama",reason="late"}') == 1
    assert _count(activator)["requests"] == 0


def test_bodies_that_wait_take_no_more_memory_than_they_may(
    mount: Mount, activators: StartActivator, port: int
) -> None:
    activator = activators(_mounts(mount, port, maxHeldMebibytes=1, maxBodyMebibytes=1))
    large = b"x" * (700 * 1024)
    send(activator.port, PATH, large)
    _wait_for(activator, held=1)
    assert ask(activator.port, "POST", PATH, large).status == 429
    assert ask(activator.port, "POST", PATH, b"x" * (2 * 2**20)).status == 413


def test_only_work_wakes_a_model(activator: Running) -> None:
    assert ask(activator.port, "GET", "/models/llama/v1/models").status == 503
    assert _count(activator)["requests"] == 0
    assert ask(activator.port, "POST", f"/models/awake{CHAT}", BODY).status == 404
    assert call(activator.look_port, "GET", "/models/nobody").status == 404


def test_a_pod_that_stops_sends_what_waits_to_another_and_ends_what_runs(
    mount: Mount, activators: StartActivator, port: int
) -> None:
    mounts = _mounts(mount, port)
    pod = Upstream(running := free_port())
    mounts.catalogue({"llama": entry(port, "llama", scaleToZero=True), "b": entry(running, "b", scaleToZero=True)})
    activator = activators(mounts)
    under_way = send(activator.port, f"/models/b{CHAT}", BODY)
    connection = pod.take()
    held = send(activator.port, PATH, BODY)
    _wait_for(activator, held=1)
    stopped = threading.Thread(target=activator.stop)
    stopped.start()
    assert held.answer().status == 307
    assert held.answer().headers["Location"] == f"http://genai-model-gateway-activator.genai:8080{PATH}"
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
    assert (under_way.answer().status, under_way.answer().text) == (200, "done")
    stopped.join(240)
    assert activator.process.returncode == 0
    pod.close()


def test_a_model_that_moves_is_found_where_it_is_now(
    mount: Mount, activators: StartActivator, models: StartModel, port: int
) -> None:
    mounts = _mounts(mount, port)
    activator = activators(mounts)
    waiting = send(activator.port, PATH, BODY)
    _wait_for(activator, held=1)
    moved = free_port()
    models(moved, "llama")
    mounts.catalogue({"llama": entry(moved, "llama", scaleToZero=True)})
    assert waiting.answer().status == 200


def _open(activator: Running, *pieces: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", activator.port), timeout=240)
    for piece in pieces:
        connection.sendall(piece)
    return connection


def _head(length: int, *lines: str) -> bytes:
    token = "".join(f"{name}: {value}\r\n" for name, value in ACTIVATOR.items())
    return f"POST {PATH} HTTP/1.1\r\nHost: a\r\n{token}Content-Length: {length}\r\n\r\n".encode()


def test_only_the_gateway_wakes_a_model(activator: Running) -> None:
    for headers in ({}, {"X-Drydock-Activator": ""}, {"X-Drydock-Activator": "0" * 64}):
        assert call(activator.port, "POST", PATH, BODY, headers=headers).status == 401
        assert call(activator.port, "GET", "/models/llama/v1/models", headers=headers).status == 401
    assert _count(activator)["requests"] == 0


def test_the_token_stays_with_the_activator(activator: Running, port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port))
    waiting = send(activator.port, PATH, BODY)
    connection, _ = listener.accept()
    head = connection.recv(65536).lower()
    connection.close()
    listener.close()
    assert b"post /v1/chat/completions" in head
    assert b"x-drydock" not in head
    assert waiting.answer().status == 502


@pytest.mark.parametrize(
    "path",
    [
        "/models/llama/v1/..%2f..%2fawake%2fv1%2fchat%2fcompletions",
        "/models/llama/v1/%2e%2e/pause",
        "/models/llama/v1//models",
        "/models/llama/pause",
        "/models/llama/v1/models%00",
        "/models/llama/v1/a%5c..%5cb",
        "/models/llama/metrics",
    ],
)
def test_no_other_path_of_an_engine_is_reached(activator: Running, path: str) -> None:
    for method in ("GET", "POST"):
        assert ask(activator.port, method, path, BODY if method == "POST" else None).status == 404
    assert _count(activator)["requests"] == 0


def test_a_body_under_way_wakes_no_model_and_has_a_deadline(
    mount: Mount, start_short: StartActivator, port: int
) -> None:
    activator = start_short(_mounts(mount, port))
    slow = _open(activator, _head(100), b"{")
    silent = _open(activator)
    assert _count(activator)["requests"] == 0
    assert slow.recv(65536).startswith(b"HTTP/1.1 408")
    assert silent.recv(1) == b""
    for connection in (slow, silent):
        connection.close()


@pytest.fixture
def start_short() -> Iterator[StartActivator]:
    """Starts activators that wait a second for a request, and take few connections."""
    started: list[Running] = []

    def begin(mounts: Mounts) -> Running:
        started.append(start_activator(mounts, ACTIVATOR_READ_SECONDS="1", ACTIVATOR_CONNECTIONS="8"))
        return started[-1]

    yield begin
    for running in started:
        running.end()


def test_bodies_under_way_count_too(mount: Mount, activators: StartActivator, port: int) -> None:
    activator = activators(_mounts(mount, port, maxHeldMebibytes=1, maxBodyMebibytes=1))
    half = b"x" * (600 * 1024)
    first = _open(activator, _head(2**20), half)
    second = _open(activator, _head(2**20), half)
    refused = [connection for connection in (first, second) if _refused(connection)]
    assert len(refused) == 1
    for connection in (first, second):
        connection.close()


def _refused(connection: socket.socket) -> bool:
    connection.settimeout(2)
    try:
        return connection.recv(65536).startswith(b"HTTP/1.1 429")
    except TimeoutError:
        return False


def test_no_more_connect_than_may(mount: Mount, start_short: StartActivator, port: int) -> None:
    activator = start_short(_mounts(mount, port))
    opened = [_open(activator) for _ in range(40)]
    ends = [connection.recv(1) for connection in opened]
    assert ends == [b""] * 40
    assert ask(activator.port, "GET", "/models/llama/v1/models").status == 503
    for connection in opened:
        connection.close()


def test_what_cannot_be_handed_on_whole_is_refused(activator: Running) -> None:
    assert ask(activator.port, "GET", "/models/llama/v1/models", BODY).status == 400
    compressed = {**ACTIVATOR, "Content-Encoding": "gzip"}
    assert (
        call(activator.port, "POST", PATH, gzip.compress(json.dumps(BODY).encode()), headers=compressed).status == 415
    )
    assert ask(activator.port, "DELETE", PATH).status == 405


def test_without_a_master_key_it_does_not_start(mount: Mount, port: int) -> None:
    with pytest.raises(
        AssertionError, match=r"the master key .masterKeySecret of the chart model-gateway. is missing or empty"
    ):
        start_activator(_mounts(mount, port), LITELLM_MASTER_KEY="")
