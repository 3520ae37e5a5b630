"""Programs that are asked to end, and given the time for it."""

import os
import signal
import sys

import pytest

from drydock.tools.process import run_streamed

PATIENT = """
import signal, sys
print("ready", flush=True)
asked = [signal.sigwait({signal.SIGINT})]
print("asked", flush=True)
sys.stdin.read()
print(len(asked) + len(signal.sigpending()), flush=True)
"""
BLOCKED = f"import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT, signal.SIGTERM}})\n{PATIENT}"


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_passed_on_once_and_the_program_ends_by_itself(sign: signal.Signals) -> None:
    lines: list[str] = []

    def on_line(line: str) -> None:
        lines.append(line)
        if line == "ready":
            os.kill(os.getpid(), sign)
        if line == "asked":
            os.kill(os.getpid(), signal.SIGTERM)

    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    done = run_streamed([sys.executable, "-c", BLOCKED], on_line, forward_interrupt=True)
    assert (lines, done.returncode, done.interrupted) == (["ready", "asked", "1"], 0, True)
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_program_that_nobody_interrupts_is_not_interrupted() -> None:
    done = run_streamed([sys.executable, "-c", "print(1)"], lambda _: None, forward_interrupt=True)
    assert (done.stdout, done.interrupted) == ("1\n", False)
