"""`python -m drydock.loadtest.benchmark.bare PORT RATE SECONDS OUTPUT`: the least that a Python client can do.

Sends one prepared request at even times and stamps what each socket brings, and nothing else: no parsing, no errors, no
other loads. What any generator in Python can at best come near to. Writes `intended`, `sent` and, a row a request, the
time of each read, `reads` (NaN beyond the last).
"""

import json
import select
import socket
import sys
import time
from pathlib import Path

from drydock.loadtest.benchmark.stream_server import MODEL, TOKENS

_END = b"0\r\n\r\n"


def main() -> None:
    """Send, read, write the times."""
    port, rate, seconds, output = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "the " * 64}], "stream": True}).encode()
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    poll, clock = select.epoll(), time.monotonic
    total = int(rate * seconds)
    start = clock() + 0.1
    intended, sent, reads = [start + k / rate for k in range(total)], [0.0] * total, [[] for _ in range(total)]  # type: ignore[var-annotated]
    busy: dict[int, tuple[socket.socket, int]] = {}
    kept: list[socket.socket] = []
    sends = done = 0
    while done < total:
        now = clock()
        while sends < total and intended[sends] <= now:
            sock = kept.pop() if kept else _connect(port, poll)
            sent[sends] = clock()
            sock.send(request)
            busy[sock.fileno()] = (sock, sends)
            sends += 1
        wait = min(0.05, intended[sends] - clock()) if sends < total else 0.05
        if wait > 0:
            select.select([poll], (), (), wait)
        for fd, _ in poll.poll(0):
            sock, number = busy[fd]
            data = sock.recv(65536)
            reads[number].append(clock())
            if data.endswith(_END):
                del busy[fd]
                kept.append(sock)
                done += 1
    import numpy as np

    times = np.full((total, TOKENS), np.nan)
    for row, each in enumerate(reads):
        times[row, : len(each)] = each[:TOKENS]
    np.savez(output, intended=intended, sent=sent, reads=times)


def _connect(port: int, poll: "select.epoll") -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    poll.register(sock.fileno(), select.EPOLLIN)
    return sock


if __name__ == "__main__":
    main()
