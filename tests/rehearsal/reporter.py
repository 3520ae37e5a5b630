"""A program for pods: `reporter.py --listen=ADDRESS` tells over HTTP what it was given, and is ready when told so."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

READY = Path(os.environ["STATE"]) / "ready"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/exit":
            os._exit(3)
        if self.path == "/become-ready":
            READY.touch()
        status = 200 if self.path != "/ready" or READY.exists() else 503
        files = {name: Path(os.environ[name]).read_text() for name in ("SETTINGS", "TOKEN")}
        answer = json.dumps({"environment": dict(os.environ), "arguments": sys.argv[1:], "files": files}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        return


if __name__ == "__main__":
    print("up", flush=True)
    host, _, port = sys.argv[1].removeprefix("--listen=").rpartition(":")
    ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
