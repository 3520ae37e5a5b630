"""An API server that puts a call off, as it does for a moment when it begins to serve a custom resource."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from drydock.clusters.api import Access, Api, ApiError


class Hesitant(BaseHTTPRequestHandler):
    """Puts off the first call of each method."""

    calls: list[str]

    def do_GET(self) -> None:
        self.calls.append(self.command)
        body = b'{"message": "storage is (re)initializing"}'
        self.send_response(429 if self.calls.count(self.command) == 1 else 200)
        self.send_header("Retry-After", "0")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Nothing is printed."""


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Api]:
    Hesitant.calls = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hesitant) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = tmp_path / "none.pem"
        with Api(Access(f"http://127.0.0.1:{server.server_port}", file, file, file)) as made:
            yield made
        server.shutdown()


def test_a_read_is_repeated(api: Api) -> None:
    assert api.get("/apis/sea.dev/v1/ships")
    assert Hesitant.calls == ["GET", "GET"]


def test_a_write_is_not(api: Api) -> None:
    with pytest.raises(ApiError, match="initializing"):
        api.request("/apis/sea.dev/v1/ships", {})
    assert Hesitant.calls == ["POST"]
