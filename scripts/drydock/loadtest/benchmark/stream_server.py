"""`python -m drydock.loadtest.benchmark.stream_server LOG`: streams made beforehand, and when each event was sent.

Every request is answered with 128 tokens: header, role and first token after 50 ms, one each 20 ms after that, and
with the last one usage, `[DONE]` and the end. Prints its port. On SIGTERM it writes `LOG` (.npz): `received`, the time
of each request's last byte, and `sent`, a row a request of the time just before each token was handed to the kernel
(monotonic clock, NaN where the client had gone).
"""

import heapq
import json
import select
import signal
import socket
import sys
import time
from array import array
from dataclasses import dataclass, field
from pathlib import Path

TOKENS = 128
FIRST_SECONDS = 0.05
GAP_SECONDS = 0.02
MODEL = "benchmark"
_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
_READ = 65536
_LONGEST = 0.05


def _chunk(data: object) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, separators=(",", ":"))
    payload = f"data: {text}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(payload), payload)


@dataclass(frozen=True)
class _Answer:
    """What goes out with the first token, with each one after it, and with the last."""

    first: bytes
    token: bytes
    last: bytes


def _answer(kind: str, role: object, token: object, last: object) -> _Answer:
    head = {"id": "chatcmpl-0123456789abcdef", "object": kind, "created": 0, "model": MODEL}
    used = {"prompt_tokens": 64, "total_tokens": 64 + TOKENS, "completion_tokens": TOKENS}

    def event(choice: object, finish: str | None = None) -> bytes:
        ending = {"logprobs": None, "finish_reason": finish}
        return _chunk({**head, "choices": [{"index": 0, **choice, **ending}]}) if isinstance(choice, dict) else b""

    usage = _chunk({**head, "choices": [], "usage": used})
    return _Answer(
        first=_HEAD + event(role) + event(token),
        token=event(token),
        last=event(last, "length") + usage + _chunk("[DONE]") + b"0\r\n\r\n",
    )


_CHAT = _answer(
    "chat.completion.chunk",
    {"delta": {"role": "assistant", "content": ""}},
    {"delta": {"content": " the"}},
    {"delta": {"content": " end"}},
)
_TEXT = _answer("text_completion", None, {"text": " the"}, {"text": " end"})
_MODELS = json.dumps({"object": "list", "data": [{"id": MODEL, "object": "model", "max_model_len": 8192}]}).encode()


@dataclass(eq=False, slots=True)
class _Client:
    """A connection."""

    sock: socket.socket
    got: bytes = b""


@dataclass(eq=False, slots=True)
class _Stream:
    """An answer under way."""

    client: _Client
    due: float
    answer: _Answer
    times: "array[float]" = field(default_factory=lambda: array("d"))

    def __lt__(self, other: "_Stream") -> bool:
        return self.due < other.due


class Server:
    """One thread, one epoll."""

    def __init__(self) -> None:
        self._poll = select.epoll()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self._listener.setblocking(False)
        self._poll.register(self._listener.fileno(), select.EPOLLIN)
        self._clients: dict[int, _Client] = {}
        self._due: list[_Stream] = []
        self._received = array("d")
        self._streams: list[_Stream] = []
        self.stopped = False

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def run(self) -> None:
        """Serve until stopped."""
        clock, due = time.monotonic, self._due
        while not self.stopped:
            now = clock()
            while due and due[0].due <= now:
                self._send(due[0])
                now = clock()
            wait = min(due[0].due - now, _LONGEST) if due else _LONGEST
            # select keeps microseconds, epoll does not
            select.select([self._poll], (), (), max(wait, 0.0))
            for fd, _ in self._poll.poll(0):
                self._serve(fd)

    def save(self, path: Path) -> None:
        """Write the log."""
        import numpy as np

        sent = np.full((len(self._streams), TOKENS), np.nan)
        for row, stream in enumerate(self._streams):
            sent[row, : len(stream.times)] = stream.times
        np.savez(path, received=np.array(self._received), sent=sent)

    def _send(self, stream: _Stream) -> None:
        number = len(stream.times)
        answer = stream.answer
        data = answer.first if number == 0 else answer.token if number < TOKENS - 1 else answer.last
        stream.times.append(time.monotonic())
        try:
            stream.client.sock.send(data)
        except OSError:
            heapq.heappop(self._due)
            return
        if number == TOKENS - 1:
            heapq.heappop(self._due)
        else:
            stream.due += GAP_SECONDS
            heapq.heapreplace(self._due, stream)

    def _serve(self, fd: int) -> None:
        client = self._clients.get(fd)
        if client is None:
            self._accept()
            return
        try:
            data = client.sock.recv(_READ)
        except OSError:
            data = b""
        if not data:
            self._poll.unregister(fd)
            client.sock.close()
            del self._clients[fd]
            return
        client.got += data
        self._request(client)

    def _request(self, client: _Client) -> None:
        end = client.got.find(b"\r\n\r\n")
        if end < 0:
            return
        if client.got.startswith(b"GET"):
            client.got = b""
            client.sock.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(_MODELS), _MODELS)
            )
            return
        fields = client.got[:end].lower()
        at = fields.find(b"content-length:")
        length = int(fields[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(client.got) < end + 4 + length:
            return
        answer = _CHAT if b"/chat/" in client.got[:64] else _TEXT
        client.got = b""
        now = time.monotonic()
        self._received.append(now)
        stream = _Stream(client, now + FIRST_SECONDS, answer)
        self._streams.append(stream)
        heapq.heappush(self._due, stream)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._clients[sock.fileno()] = _Client(sock)
            self._poll.register(sock.fileno(), select.EPOLLIN)


def main() -> None:
    """Serve until SIGTERM, then write the log."""
    server = Server()

    def stop(*_: object) -> None:
        server.stopped = True

    signal.signal(signal.SIGTERM, stop)
    print(server.port, flush=True)
    server.run()
    server.save(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
