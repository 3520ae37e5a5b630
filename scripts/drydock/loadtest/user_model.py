"""The load that one worker makes: Locust users who hold conversations through the worker's reactor."""

import gc
import os
import resource
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count, cycle
from math import isnan
from typing import Any

import gevent
from gevent.event import Event
from locust import User, constant, task
from locust.env import Environment
from locust.exception import StopUser

from drydock.errors import DrydockError
from drydock.loadtest.answers import read_answer, seems_well
from drydock.loadtest.arrivals import due_times
from drydock.loadtest.connection import Connection, SocketAddress, TlsConnection
from drydock.loadtest.exchange import Exchange
from drydock.loadtest.generator_health import Watch
from drydock.loadtest.prompts import Conversation, Prompts
from drydock.loadtest.reactor import Reactor, clock
from drydock.loadtest.recorder import Recorder
from drydock.loadtest.records import Outcome
from drydock.loadtest.settings import Closed, LoadPlan, Target
from drydock.loadtest.wire import Address, request_bytes, request_head, tls_context

_AHEAD_SECONDS = 0.1
"""How long before its time a request is handed to the reactor, which then sends it to the microsecond."""
_PROBE_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 5.0
"""From a failed request to the next one of the same client: doubled with each failure, forgotten with an answer."""
_MOST_SOCKETS = 65_536


class RequestError(Exception):
    """What Locust records of a request that failed."""


class Load:
    """A worker's part of a plan: every `processes`-th conversation from its own number on."""

    def __init__(self, plan: LoadPlan) -> None:
        self.plan = plan
        self.environment = LoadEnvironment(self)
        self.watch = Watch()
        self.prompts = Prompts(plan)
        self.begun = Event()
        self._head = request_head(plan.target)
        self._turns_can_follow = plan.workload.turns > 1 or plan.workload.dataset is not None
        self.end = 0.0
        self._open = 0
        self._interrupted = False

    def begin(self, start: float, worker: int) -> None:
        """Send from `start` on, of the monotonic clock, as the worker of that number."""
        plan = self.plan
        self.start, self.worker = start, worker
        self.end = start + plan.stage.sending_seconds
        self._numbers = count(worker, plan.processes)
        self.recorder = Recorder(
            stream=plan.target.stream, models=self.prompts.models, worker=worker, secrets=plan.target.secrets
        )
        self.reactor = Reactor(
            connector(plan.target),
            timeout=plan.target.timeout_seconds,
            spare_work=self.recorder.spare_work,
            watch=self.watch,
        )
        self._reading = gevent.spawn(self.reactor.run)
        # a full collection stops everything for tens of milliseconds; exchanges leave no cycles behind
        gc.collect()
        gc.freeze()
        gc.disable()
        gevent.sleep(max(0.0, start - clock() - _AHEAD_SECONDS))
        self.watch.start()
        self.begun.set()

    def finish(self) -> None:
        """Wait until all conversations are over, then stop.

        Raises:
            DrydockError: the reactor broke.
        """
        gevent.sleep(max(0.0, self.start - clock()) + 0.01)
        while self._open and not self._interrupted:
            gevent.sleep(0.01)
            if self._reading.ready():
                raise DrydockError(
                    f"the load generator broke: {self._reading.exception!r}", remedy="Please report this."
                )
        self.watch.stop()
        self.reactor.stop()
        gc.enable()
        while self._open:
            gevent.sleep(0.001)

    def interrupt(self) -> None:
        """Give up what is under way."""
        self._interrupted = True

    @property
    def interrupted(self) -> bool:
        """Whether it was given up."""
        return self._interrupted

    @contextmanager
    def source(self) -> Iterator[None]:
        """While it is open, conversations may still begin."""
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    def next_number(self, due: float) -> int | None:
        """Of the next conversation of a closed loop, to begin then; None when it is over."""
        if self._interrupted or max(due, clock()) >= self.end:
            return None
        number = next(self._numbers)
        most = self.plan.stage.max_conversations
        return number if most is None or number < most else None

    def converse(self, number: int, due: float) -> Exchange:
        """Hold one conversation, whose first request is due then; gives its last one."""
        with self.source():
            conversation = self.prompts.conversation(number)
            for turn in range(conversation.turns):
                if turn and (due >= self.end or self._interrupted):
                    break
                exchange = self._exchange(conversation, turn, due)
                if isnan(exchange.sent):
                    break
                if self._turns_can_follow or self._may_have_failed(exchange):
                    self._read_now(exchange, conversation, number, turn)
                else:
                    self.recorder.add(exchange, model=conversation.model, session=number, turn=turn)
                self._tell_locust(exchange, conversation.model)
                due = exchange.finished + self.plan.workload.think_seconds
                if exchange.failed:
                    break
            return exchange

    def _exchange(self, conversation: Conversation, turn: int, due: float) -> Exchange:
        hub, me = gevent.get_hub(), gevent.getcurrent()
        request = request_bytes(self._head, conversation.body(turn))
        exchange = Exchange(request, due, lambda: hub.loop.run_callback(me.switch))
        exchange.asked = conversation.exactly(turn)
        if not self._interrupted:
            self.reactor.submit(exchange)
            hub.switch()
        return exchange

    def _may_have_failed(self, exchange: Exchange) -> bool:
        """Whether its client, which waits after a failure, must look at an answer before it sends the next request."""
        if not isinstance(self.plan.stage.arrival, Closed):
            return False
        complete = exchange.outcome is Outcome.OK and seems_well(exchange, stream=self.plan.target.stream)
        return not complete and exchange.outcome in (Outcome.OK, Outcome.TRUNCATED)

    def _read_now(self, exchange: Exchange, conversation: Conversation, number: int, turn: int) -> None:
        answer = read_answer(exchange, stream=self.plan.target.stream, keep_text=True)
        conversation.heard(answer.text)
        exchange.outcome = answer.outcome
        self.recorder.add_read(exchange, answer, model=conversation.model, session=number, turn=turn)

    def _tell_locust(self, exchange: Exchange, model: int) -> None:
        outcome = exchange.outcome
        self.environment.events.request.fire(  # type: ignore[no-untyped-call]
            request_type=self.plan.target.endpoint,
            name=self.prompts.models[model],
            response_time=1e3 * (exchange.finished - exchange.due),
            response_length=0,
            exception=None if outcome is Outcome.OK or outcome is None else RequestError(outcome.name.lower()),
            context={},
        )


class LoadEnvironment(Environment):
    """Locust's environment, from which its users find their load."""

    def __init__(self, load: Load) -> None:
        super().__init__(user_classes=[user_class(load.plan)])
        self.load = load


class _LoadUser(User):
    abstract = True
    wait_time = constant(0)

    @property
    def load(self) -> Load:
        """Set on the environment by the worker."""
        environment = self.environment
        if not isinstance(environment, LoadEnvironment):
            raise TypeError("users of a load need its environment")
        return environment.load


class ClosedUser(_LoadUser):
    """A client of a closed loop: one conversation after the other."""

    abstract = False

    def on_start(self) -> None:
        """Wait for the start that all workers share."""
        self.load.begun.wait()
        self._source = self.load.source()
        self._source.__enter__()
        self._free = self.load.start
        self._pause = _FIRST_PAUSE_SECONDS
        gevent.sleep(max(0.0, self._free - clock() - 0.01))

    def on_stop(self) -> None:
        """Nothing more will come."""
        self._source.__exit__(None, None, None)

    @task
    def converse(self) -> None:
        """The next conversation: at once, or after a failure later each time, as a client that retries does."""
        number = self.load.next_number(self._free)
        if number is None:
            raise StopUser
        exchange = self.load.converse(number, self._free)
        self._free = exchange.finished
        if exchange.failed:
            self._free = max(self._free, exchange.due + self._pause)
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
        else:
            self._pause = _FIRST_PAUSE_SECONDS


class OpenUser(_LoadUser):
    """Begins a worker's conversations when they are due, whatever becomes of them."""

    abstract = False

    @task
    def dispatch(self) -> None:
        """All of them."""
        load = self.load
        load.begun.wait()
        times = due_times(load.plan.stage, load.plan.seed)
        with load.source():
            for number in range(load.worker, len(times), load.plan.processes):
                due = load.start + float(times[number])
                if (early := due - clock() - _AHEAD_SECONDS) > 0:
                    gevent.sleep(early)
                if load.interrupted:
                    break
                gevent.spawn(load.converse, number, due)
            else:
                gevent.sleep(max(0.0, load.end - clock()))
        raise StopUser


def user_class(plan: LoadPlan) -> type[User]:
    """The kind of users that a plan needs; and how many."""
    return ClosedUser if isinstance(plan.stage.arrival, Closed) else OpenUser


def user_count(plan: LoadPlan) -> int:
    """How many users Locust has to spread over the workers."""
    return plan.stage.arrival.concurrency if isinstance(plan.stage.arrival, Closed) else plan.processes


def reachable(address: Address) -> list[SocketAddress]:
    """Socket addresses of a server, those that answer if any does.

    Raises:
        DrydockError: its name is not known.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise DrydockError(f"cannot find {address.host}: {error}", remedy="Check the URL's host name.") from error
    every: list[SocketAddress] = [(family, name) for family, _, _, _, name in found]
    answering = [where for where in every if _answers(where)]
    return answering or every


def _answers(where: SocketAddress) -> bool:
    with socket.socket(where[0], socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        name: Any = where[1]
        return probe.connect_ex(name) == 0


def connector(target: Target) -> Callable[[], Connection]:
    """Makes connections to a target's socket addresses in turn; errors as those of `reachable`."""
    address = Address.of(target)
    turns = cycle(reachable(address))
    if not address.tls:
        return lambda: Connection(next(turns))
    context = tls_context(target)
    return lambda: TlsConnection(next(turns), context, address.host)


def make_room_for_sockets() -> None:
    """Allow as many sockets as the system lets a process have, and have room for them made now.

    Linux doubles a process's table of descriptors when it is full, which in a process with threads takes 10 ms.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS reports "no limit" and then refuses more than its own
    wanted = 10_240 if hard == resource.RLIM_INFINITY else hard
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    highest = min(max(soft, wanted), _MOST_SOCKETS) - 1
    os.close(os.dup2(sys.stderr.fileno(), highest))
