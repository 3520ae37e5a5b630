"""Access to a cluster whose API server does not know the caller yet."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import yaml

from drydock.clusters.kube import await_access
from drydock.errors import ClusterError

Serve = Callable[[list[int]], tuple[Path, list[str]]]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """A server that answers with these statuses in turn, then with the last; gives a kubeconfig and its requests."""
    servers: list[ThreadingHTTPServer] = []

    def start(statuses: list[int]) -> tuple[Path, list[str]]:
        requests: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status = statuses[min(len(requests), len(statuses) - 1)]
                requests.append(self.path)
                content = json.dumps({"kind": "NamespaceList", "apiVersion": "v1", "items": []}).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        Thread(target=server.serve_forever, daemon=True).start()
        file = tmp_path / "kubeconfig"
        address = f"http://127.0.0.1:{server.server_address[1]}"
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "new", "cluster": {"server": address}}],
            "users": [{"name": "new", "user": {"token": "not-known-yet"}}],
            "contexts": [{"name": "new", "context": {"cluster": "new", "user": "new"}}],
            "current-context": "new",
        }
        file.write_text(yaml.safe_dump(content))
        return file, requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_an_access_entry_that_was_just_made_is_waited_for(serve: Serve) -> None:
    kubeconfig, requests = serve([401, 403, 200])
    await_access(kubeconfig, pause=0)
    assert len(requests) == 3


def test_credentials_that_stay_refused_are_an_error(serve: Serve) -> None:
    kubeconfig, _ = serve([401])
    with pytest.raises(ClusterError, match="the API server answered 401"):
        await_access(kubeconfig, seconds=0, pause=0)


def test_other_errors_are_not_waited_for(serve: Serve) -> None:
    kubeconfig, requests = serve([500])
    with pytest.raises(ClusterError, match="the API server answered 500"):
        await_access(kubeconfig, pause=0)
    assert len(requests) == 1
