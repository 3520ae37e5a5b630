"""The one place that starts programs and waits for them."""

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from drydock.errors import ToolError

_POLL_SECONDS = 0.25
SHORT_LIVED = {"GOGC": "off", "GOMEMLIMIT": "1GiB", "GOMAXPROCS": "1"}
"""Variables for a Go program that ends in a fraction of a second, of which collecting garbage would take a third."""


@dataclass(frozen=True)
class Completed:
    """A finished program: its argument list, exit status and complete output as text.

    `interrupted`: a signal to this process was passed on to it, see `run_streamed`.
    """

    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    interrupted: bool = False


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 600,
    check: bool = True,
) -> Completed:
    """Run a program to its end.

    Args:
        command: program and arguments; no shell is involved.
        cwd: its working directory.
        env: variables set on top of this process's environment.
        stdin: text for its standard input (closed when absent).
        timeout: seconds after which it is killed.
        check: raise on a non-zero exit status.

    Raises:
        ToolError: it could not be started, ran too long, or (with `check`) failed.
    """
    arguments = tuple(str(part) for part in command)
    try:
        done = subprocess.run(
            arguments,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise ToolError(
            f"cannot start {arguments[0]}: {error.strerror}", command=arguments, returncode=-1, stderr=""
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{Path(arguments[0]).name} did not finish within {timeout:.0f} s: {' '.join(arguments)}",
            command=arguments,
            returncode=-1,
            stderr=str(error.stderr or ""),
        ) from error
    completed = Completed(arguments, done.returncode, done.stdout, done.stderr)
    if check and done.returncode != 0:
        raise ToolError(
            f"{Path(arguments[0]).name} failed with status {done.returncode}: {' '.join(arguments)}\n"
            f"{(done.stderr or done.stdout).strip()}",
            command=arguments,
            returncode=done.returncode,
            stderr=done.stderr,
        )
    return completed


def run_all(commands: Sequence[Sequence[str | Path]], *, env: Mapping[str, str] | None = None) -> list[Completed]:
    """Run independent programs side by side, as many as there are processors; results in the order given.

    Exit statuses are left to the caller.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        return list(pool.map(lambda command: run(command, env=env, check=False), commands))


def run_streamed(
    command: Sequence[str | Path],
    on_line: Callable[[str], None],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    forward_interrupt: bool = False,
    stop: threading.Event | None = None,
) -> Completed:
    """Run a program to its end, and hand on each line of its output (both streams) as it comes.

    The program gets a process group of its own: an exception here, as from Ctrl-C, ends it and all that it started.
    With `forward_interrupt` the first Ctrl-C or SIGTERM is passed on to it instead, as SIGINT, and its end waited for.
    So does setting `stop`, from another thread. Its output is in `stdout`; its exit status is left to the caller.

    Raises:
        ToolError: it could not be started.
    """
    arguments = tuple(str(part) for part in command)
    try:
        process = subprocess.Popen(
            arguments,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            process_group=0,
        )
    except OSError as error:
        raise ToolError(
            f"cannot start {arguments[0]}: {error.strerror}", command=arguments, returncode=-1, stderr=""
        ) from error
    lines = []
    signals: AbstractContextManager[list[int]] = (
        _interrupts_forwarded(process) if forward_interrupt else nullcontext([])
    )
    with process, signals as came, _interrupted_by(stop, process):
        try:
            for line in process.stdout or ():
                lines.append(line)
                on_line(line.rstrip("\n"))
            returncode = process.wait()
        except BaseException:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            raise
    return Completed(arguments, returncode, "".join(lines), "", interrupted=bool(came))


@contextmanager
def _interrupts_forwarded(process: "subprocess.Popen[str]") -> Iterator[list[int]]:
    """Pass the first SIGINT or SIGTERM on; only the main thread can, elsewhere nothing changes. Gives what came.

    A second Ctrl-C is for this process. A SIGTERM after it is not: those who end a job send both within seconds.
    """
    forwarded: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield forwarded
        return

    def forward(number: int, _frame: object) -> None:
        signal.signal(signal.SIGINT, before[signal.SIGINT])
        if not forwarded:
            process.send_signal(signal.SIGINT)
        forwarded.append(number)

    before = {item: signal.signal(item, forward) for item in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield forwarded
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _interrupted_by(stop: threading.Event | None, process: "subprocess.Popen[str]") -> Iterator[None]:
    if stop is None:
        yield
        return
    ended = threading.Event()

    def wait() -> None:
        while not ended.is_set():
            if stop.wait(_POLL_SECONDS):
                process.send_signal(signal.SIGINT)
                return

    waiter = threading.Thread(target=wait, daemon=True)
    waiter.start()
    try:
        yield
    finally:
        ended.set()
        waiter.join()


@contextmanager
def background(
    command: Sequence[str | Path], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Run a program beside the block, whose work does not depend on it; end it when the block ends."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **env} if env else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()
