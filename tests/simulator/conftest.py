"""Starts real server processes."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from tests.simulator.vllm_server import Server, StartServer


@pytest.fixture(scope="session")
def start_server() -> Iterator[StartServer]:
    """Starts servers; they end with the session."""
    started: list[Server] = []

    def start(*arguments: str, model: str = "meta-llama/Llama-3.1-8B-Instruct", **environment: str) -> Server:
        command = [sys.executable, "-m", "drydock.simulator.server", "serve", model, "--host", "127.0.0.1"]
        command += ["--port", "0", "--max-model-len", "4096", *arguments]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
        )
        server = Server(process, 0)
        threading.Thread(target=_follow, args=(server,), daemon=True).start()
        started.append(server)
        server.wait_for("Application startup complete.")
        server.port = int(server.wait_for("Uvicorn running on").partition("127.0.0.1:")[2].split()[0])
        return server

    yield start
    for server in started:
        if server.process.poll() is None:
            server.process.kill()
        server.process.wait()
        if server.process.stdout is not None:
            server.process.stdout.close()


def _follow(server: Server) -> None:
    stream = server.process.stdout
    assert stream is not None
    try:
        for line in stream:
            server.lines.append(line)
            server.new_lines.put(line)
    except ValueError:
        pass  # closed at the end of the session
    server.new_lines.put(None)
