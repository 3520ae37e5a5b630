"""Sends requests at their time and reads all answers of a worker, in one greenlet.

Locust's HTTP clients, like all of gevent's sockets, switch greenlets for each read: three quarters of what a streamed
event costs. Here a user's greenlet sleeps from its request to the end of the answer, and one greenlet does the reading
for all: it asks the kernel which sockets have something, and keeps each read's bytes with their time.
"""

import errno
import heapq
import ssl
import time
from collections import deque
from collections.abc import Callable
from itertools import count

import gevent

from drydock.loadtest.connection import Connection
from drydock.loadtest.exchange import Exchange
from drydock.loadtest.generator_health import Watch
from drydock.loadtest.poller import READ, WRITE, make_poller
from drydock.loadtest.records import Outcome
from drydock.loadtest.wire import MalformedError

clock = time.monotonic

_LONGEST_WAIT = 0.002
"""Seconds for which other greenlets (Locust's heartbeat and reports) may wait while nothing comes."""
_IDLE_SECONDS = 3.0
"""A kept connection older than that is not used again: uvicorn, and so vLLM, closes them after five."""
_SPARE_TIME = 0.001
_ROUNDS_TO_NEXT = 2
"""Turns of the hub in which a woken user comes to its next request; no waiting before it has."""
_REFUSED = (errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ETIMEDOUT, errno.EHOSTDOWN)
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)


class Reactor:
    """All connections of one worker.

    Args:
        connect: makes a connection to the server.
        timeout: seconds from a request's sending to the end of its answer.
        spare_work: called while there is nothing else to do; does a little (0.2 ms at most) and returns whether there
            is more.
        watch: notified of how the reactor keeps up.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        *,
        timeout: float,
        spare_work: Callable[[], bool],
        watch: Watch,
    ) -> None:
        self._connect = connect
        self._timeout, self._spare_work, self._watch = timeout, spare_work, watch
        self._poller = make_poller()
        self._connections: dict[int, Connection] = {}
        self._waiting: list[tuple[float, int, Exchange]] = []
        self._order = count()
        self._kept: deque[Connection] = deque()
        self._busy: dict[Connection, float] = {}
        self._stopped = False
        self._settling = 0

    def submit(self, exchange: Exchange) -> None:
        """Have a request sent when it is due; its `wake` is called at the end."""
        heapq.heappush(self._waiting, (exchange.due, next(self._order), exchange))

    def stop(self) -> None:
        """Give up all that is waiting or under way, as interrupted."""
        self._stopped = True

    @property
    def in_flight(self) -> int:
        """Requests sent and not answered."""
        return len(self._busy)

    def run(self) -> None:
        """Work until stopped."""
        watch = self._watch
        self._hub, self._me = gevent.get_hub(), gevent.getcurrent()
        self._turn = self._hub.loop.timer(0.0)
        busy_since = clock()
        while not self._stopped:
            self._send_due()
            ready = self._poller.ready()
            if ready:
                for fd, events in ready:
                    self._serve(fd, events)
                watch.batch(clock() - busy_since, len(ready))
                busy_since = clock()
                self._let_others()
                continue
            if self._settling:
                self._settling -= 1
                self._let_others()
                continue
            now = clock()
            self._expire(now)
            wait = min(self._waiting[0][0] - now if self._waiting else _LONGEST_WAIT, _LONGEST_WAIT)
            if wait > _SPARE_TIME and self._spare_work():
                busy_since = now
                continue
            if wait > 0:
                woken = self._poller.wait(wait)
                busy_since = clock()
                if not woken:
                    watch.overslept(busy_since - now - wait)
            self._let_others()
        self._give_up()

    def _let_others(self) -> None:
        """Give the hub one turn, in which it looks at its own sockets and timers; `sleep(0)` alone would not."""
        self._turn.start(self._me.switch)
        self._hub.switch()

    def _send_due(self) -> None:
        waiting = self._waiting
        while waiting and waiting[0][0] <= clock():
            self._send(heapq.heappop(waiting)[2])

    def _send(self, exchange: Exchange) -> None:
        exchange.sent = clock()
        connection = None
        try:
            connection = self._kept_connection(exchange.sent) if not exchange.retried else None
            if connection is None:
                connection = self._new_connection()
            connection.send(exchange)
        except OSError as error:
            if connection is None:
                self._end(exchange, _outcome(error, exchange))
            else:
                self._broken(connection, exchange, error)
            return
        self._busy[connection] = exchange.sent
        if connection.wants_write:
            self._poller.also_write(connection.fd, True)

    def _kept_connection(self, now: float) -> Connection | None:
        while self._kept:
            connection = self._kept.pop()
            if now - connection.idle_since < _IDLE_SECONDS:
                return connection
            self._close(connection)
        return None

    def _new_connection(self) -> Connection:
        connection = self._connect()
        self._connections[connection.fd] = connection
        self._poller.add(connection.fd)
        return connection

    def _serve(self, fd: int, events: int) -> None:
        connection = self._connections.get(fd)
        if connection is None:
            return
        exchange = connection.exchange
        if exchange is None:
            # whatever comes on a kept connection, its end above all, makes it useless
            self._kept.remove(connection)
            self._close(connection)
            return
        try:
            if events & WRITE:
                connection.flush()
                if not connection.wants_write:
                    self._poller.also_write(fd, False)
            if events & READ:
                data = connection.read()
                if data is None:
                    if connection.wants_write:
                        self._poller.also_write(fd, True)
                    return
                now = clock()
                if not data:
                    self._ended_by_server(connection, exchange, now)
                elif exchange.received(data, now):
                    self._answered(connection, exchange, now)
        except MalformedError:
            self._drop(connection)
            self._end(exchange, Outcome.MALFORMED)
        except OSError as error:
            self._broken(connection, exchange, error)

    def _answered(self, connection: Connection, exchange: Exchange, now: float) -> None:
        del self._busy[connection]
        connection.exchange = None
        if exchange.head is not None and exchange.head.keep_alive:
            connection.used = True
            connection.idle_since = now
            self._kept.append(connection)
        else:
            self._close(connection)
        self._end(exchange, Outcome.OK if exchange.status == 200 else Outcome.HTTP_ERROR)  # noqa: PLR2004

    def _ended_by_server(self, connection: Connection, exchange: Exchange, now: float) -> None:
        if exchange.closed():
            self._answered(connection, exchange, now)
        elif exchange.head is None:
            self._broken(connection, exchange, ConnectionResetError())
        else:
            self._drop(connection)
            self._end(exchange, Outcome.TRUNCATED)

    def _broken(self, connection: Connection, exchange: Exchange, error: OSError) -> None:
        fresh = not connection.used
        self._drop(connection)
        if not fresh and not exchange.pieces and not exchange.retried:
            # the server closed the kept connection before it saw this request
            exchange.retried = 1
            exchange.begin()
            sent = exchange.sent
            self._send(exchange)
            exchange.sent = sent
            return
        self._end(exchange, _outcome(error, exchange))

    def _expire(self, now: float) -> None:
        while self._busy:
            connection, since = next(iter(self._busy.items()))
            if now - since < self._timeout:
                return
            exchange = connection.exchange
            self._drop(connection)
            if exchange:
                self._end(exchange, Outcome.TIMEOUT)

    def _end(self, exchange: Exchange, outcome: Outcome) -> None:
        exchange.outcome = outcome
        exchange.finished = exchange.stamps[-1] if outcome in (Outcome.OK, Outcome.HTTP_ERROR) else clock()
        self._settling = _ROUNDS_TO_NEXT
        exchange.woken()

    def _drop(self, connection: Connection) -> None:
        self._busy.pop(connection, None)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        del self._connections[connection.fd]
        self._poller.remove(connection.fd)
        connection.close()

    def _give_up(self) -> None:
        under_way = [connection.exchange for connection in self._busy if connection.exchange]
        for connection in [*self._busy, *self._kept]:
            self._close(connection)
        self._busy.clear()
        self._kept.clear()
        for exchange in under_way:
            self._end(exchange, Outcome.INTERRUPTED)
        for _, _, exchange in self._waiting:
            exchange.woken()
        self._waiting.clear()
        self._poller.close()


def _outcome(error: OSError, exchange: Exchange) -> Outcome:
    if isinstance(error, ssl.SSLError):
        return Outcome.TLS_ERROR
    if error.errno in _EXHAUSTED:
        return Outcome.NOT_SENT
    if error.errno in _REFUSED and not exchange.pieces:
        return Outcome.CONNECTION_REFUSED
    return Outcome.TRUNCATED if exchange.head else Outcome.CONNECTION_RESET
