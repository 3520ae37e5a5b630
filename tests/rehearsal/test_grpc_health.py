"""A gRPC probe asks the health service of a real server: etcd's."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tenacity import retry, stop_after_delay, wait_fixed

from drydock.rehearsal.kubelet.grpc_health import unhealthy


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        for listener in (one, two):
            listener.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


@pytest.fixture(scope="module")
def etcd(rehearsal_tools: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port of a running etcd."""
    folder = tmp_path_factory.mktemp("etcd")
    port, peers = _free_ports()
    clients, others = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peers}"
    options = [f"--data-dir={folder}", f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"]
    options += [f"--listen-peer-urls={others}", f"--initial-advertise-peer-urls={others}"]
    options += [f"--initial-cluster=default={others}", "--unsafe-no-fsync"]
    with (folder / "log").open("wb") as log:
        running = subprocess.Popen([rehearsal_tools["etcd"], *options], stdout=log, stderr=log)
    try:
        _await_healthy(port)
        yield port
    finally:
        running.kill()
        running.wait()


@retry(stop=stop_after_delay(120), wait=wait_fixed(0.1), reraise=True)
def _await_healthy(port: int) -> None:
    assert unhealthy("127.0.0.1", port, "", 10) == ""


def test_a_server_that_serves_is_healthy(etcd: int) -> None:
    assert unhealthy("127.0.0.1", etcd, "", 10) == ""


def test_a_service_that_the_server_does_not_know_is_unhealthy(etcd: int) -> None:
    assert "no such service" in unhealthy("127.0.0.1", etcd, "no.such.Service", 10)


def test_a_port_where_nothing_listens_is_unhealthy() -> None:
    port, _ = _free_ports()
    assert unhealthy("127.0.0.1", port, "", 10) == "gRPC: Connection refused"
