"""A server with the APIs of providers of hosted models, in the shapes that their clients read."""

import json
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

TEXT = "Hello from afar"
PROMPT_TOKENS, ANSWER_TOKENS = 1000, 500


@dataclass(frozen=True)
class Asked:
    """A request that a provider got."""

    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


def _openai(asked: Asked) -> Any:
    usage = {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": ANSWER_TOKENS, "total_tokens": 1500}
    model = asked.body["model"]
    if asked.path.endswith("/embeddings"):
        vector = {"object": "embedding", "index": 0, "embedding": [0.5, -0.5]}
        return {"object": "list", "data": [vector], "model": model, "usage": {**usage, "completion_tokens": 0}}
    if asked.path.endswith("/rerank"):
        return {"id": "r", "results": [{"index": 0, "relevance_score": 0.9}], "usage": {"total_tokens": 9}}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": TEXT}}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": model}
    return {**head, "choices": [choice], "usage": usage}


def _anthropic(asked: Asked) -> Any:
    usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": ANSWER_TOKENS}
    head = {"id": "m", "type": "message", "role": "assistant", "model": asked.body["model"], "stop_reason": "end_turn"}
    return {**head, "stop_sequence": None, "content": [{"type": "text", "text": TEXT}], "usage": usage}


def _google(asked: Asked) -> Any:
    usage = {"promptTokenCount": PROMPT_TOKENS, "candidatesTokenCount": ANSWER_TOKENS, "totalTokenCount": 1500}
    content = {"role": "model", "parts": [{"text": TEXT}]}
    return {"candidates": [{"index": 0, "finishReason": "STOP", "content": content}], "usageMetadata": usage}


def bedrock(_: Asked) -> Any:
    usage = {"inputTokens": PROMPT_TOKENS, "outputTokens": ANSWER_TOKENS, "totalTokens": 1500}
    message = {"role": "assistant", "content": [{"text": TEXT}]}
    return {"output": {"message": message}, "stopReason": "end_turn", "usage": usage, "metrics": {"latencyMs": 9}}


def bedrock_events() -> Iterator[bytes]:
    """An answer of ConverseStream, in the encoding of AWS's event streams."""
    yield _event("messageStart", {"role": "assistant"})
    for word in TEXT.split(" "):
        yield _event("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": f"{word} "}})
    yield _event("messageStop", {"stopReason": "end_turn"})
    yield _event("metadata", {"usage": bedrock(Asked("", {}, {}))["usage"], "metrics": {"latencyMs": 9}})


def _event(kind: str, payload: Mapping[str, Any]) -> bytes:
    values = {":message-type": "event", ":event-type": kind, ":content-type": "application/json"}
    headers = b"".join(
        struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", 7, len(value)) + value.encode()
        for name, value in values.items()
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack("!I", zlib.crc32(message))


class Providers:
    """All of them at one port, each at the paths of its own API; `broken` has ends of paths that get 503."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.broken: set[str] = set()
        providers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                asked = Asked(unquote(self.path), dict(self.headers.items()), json.loads(raw or b"{}"))
                providers.asked.append(asked)
                if any(asked.path.endswith(ending) for ending in providers.broken):
                    self._send(503, "application/json", b'{"message": "no capacity", "error": {"message": "busy"}}')
                elif asked.path.endswith("/converse-stream"):
                    self._send(200, "application/vnd.amazon.eventstream", b"".join(bedrock_events()))
                else:
                    self._send(200, "application/json", json.dumps(providers.answer(asked)).encode())

            def _send(self, status: int, kind: str, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """The requests are kept."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def answer(asked: Asked) -> Any:
        """What the API of the request's path answers."""
        if asked.path.endswith("/v1/messages"):
            return _anthropic(asked)
        if asked.path.startswith("/v1beta/models/"):
            return _google(asked)
        if asked.path.startswith("/model/"):
            return bedrock(asked)
        return _openai(asked)

    def end(self) -> None:
        self.server.shutdown()
        self.server.server_close()
