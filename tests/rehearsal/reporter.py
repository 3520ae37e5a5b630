"""A program for pods: `reporter.py --listen=ADDRESS` tells over HTTP what it was given, and is ready when told so."""

import json
import os
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

READY = Path(os.environ["STATE"]) / "ready"


def fetch(url: str) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return dict(json.load(answer))
    except OSError as error:
        return {"error": str(error)}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/exit":
            os._exit(3)
        if self.path == "/become-ready":
            READY.touch()
        if self.path == "/become-unready":
            READY.unlink()
        status = 200 if self.path != "/ready" or READY.exists() else 503
        files = {name: Path(os.environ[name]).read_text() for name in ("SETTINGS", "TOKEN")}
        told: dict[str, Any] = {
            "environment": dict(os.environ),
            "arguments": sys.argv[1:],
            "files": files,
            "user": os.getuid(),
        }
        if self.path.startswith("/fetch?"):
            told = fetch(self.path.partition("?")[2])
        answer = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    if path := os.environ.get("WRITE"):
        Path(path).write_text("some")
    eaten = b"x" * (int(os.environ.get("EAT", "0")) << 20)
    if status := os.environ.get("LEAVE"):
        sys.exit(int(status))
    print("up", flush=True)
    host, _, port = sys.argv[1].removeprefix("--listen=").rpartition(":")
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
