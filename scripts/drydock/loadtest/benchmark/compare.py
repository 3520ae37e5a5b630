"""Finds the highest level of streamed events a second that each tool holds with one core, and measures it truly.

The server runs on one core, the tool with all its processes on another, both above other work where the system allows
it (Linux, as root: real time), so that what is measured is the tool and not its neighbours. A level counts
when, over all requests and against the server's log,

    send lag    |request's arrival at the server - its place on an even grid|          99th percentile <= 1 ms
    TTFT error  |tool's TTFT - (first token's sending - request's arrival)|            99th percentile <= 2 ms
    ITL error   |tool's gap - server's gap|, of the mean gap where only it is known     99th percentile <= 1 ms
    tokens      none lost, in no request

in one of `attempts` attempts (the grid goes through the median arrival): a neighbour can only make a level look worse.
Beside that, what holds with limits ten times as wide is shown. Levels are tried upwards until two in succession do not
even hold loosely.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np

from drydock.errors import DrydockError, ToolError
from drydock.loadtest.benchmark.stream_server import TOKENS
from drydock.loadtest.benchmark.tools import Floats, Order, Seen, Tool
from drydock.progress import Progress
from drydock.tools import process
from drydock.tools.store import locked

SEND_LAG_SECONDS = 0.001
TTFT_ERROR_SECONDS = 0.002
ITL_ERROR_SECONDS = 0.001
STRICT, LOOSE = 1.0, 10.0
"""Multiples of those limits."""
LEVELS = (2_000, 4_000, 6_000, 8_000, 10_000, 15_000, 20_000, 30_000, 40_000, 60_000, 80_000, 100_000)
_SENDING_SECONDS = 3
_LEAST_REQUESTS = 100
_MOST_SECONDS = 120.0
_SERVER_CORE, _TOOL_CORE = 1, 0


@dataclass(frozen=True)
class Level:
    """One attempt.

    Attributes:
        tool: with its version.
        events: a second that were asked for.
        lag, ttft, itl: 99th percentiles, s.
        lost: tokens that the server sent or should have sent and the tool does not report.
        ttft_median, itl_median: errors, s.
        cpu: seconds of the tool's processes together, start and end included.
        failure: why there is nothing to report.
    """

    tool: str
    events: int
    lag: float = float("inf")
    ttft: float = float("inf")
    itl: float = float("inf")
    lost: int = 0
    ttft_median: float = float("nan")
    itl_median: float = float("nan")
    cpu: float = 0.0
    failure: str = ""

    @property
    def excess(self) -> float:
        """Its worst figure as a multiple of the limit; up to 1 it counts."""
        if self.lost or self.failure:
            return float("inf")
        parts = (self.lag / SEND_LAG_SECONDS, self.ttft / TTFT_ERROR_SECONDS, self.itl / ITL_ERROR_SECONDS)
        return max(parts)

    def line(self) -> str:
        """For a log, in ms."""
        figures = f"lag {1e3 * self.lag:.2f}, TTFT off by {1e3 * self.ttft:.2f}, ITL off by {1e3 * self.itl:.2f} ms"
        told = self.failure or (f"{self.lost} tokens lost" if self.lost else figures)
        return f"{self.tool}, {self.events} events/s: {told}; {self.cpu:.1f} s of processor"


def install(tool: Tool, cache: Path, progress: Progress) -> Path:
    """The folder of a tool's programs, in an environment of its own that is made when missing.

    Raises:
        ToolError: no Python that is here can install it.
    """
    if not tool.package:
        return Path(sys.executable).parent
    folder = cache / "generators" / tool.package
    programs = folder / "bin"
    with progress.step(f"Install {tool.package}") as step, locked(folder.parent, step):
        if (folder / "installed").is_file():
            return programs
        failure: ToolError | None = None
        for python in _pythons():
            try:
                process.run([python, "-m", "venv", "--clear", folder])
                process.run([programs / "pip", "install", "--quiet", tool.package], timeout=1200)
            except ToolError as error:
                failure = error
                continue
            (folder / "installed").touch()
            return programs
    raise failure or ToolError(f"no Python to install {tool.package}", command=(), returncode=-1, stderr="")


def version(tool: Tool, programs: Path) -> str:
    """Its name with the version that is installed."""
    if not tool.package:
        return tool.name
    code = f"import importlib.metadata as m; print(m.version({tool.package!r}))"
    return f"{tool.name} {process.run([programs / 'python', '-c', code]).stdout.strip()}"


def best_levels(
    tools: Sequence[tuple[Tool, Path]], levels: Iterable[int], attempts: int, progress: Progress
) -> Iterator[Level]:
    """The best attempt at each level, of each tool in turn; those above two that do not hold are not tried."""
    missed = {tool.name: 0 for tool, _ in tools}
    for events in levels:
        for tool, programs in tools:
            if missed[tool.name] >= 2:  # noqa: PLR2004 (two in succession)
                continue
            best: Level | None = None
            with progress.step(f"{tool.name}, {events} events/s") as step:
                for number in range(attempts):
                    step.detail(f"attempt {number + 1}")
                    tried = attempt(tool, programs, events)
                    best = tried if best is None or tried.excess < best.excess else best
                    if best.excess <= STRICT:
                        break
            if best is None:
                continue
            missed[tool.name] = 0 if best.excess <= LOOSE else missed[tool.name] + 1
            yield best


def attempt(tool: Tool, programs: Path, events: int) -> Level:
    """One level once."""
    rate = events / TOKENS
    # whole seconds, since one tool takes no others
    requests = round(rate * max(_SENDING_SECONDS, ceil(_LEAST_REQUESTS / rate)))
    with tempfile.TemporaryDirectory(prefix="drydock-benchmark-") as name:
        folder = Path(name)
        server = subprocess.Popen(
            [sys.executable, "-m", "drydock.loadtest.benchmark.stream_server", folder / "server.npz"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            _place(server.pid, _SERVER_CORE)
            port = int(server.stdout.readline()) if server.stdout else 0
            cpu = _run(tool, Order(port, rate, requests, folder), programs)
        except DrydockError as error:
            return Level(tool.name, events, failure=error.message.splitlines()[0])
        finally:
            server.terminate()
            server.communicate(timeout=30)
        try:
            seen = tool.read(folder)
        except (OSError, KeyError, ValueError, IndexError, TypeError, DrydockError) as error:
            return Level(tool.name, events, cpu=cpu, failure=f"it wrote no result: {error!r}")
        with np.load(folder / "server.npz") as log:
            return judged(tool.name, events, seen, log["received"], log["sent"], requests=requests, cpu=cpu)


def judged(
    name: str, events: int, seen: Seen, received: Floats, sent: Floats, *, requests: int, cpu: float = 0.0
) -> Level:
    """Set what a tool reports beside the server's log; times in seconds, `sent` a row a request."""
    lost = requests * TOKENS - min(seen.tokens, int(np.isfinite(sent).sum()))
    # some tools ask once before they begin
    received, sent = received[-requests:], sent[-requests:]
    if lost > 0 or not seen.ttft.size == received.size == requests:
        said = f"it reports {seen.ttft.size} requests, the server of {received.size}, of {requests}"
        return Level(name, events, lost=max(lost, 0), cpu=cpu, failure="" if lost > 0 else said)
    offsets = received - np.arange(received.size) * TOKENS / events
    ttft = np.abs(seen.ttft - (sent[:, 0] - received))
    true_gaps = np.diff(sent)
    if seen.gaps.shape[1] == 1:
        true_gaps = true_gaps.mean(axis=1, keepdims=True)
    itl = np.abs(seen.gaps - true_gaps)
    return Level(
        name,
        events,
        lag=float(np.percentile(np.abs(offsets - np.median(offsets)), 99)),
        ttft=float(np.percentile(ttft, 99)),
        itl=float(np.percentile(itl, 99)),
        ttft_median=float(np.median(ttft)),
        itl_median=float(np.median(itl)),
        cpu=cpu,
    )


def highest(levels: Iterable[Level], tool: str, excess: float = STRICT) -> int:
    """Events a second of the highest level within so many times the limits; 0 for none."""
    return max((level.events for level in levels if level.tool == tool and level.excess <= excess), default=0)


def _run(tool: Tool, order: Order, programs: Path) -> float:
    """Run a tool to its end on its core; seconds of processor time that it took.

    Raises:
        ToolError: it failed or took too long.
    """
    command = tuple(str(part) for part in tool.command(order, programs))
    before = os.times()
    with (order.folder / "tool.log").open("wb") as log:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **tool.environment},
            cwd=order.folder,
            start_new_session=True,
        )
        _place(started.pid, _TOOL_CORE)
        try:
            started.wait(timeout=_MOST_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"{tool.name} did not finish", command=command, returncode=-9, stderr="") from error
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()
    if started.returncode:
        said = (order.folder / "tool.log").read_text(errors="replace").strip().splitlines()
        raise ToolError(
            f"{tool.name} failed: {said[-1] if said else 'no word'}",
            command=command,
            returncode=started.returncode,
            stderr="\n".join(said),
        )
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _place(pid: int, core: int) -> None:
    """Keep a process, and those that it will start, to a core and before others there, as far as the system allows."""
    if sys.platform != "linux":
        return
    available = sorted(os.sched_getaffinity(0))
    if len(available) > 1:
        os.sched_setaffinity(pid, {available[core]})
    try:
        os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
    except PermissionError:
        return


def _pythons() -> list[str]:
    """This Python, then later ones, which some tools need."""
    found = [sys.executable]
    for name in ("python3.13", "python3.12"):
        path = shutil.which(name)
        if path and process.run([path, "--version"], check=False).returncode == 0:
            found.append(path)
    return found
