"""Speed and memory, as ratios against the bare programs measured in the same run.

Each benchmark runs the installed command as a user does, in turn with its floor, and quotes medians over the rounds.
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.errors import DrydockError, ToolError, UsageError
from drydock.progress import Progress, SilentProgress
from drydock.project import Project
from drydock.suite.charts import assemble_charts
from drydock.suite.environments import load_environments
from drydock.suite.render import template_command
from drydock.tools import process

if TYPE_CHECKING:
    from psutil import Process

HELMS = ("helm3", "helm4")
VALIDATE_COLD_RATIO = 1.3
VALIDATE_UNCHANGED_RATIO = 0.1
REHEARSE_SECONDS = 120.0
REHEARSE_GIGABYTES = 3.0
LOADTEST_EVENTS = 10_000
LOADTEST_PEER_RATIO = 0.5
FUZZ_TEST = "tests/charts/gateway/test_request_filter.py"
FUZZ_NAME = "test_no_request_reaches_more_than_its_key_may"
_FUZZ_TIMEOUT = 3600
_SAMPLE_SECONDS = 0.5
_BUSY = 4
_GPU_OF_HELM = r"nvidia\.com/gpu"
_WITH_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""What users run was compiled once; a developer's setting would have each run compile it again."""


@dataclass(frozen=True)
class Measure:
    """One figure beside what bounds it.

    Attributes:
        name: what was measured.
        value, unit: the median.
        floor: the peer's median in the same unit, None when the bound is absolute.
        bound: most that `value` (or `value / floor` when there is a floor) may be, None when it is only reported.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    bound: float | None = None

    @property
    def ratio(self) -> float | None:
        """Value over floor."""
        return self.value / self.floor if self.floor else None

    @property
    def within(self) -> bool:
        """Whether the bound holds."""
        compared = self.value if self.ratio is None else self.ratio
        return self.bound is None or compared <= self.bound


def bench_render(project: Project, tools: Mapping[str, Path], rounds: int, progress: Progress) -> list[Measure]:
    """`drydock render` of one environment against the bare `helm template` of the same."""
    charts = assemble_charts(project)
    environment = load_environments(project, ["dev"])[0]
    bare = template_command(
        tools["helm4"], charts.umbrella, environment.helm_arguments(), namespace=environment.namespace
    )
    with progress.step("Render dev"):
        ours, floor = _in_turn(rounds, lambda: _drydock("render", "dev"), lambda: process.run(bare))
    return [Measure("render dev", ours, "s", floor)]


def bench_validate(
    project: Project, tools: Mapping[str, Path], schemas: Path, rounds: int, progress: Progress
) -> list[Measure]:
    """`drydock validate` of all environments, cold and unchanged, against the bare processes for the same work."""
    with progress.step("Validate everything, cold"):
        cold, floor = _in_turn(
            rounds,
            lambda: _drydock("validate", "--no-cache"),
            lambda: _bare_validation(project, tools, schemas),
        )
    with progress.step("Validate everything, unchanged"):
        _drydock("validate")
        unchanged = statistics.median(_seconds(lambda: _drydock("validate")) for _ in range(rounds))
    return [
        Measure("validate, cold", cold, "s", floor, VALIDATE_COLD_RATIO),
        Measure("validate, unchanged", unchanged, "s", floor, VALIDATE_UNCHANGED_RATIO),
    ]


def bench_fuzz(project: Project, cases: int, progress: Progress) -> list[Measure]:
    """The gateway's request filter against generated requests: any that reaches more than its key may is a failure.

    Raises:
        UsageError: the suite has no tests, as one that came with the package.
        ToolError: a request got through, with the smallest that does.
    """
    test = project.root / FUZZ_TEST
    if not test.is_file():
        raise UsageError(f"the benchmark fuzz runs {FUZZ_TEST}, which is not here", remedy="Run it in a checkout.")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"{test}::{FUZZ_NAME}"]
    with progress.step(f"Ask the gateway's request filter {cases} times"):
        began = time.monotonic()
        process.run(command, cwd=project.root, env={"DRYDOCK_FUZZ_CASES": str(cases)}, timeout=_FUZZ_TIMEOUT)
    seconds = time.monotonic() - began
    return [Measure("fuzz: generated requests", cases, "requests"), Measure("fuzz: time", seconds, "s")]


def bench_rehearse(environment: str, progress: Progress) -> list[Measure]:
    """A warm `drydock rehearse`: seconds by step, and the peak memory of all its processes together."""
    with tempfile.TemporaryDirectory() as folder, progress.step(f"Rehearse {environment}"):
        began = time.monotonic()
        peak = _peak_memory([*_command("rehearse", environment, "-o", folder)])
        seconds = time.monotonic() - began
        report = json.loads((Path(folder) / "report.json").read_text())
    steps = [Measure(f"rehearse {environment}: {step['name']}", step["seconds"], "s") for step in report["steps"]]
    return [
        *steps,
        Measure(f"rehearse {environment}", seconds, "s", bound=REHEARSE_SECONDS),
        Measure(f"rehearse {environment}, peak memory", peak / 1e9, "GB", bound=REHEARSE_GIGABYTES),
    ]


def bench_scale(environment: str, model: str, counts: Sequence[int], progress: Progress) -> list[Measure]:
    """Rehearsals of so many replicas of a model with one GPU each, without quotas: nodes bought, seconds, and memory.

    Raises:
        DrydockError: a rehearsal could not be made.
    """
    measures: list[Measure] = []
    for count in counts:
        values = (
            f"vllm.models.{model}.replicas={count}",
            f"karpenter-nodepools.nodePools.gpu.limits.{_GPU_OF_HELM}={2 * count}",
        )
        name = f"rehearse {environment}, {count} replicas"
        with tempfile.TemporaryDirectory() as folder, progress.step(name):
            command = [sys.executable, "-m", "drydock.loadtest.benchmark.scaled", environment, folder, *values]
            began = time.monotonic()
            peak = _peak_memory(command)
            seconds = time.monotonic() - began
            report = json.loads((Path(folder) / "report.json").read_text())
        nodes = sum(node["pool"] == "gpu" for node in report["nodes"])
        measures += [
            Measure(f"{name}: nodes", nodes, "nodes", count, 1.0),
            Measure(f"{name}: not ready", float(not report["ready"]), "verdicts", None, 0.0),
            Measure(f"{name}: whole", seconds, "s"),
            Measure(f"{name}: whole, each", seconds / count, "s"),
            Measure(f"{name}: peak memory", peak / 1e9, "GB"),
            *(Measure(f"{name}: {step['name']}", step["seconds"], "s") for step in report["steps"]),
        ]
    return measures


def bench_first_run(
    project: Project, tools: Mapping[str, Path], environment: str, rounds: int, progress: Progress
) -> list[Measure]:
    """Rehearsals that find an empty cache, beside four processes that only compute: what they buy.

    Raises:
        DrydockError: a rehearsal could not be made.
    """
    from drydock.rehearsal.rehearse import rehearse

    wanted = load_environments(project, [environment])[0]
    purchases: Counter[str] = Counter()
    seconds: list[float] = []
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(_BUSY)]
    try:
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as cache, progress.step(f"First run {number + 1} of {rounds}"):
                report = rehearse(project, tools, wanted, progress=SilentProgress(), cache=Path(cache)).report
            nodes = sorted(f"{node.pool} {node.instance_type} {node.capacity_type}" for node in report.nodes)
            purchases[f"{'ready' if report.ready else 'not ready'}: {', '.join(nodes)}"] += 1
            seconds.append(report.seconds)
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()
    for bought, count in purchases.most_common():
        progress.note(f"{count} of {rounds}: {bought}")
    return [
        Measure(f"first run of {environment}: different outcomes", len(purchases), "outcomes", None, 1.0),
        Measure(f"first run of {environment}", statistics.median(seconds), "s"),
    ]


def bench_loadtest(cache: Path, rounds: int, progress: Progress) -> list[Measure]:
    """The load generator beside others: streamed events a second that each holds with one core.

    Method and limits: `drydock.loadtest.benchmark.compare`. A tool that no Python here can install is left out, with
    a note.
    """
    from drydock.loadtest.benchmark.compare import LEVELS, LOOSE, STRICT, best_levels, highest, install, version
    from drydock.loadtest.benchmark.tools import PEERS, Bare, Drydock, Tool

    if sys.platform != "linux":
        raise UsageError("the benchmark of the load generator needs Linux: its server waits with epoll")
    candidates: tuple[Tool, ...] = (Drydock(), Bare(), *PEERS)
    tools: list[tuple[Tool, Path]] = []
    for tool in candidates:
        try:
            programs = install(tool, cache, progress)
        except ToolError as error:
            progress.note(f"{tool.name} is left out: {error.stderr.strip().splitlines()[-1]}")
            continue
        tools.append((tool, programs))
        progress.note(version(tool, programs))
    levels = []
    for level in best_levels(tools, LEVELS, rounds, progress):
        progress.note(level.line())
        levels.append(level)
    held = {
        limits: {tool.name: highest(levels, tool.name, excess) for tool, _ in tools}
        for limits, excess in (("strict", STRICT), ("loose", LOOSE))
    }
    measures = [
        Measure(f"{name}, {limits} limits", events, "events/s")
        for limits, found in held.items()
        for name, events in found.items()
    ]
    for limits, found in held.items():
        ours = found["drydock loadtest"]
        peer = max((found[tool.name] for tool in PEERS if tool.name in found), default=0)
        measures.append(Measure(f"best peer, {limits} limits", peer, "events/s", ours or None, LOADTEST_PEER_RATIO))
    ours = held["strict"]["drydock loadtest"]
    per_core = LOADTEST_EVENTS / ours if ours else float("inf")
    return [*measures, Measure(f"{LOADTEST_EVENTS} events, within strict limits", per_core, "s of a core", None, 1.0)]


def _bare_validation(project: Project, tools: Mapping[str, Path], schemas: Path) -> None:
    charts = assemble_charts(project)
    commands = [
        template_command(tools[helm], charts.umbrella, environment.helm_arguments(), namespace=environment.namespace)
        for environment in load_environments(project, ())
        for helm in HELMS
    ]
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for index, completed in enumerate(process.run_all(commands)):
            file = Path(folder) / f"{index}.yaml"
            file.write_text(completed.stdout)
            files.append(file)
        location = f"{schemas}/{{{{.ResourceKind}}}}{{{{.KindSuffix}}}}.json"
        process.run_all([[tools["kubeconform"], "-strict", "-schema-location", location, file] for file in files])


def _in_turn(rounds: int, ours: Callable[[], object], floor: Callable[[], object]) -> tuple[float, float]:
    ours()
    floor()
    pairs = [(_seconds(ours), _seconds(floor)) for _ in range(rounds)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "drydock", *arguments)


def _drydock(*arguments: str) -> None:
    completed = process.run(_command(*arguments), env=_WITH_BYTECODE, check=False)
    if completed.returncode not in (0, 1):
        raise DrydockError(f"drydock {' '.join(arguments)} failed:\n{completed.stderr.strip()}")


def _peak_memory(command: list[str]) -> int:
    """Most bytes that a command and all its descendants held at once, sampled twice a second.

    Linux reports each process's proportional share of shared pages; elsewhere the resident size counts those in full.
    """
    from psutil import Process

    peak = 0
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(command, env=os.environ, **quiet) as started:
        root = Process(started.pid)
        try:
            while started.poll() is None:
                peak = max(peak, _held(root))
                with suppress(subprocess.TimeoutExpired):
                    started.wait(timeout=_SAMPLE_SECONDS)
        except BaseException:
            started.send_signal(signal.SIGINT)  # once, also at Ctrl-C, which a session of its own does not get
            started.wait()
            raise
    if started.returncode:
        raise DrydockError(f"{' '.join(command)} exited with {started.returncode}, so its figures mean nothing")
    return peak


def _held(root: "Process") -> int:
    """Bytes that a process and all its descendants hold now."""
    import psutil

    total = 0
    for child in [root, *root.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            memory = child.memory_full_info()
            total += getattr(memory, "pss", memory.rss)
    return total
