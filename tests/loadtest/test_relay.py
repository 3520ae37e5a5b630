"""The port that leads to pods is for the load alone, not for other users of the machine."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from drydock.loadtest.cluster.models import Pod
from drydock.loadtest.cluster.relay import relayed

pytestmark = pytest.mark.programs

ASK = """
import socket, sys
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as connection:
    connection.sendall(b"hi")
    print(connection.recv(9))
"""
REACHABLE = "rehearsal.drydock.dev/reachable-at"


@pytest.fixture
def port() -> Iterator[str]:
    """Leads to two pods that echo."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def echo() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(connection.recv(9))

        threading.Thread(target=echo, daemon=True).start()
        at = {REACHABLE: f"http=127.0.0.1:{listener.getsockname()[1]}"}
        pods = [Pod(name=name, namespace="genai", port=80, port_name="http", annotations=at) for name in ("one", "two")]
        with relayed(None, pods) as url:
            yield url.rpartition(":")[2]


def ask(port: str, *prefix: str) -> str:
    python = shutil.which("python3", path=os.defpath) or sys.executable  # that another user may run too
    done = subprocess.run([*prefix, python, "-c", ASK, port], capture_output=True, text=True, check=False, cwd="/")
    return done.stdout.strip()


def test_the_load_gets_through(port: str) -> None:
    assert ask(port) == "b'hi'"


def test_another_user_does_not(port: str) -> None:
    other = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    if os.getuid() or not shutil.which("setpriv"):
        other = ["true"]  # nobody else can be asked for here
    assert ask(port, *other) in ("", "b''")
