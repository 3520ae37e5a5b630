"""Servers for load tests, each a process of its own: the simulator, and one that misbehaves as its models' names say.

    with misbehaving_server() as url: ...      # requests for model "status-429" are answered with 429, and so on

Run as a program it is that server: it prints its port, and serves until it is ended.
"""

import asyncio
import json
import queue
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

SERIAL_SECONDS = 0.5
TOKEN_SECONDS = 0.002
SLOW_SECONDS = 0.01
"""Between tokens where the time between them is measured."""
_START_SECONDS = 180
_PORT = re.compile(r"^(\d+)$")
_LISTENING = re.compile(r"Uvicorn running on http://127\.0\.0\.1:(\d+)")


@contextmanager
def simulator(*arguments: str) -> Iterator[str]:
    """URL of a running drydock-vllm that serves `meta-llama/Llama-3.1-8B-Instruct`."""
    command = [sys.executable, "-m", "drydock.simulator.server", "meta-llama/Llama-3.1-8B-Instruct", "--port", "0"]
    with _running([*command, "--host", "127.0.0.1", "--max-model-len", "8192", *arguments]) as lines:
        yield f"http://127.0.0.1:{_port(lines, _LISTENING)}"


@contextmanager
def misbehaving_server(certificate: Path | None = None) -> Iterator[str]:
    """URL of a running server of the kind below; https with a file that holds a certificate and its key."""
    with _running([sys.executable, str(Path(__file__)), *([str(certificate)] if certificate else [])]) as lines:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{_port(lines, _PORT)}"


def requests_seen(url: str) -> list[dict[str, Any]]:
    """Requests that the misbehaving server has had: fields in lower case, `body`, and of serial ones `seconds`."""
    with urllib.request.urlopen(f"{url}/requests", timeout=60) as answer:
        seen: list[dict[str, Any]] = json.load(answer)
    return seen


Lines = queue.Queue[str | None]
"""What a process says; None after its last line."""


@contextmanager
def _running(command: list[str]) -> Iterator[Lines]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines: Lines = queue.Queue()
    # what it says is read all the time: a full pipe would stop it
    reader = threading.Thread(target=_follow, args=(process.stdout, lines), daemon=True)
    reader.start()
    try:
        yield lines
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        reader.join()
        process.stdout.close()


def _follow(stream: IO[str], lines: Lines) -> None:
    for line in stream:
        lines.put(line)
    lines.put(None)


def _port(lines: Lines, pattern: re.Pattern[str]) -> int:
    """The one that it listens on, as it says itself."""
    said: list[str] = []
    while (line := lines.get(timeout=_START_SECONDS)) is not None:
        if found := pattern.search(line):
            return int(found[1])
        said.append(line)
    raise AssertionError(f"the server did not start: {''.join(said)}")


@dataclass
class Call:
    """One request, with what it takes to answer it."""

    body: dict[str, Any]
    writer: asyncio.StreamWriter
    chunked: bool = True
    line_end: str = "\n"
    held: list[bytes] | None = None
    seen: dict[str, Any] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return int(self.body.get("max_tokens", 4))

    async def head(self, status: str = "200 OK", *fields: str) -> None:
        framing = ["Transfer-Encoding: chunked"] if self.chunked else []
        lines = [f"HTTP/1.1 {status}", "Content-Type: text/event-stream", *framing, *fields, "", ""]
        await self.raw("\r\n".join(lines).encode())

    async def raw(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def event(self, data: object) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        await self.payload(f"data: {text}{self.line_end * 2}".encode())

    async def payload(self, payload: bytes) -> None:
        if self.held is not None:
            self.held.append(payload)
            return
        await self.raw(b"%x\r\n%b\r\n" % (len(payload), payload) if self.chunked else payload)

    async def delta(self, **delta: object) -> None:
        await self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})

    async def words(self, number: int, seconds: float = TOKEN_SECONDS) -> None:
        for place in range(number):
            await asyncio.sleep(seconds)
            await self.delta(content=f" word{place}")

    async def usage(self, tokens: int | None = None) -> None:
        await self.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
        used = {"prompt_tokens": 7, "completion_tokens": self.tokens if tokens is None else tokens, "total_tokens": 0}
        await self.event({"choices": [], "usage": {**used, "prompt_tokens_details": {"cached_tokens": 3}}})

    async def end(self) -> None:
        await self.event("[DONE]")
        if self.chunked:
            await self.raw(b"0\r\n\r\n")

    async def whole(self, status: str, body: object, *fields: str) -> None:
        raw = json.dumps(body).encode()
        kind = [] if any(each.startswith("Content-Type") for each in fields) else ["Content-Type: application/json"]
        lines = [f"HTTP/1.1 {status}", *kind, f"Content-Length: {len(raw)}", *fields, "", ""]
        await self.raw("\r\n".join(lines).encode() + raw)

    async def stream(self) -> None:
        """A good answer."""
        await self.head()
        await self.delta(role="assistant", content="")
        await self.words(self.tokens)
        await self.usage()
        await self.end()


async def ok(call: Call) -> bool:
    if not call.body.get("stream"):
        message = {"message": {"role": "assistant", "content": "words"}, "index": 0, "finish_reason": "length"}
        used = {"prompt_tokens": 7, "completion_tokens": call.tokens, "total_tokens": 0}
        await call.whole("200 OK", {"choices": [message], "usage": used})
        return True
    await call.stream()
    return True


async def status_429(call: Call) -> bool:
    await call.whole("429 Too Many Requests", {"error": {"message": "slow down"}}, "Retry-After: 1")
    return True


async def status_404(call: Call) -> bool:
    await call.whole("404 Not Found", {"error": {"message": f"no {call.body.get('model')}", "code": 404}})
    return True


async def status_500(call: Call) -> bool:
    await call.whole("500 Internal Server Error", {"error": {"message": "broken"}})
    return True


async def status_400(call: Call) -> bool:
    """Tells far too much: the header of the request, terminal escapes, and more than anybody reads."""
    header = {"Authorization": call.seen.get("authorization", "")}
    message = f"\x1b[31mbad prompt\u202e\n of {header} {'x' * 100_000}"
    await call.whole("400 Bad Request", {"error": {"message": message}})
    return True


async def half_stream(call: Call) -> bool:
    await call.head()
    await call.words(3)
    return False


async def half_header(call: Call) -> bool:
    await call.raw(b"HTTP/1.1 200 OK\r\nContent-Ty")
    return False


async def closed_at_once(call: Call) -> bool:
    return False


async def slow_headers(call: Call) -> bool:
    await asyncio.sleep(30)
    return False


async def stalled_stream(call: Call) -> bool:
    await call.head()
    await call.words(2)
    await asyncio.sleep(30)
    return False


async def not_http(call: Call) -> bool:
    await call.raw(b"SSH-2.0-OpenSSH_9.9\r\n")
    await asyncio.sleep(0.2)
    return False


async def broken_chunks(call: Call) -> bool:
    await call.head()
    await call.raw(b"zz\r\nnothing\r\n\r\n")
    await asyncio.sleep(0.2)
    return False


async def broken_json(call: Call) -> bool:
    await call.head()
    await call.event('{"choices": [')
    await call.end()
    return True


async def error_in_stream(call: Call) -> bool:
    await call.head()
    await call.words(2)
    await call.event({"error": {"message": "out of memory", "code": 500}})
    await call.end()
    return True


async def error_after_text(call: Call) -> bool:
    """As a long message, so that it is not among the last bytes."""
    await call.head()
    await call.words(2)
    await call.event({"error": {"message": "the engine died " + "of this " * 500, "code": 500}})
    await call.end()
    return True


async def error_in_one_piece(call: Call) -> bool:
    await call.whole("200 OK", {"error": {"message": "overloaded", "code": 503}})
    return True


async def no_choices(call: Call) -> bool:
    await call.head()
    await call.event({"object": "ping"})
    await call.end()
    return True


async def null_error(call: Call) -> bool:
    """Every event has a field for errors, which is empty."""
    await call.head()
    for place in range(call.tokens):
        await call.event({"choices": [{"index": 0, "delta": {"content": f"word{place}"}}], "error": None})
    await call.usage()
    await call.end()
    return True


async def vast_usage(call: Call) -> bool:
    await call.head()
    await call.words(call.tokens)
    await call.usage(10**30)
    await call.end()
    return True


async def no_usage(call: Call) -> bool:
    await call.head()
    await call.words(call.tokens)
    await call.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]})
    await call.end()
    return True


async def empty(call: Call) -> bool:
    """A good answer without output."""
    if not call.body.get("stream"):
        await call.whole("200 OK", {"choices": [], "usage": {"completion_tokens": 0}})
        return True
    await call.head()
    await call.end()
    return True


async def mostly_empty(call: Call) -> bool:
    """Every tenth answer is a good one."""
    mostly_empty.calls += 1  # type: ignore[attr-defined]
    return await (ok if mostly_empty.calls % 10 == 0 else empty)(call)  # type: ignore[attr-defined]


mostly_empty.calls = 0  # type: ignore[attr-defined]


async def no_finish_reason(call: Call) -> bool:
    await call.head()
    await call.words(3)
    await call.end()
    return True


async def aborted(call: Call) -> bool:
    await call.head()
    await call.words(3)
    await call.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "abort"}]})
    await call.end()
    return True


async def all_hidden(call: Call) -> bool:
    await call.head()
    await call.usage(90)
    await call.end()
    return True


async def hidden_reasoning(call: Call) -> bool:
    """Ninety tokens of reasoning are counted and not sent; the ten of content come evenly."""
    await call.head()
    await asyncio.sleep(0.1)
    await call.words(10, SLOW_SECONDS)
    await call.event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    details = {"completion_tokens_details": {"reasoning_tokens": 90}}
    await call.event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 100, **details}})
    await call.end()
    return True


async def five_tokens_a_chunk(call: Call) -> bool:
    await call.head()
    for _ in range(10):
        await asyncio.sleep(5 * SLOW_SECONDS)
        await call.delta(content=" one two three four five")
    await call.usage(50)
    await call.end()
    return True


async def buffered(call: Call) -> bool:
    """As through a proxy that keeps the stream until it is complete."""
    await call.head()
    call.held = []
    await call.words(20, SLOW_SECONDS)
    await call.usage(20)
    await call.event("[DONE]")
    held, call.held = b"".join(call.held), None
    await call.payload(held)
    await call.raw(b"0\r\n\r\n")
    return True


async def in_bursts(call: Call) -> bool:
    """As through a proxy that keeps ten events at a time."""
    await call.head()
    for _ in range(4):
        call.held = []
        await call.words(10, SLOW_SECONDS / 2)
        held, call.held = b"".join(call.held), None
        await call.payload(held)
    await call.usage(40)
    await call.end()
    return True


async def stalls_at_first(call: Call) -> bool:
    """The first requests wait for kernels that are compiled."""
    if not call.body.get("stream"):
        return await ok(call)
    now = time.monotonic()
    stalls_at_first.ready = getattr(stalls_at_first, "ready", now + 5)  # type: ignore[attr-defined]
    await asyncio.sleep(max(0.0, stalls_at_first.ready - now))  # type: ignore[attr-defined]
    return await ok(call)


async def no_done(call: Call) -> bool:
    await call.head()
    await call.words(2)
    await call.raw(b"0\r\n\r\n")
    return True


async def late_first_token(call: Call) -> bool:
    """Role at once, an empty delta after 0.1 s, content after 0.3 s."""
    await call.head()
    await call.delta(role="assistant")
    await asyncio.sleep(0.1)
    await call.delta(content="")
    await asyncio.sleep(0.2)
    await call.words(call.tokens)
    await call.usage()
    await call.end()
    return True


async def two_tokens_a_chunk(call: Call) -> bool:
    await call.head()
    await call.words(call.tokens // 2, SLOW_SECONDS)
    await call.usage()
    await call.end()
    return True


async def carriage_returns(call: Call) -> bool:
    call.line_end = "\r\n"
    await call.stream()
    return True


async def until_close(call: Call) -> bool:
    call.chunked = False
    await call.stream()
    return False


async def trailer(call: Call) -> bool:
    await call.head("200 OK", "Trailer: X-Time")
    await call.words(call.tokens)
    await call.usage()
    await call.event("[DONE]")
    await call.raw(b"0\r\nX-Time: 1\r\n")
    await asyncio.sleep(0.01)
    await call.raw(b"\r\n")
    return True


async def byte_by_byte(call: Call) -> bool:
    """All of the answer, every byte in a packet of its own."""
    call.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    direct = call.raw

    async def slowly(data: bytes) -> None:
        for place in range(len(data)):
            await direct(data[place : place + 1])
            await asyncio.sleep(0)

    call.raw = slowly  # type: ignore[method-assign]
    await call.stream()
    return True


async def one_chunk(call: Call) -> bool:
    """All events in one chunk and one write."""
    await call.head()
    call.held = []
    await call.words(call.tokens, 0)
    await call.usage()
    await call.event("[DONE]")
    held, call.held = b"".join(call.held), None
    await call.payload(held)
    await call.raw(b"0\r\n\r\n")
    return True


async def interim(call: Call) -> bool:
    await call.raw(b"HTTP/1.1 102 Processing\r\n\r\n")
    await call.stream()
    return True


async def closes_kept(call: Call) -> bool:
    """Answers well and closes the connection a little later without having said so."""
    await call.stream()
    await asyncio.sleep(0.02)
    return False


@dataclass
class Serial:
    """One request at a time, 0.5 s each."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def __call__(self, call: Call) -> bool:
        async with self.lock:
            began = time.monotonic()
            await asyncio.sleep(SERIAL_SECONDS)
            call.seen["seconds"] = time.monotonic() - began
        return await ok(call)


PLACES: dict[str, tuple[str, object, str]] = {
    "nothing": ("404 Not Found", {"detail": "Not Found"}, "X-Place: nothing"),
    "page": ("200 OK", "<html>", "Content-Type: text/html; charset=utf-8"),
    "moved": ("301 Moved Permanently", {}, "Location: https://elsewhere.example/v1/models"),
    "locked": ("403 Forbidden", {"error": "the key secret-key is not known"}, "X-Place: locked"),
    "broken": ("502 Bad Gateway", {}, "X-Place: broken"),
}
"""Under these paths everything is answered alike."""

Behaviour = Callable[[Call], Awaitable[bool]]
"""Answers a call; whether the connection stays open."""


@dataclass
class Server:
    """Answers as the model's name asks: `half-stream` by `half_stream`, and well where there is no such behaviour."""

    seen: list[dict[str, Any]] = field(default_factory=list)
    serial: Serial = field(default_factory=Serial)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        call = Call({}, writer)
        if lines[0].startswith("GET /requests"):
            await call.whole("200 OK", self.seen)
            return True
        place = lines[0].split()[1].split("/")[1]
        if place in PLACES:
            await reader.readexactly(int(fields.get("content-length", 0)))
            await call.whole(*PLACES[place])
            return True
        if lines[0].startswith("GET "):
            await call.whole("200 OK", {"object": "list", "data": [{"id": "ok", "object": "model"}]})
            return True
        call.body = json.loads(await reader.readexactly(int(fields.get("content-length", 0))))
        call.seen = {**fields, "path": lines[0].split()[1], "body": call.body}
        self.seen.append(call.seen)
        name = str(call.body.get("model", "ok"))
        behaviour: Behaviour = self.serial if name == "serial" else globals().get(name.replace("-", "_"), ok)
        return await behaviour(call)


async def main() -> None:
    context = None
    if len(sys.argv) > 1:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(sys.argv[1])
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
