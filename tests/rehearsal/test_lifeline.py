"""Work on a control plane ends within seconds after it, whatever the work waits for, and says why."""

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from drydock.errors import ClusterError, DrydockError
from drydock.rehearsal.lifeline import while_alive
from drydock.tools import process

pytestmark = pytest.mark.programs

SECONDS = 20
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
]


@pytest.fixture
def supervisor() -> Iterator["subprocess.Popen[bytes]"]:
    """A program whose end is that of a control plane."""
    with subprocess.Popen(SLEEP) as running:
        yield running
        running.kill()


def end_of(supervisor: "subprocess.Popen[bytes]") -> Callable[[], DrydockError | None]:
    return lambda: None if supervisor.poll() is None else ClusterError("the control plane ended")


def receive() -> None:
    here, there = socket.socketpair()
    with here, there:
        here.recv(1)


def swallow_errors() -> None:
    """As code does that goes on after any error of one object."""
    with suppress(Exception):
        time.sleep(600)


WAITS: dict[str, Callable[[], object]] = {
    "a program": lambda: process.run(SLEEP),
    "a program that takes no interrupt": lambda: process.run_streamed(STUBBORN, print, forward_interrupt=True),
    "a socket": receive,
    "a lock": lambda: threading.Event().wait(600),
    "anything that goes on after errors": swallow_errors,
}


@pytest.mark.parametrize("wait", WAITS.values(), ids=WAITS.keys())
def test_a_wait_ends_with_the_control_plane(supervisor: "subprocess.Popen[bytes]", wait: Callable[[], object]) -> None:
    began = time.monotonic()
    supervisor.kill()
    with pytest.raises(ClusterError, match="the control plane ended"), while_alive(end_of(supervisor)):
        wait()
    assert time.monotonic() - began < SECONDS


def test_an_error_that_the_end_caused_is_explained(supervisor: "subprocess.Popen[bytes]") -> None:
    def lose() -> None:
        with while_alive(end_of(supervisor)):
            supervisor.kill()
            raise ConnectionResetError

    with pytest.raises(ClusterError, match="the control plane ended"):
        lose()


def test_an_error_of_its_own_stays(supervisor: "subprocess.Popen[bytes]") -> None:
    with pytest.raises(ClusterError, match="own"), while_alive(end_of(supervisor)):
        raise ClusterError("its own")


def test_the_end_of_an_outer_cluster_ends_the_work_on_both(supervisor: "subprocess.Popen[bytes]") -> None:
    supervisor.kill()
    with (
        pytest.raises(ClusterError, match="the control plane ended"),
        while_alive(end_of(supervisor)),
        while_alive(lambda: None),
    ):
        time.sleep(600)


def test_a_thread_beside_explains_its_errors(supervisor: "subprocess.Popen[bytes]") -> None:
    told: list[DrydockError] = []

    def work() -> None:
        supervisor.kill()
        try:
            with while_alive(end_of(supervisor)):
                raise ConnectionResetError
        except DrydockError as error:
            told.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [error.message for error in told] == ["the control plane ended"]
