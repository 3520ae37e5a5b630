"""One load after the other: generated, measured, and set beside the server's own metrics."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from drydock.errors import UsageError
from drydock.loadtest.generator import generate
from drydock.loadtest.measures import Measures, measure
from drydock.loadtest.records import Run, Snapshot
from drydock.loadtest.server_metrics import ServerView, watched
from drydock.loadtest.settings import Arrival, Closed, Constant, Gamma, LoadPlan, Poisson, Ramp
from drydock.suite.objectives import Objectives, Verdict

_MS = 1e3


@dataclass(frozen=True, slots=True)
class Site:
    """Where load is made.

    Attributes:
        generate: makes a plan's load, and reports progress.
        metrics_url: where the server's metrics are read; None for the plan's own endpoint.
    """

    generate: Callable[[LoadPlan, Callable[[Snapshot], None]], Run]
    metrics_url: str | None = None


HERE = Site(generate)


@dataclass(frozen=True, slots=True)
class Measured:
    """A load that was offered.

    Attributes:
        name: for people: `5/s`, `32 clients`, with the repetition where there are several.
        rate, concurrency: what was offered; None for what it was not.
        judged: each objective beside what it came to.
    """

    name: str
    rate: float | None
    concurrency: int | None
    run: Run
    measures: Measures
    server: ServerView
    judged: tuple[Verdict, ...]

    @property
    def missed(self) -> bool:
        """Whether it did not meet one of the objectives."""
        return not all(verdict.met for verdict in self.judged)

    @property
    def counts(self) -> bool:
        """Whether it is complete, the generator kept up, and something was answered."""
        return self.run.complete and self.run.health.valid and self.measures.ok > 0

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        summary = self.server.summary()
        server = {"summary": summary, "series": self.server.series(self.run.started_at)} if summary else None
        return {
            "load": {"name": self.name, "rate": self.rate, "concurrency": self.concurrency},
            "started_at": self.run.started_at,
            "complete": self.run.complete,
            "interrupted": self.run.interrupted,
            "valid": self.run.health.valid,
            **self.measures.as_dict(),
            "server": server,
        }


def offer(plan: LoadPlan, objectives: Objectives, *, name: str = "", live: bool = True, site: Site = HERE) -> Measured:
    """Generate one load and measure it, with the server's metrics scraped meanwhile.

    Raises:
        UsageError: the workload's file is wrong.
        DrydockError: the workers could not start.
    """
    from drydock.loadtest.live import live_view

    arrival = plan.stage.arrival
    called = name or describe(arrival)
    view: AbstractContextManager[Any] = live_view(plan.stage, called) if live else nullcontext(lambda _snapshot: None)
    with (
        watched(plan.target, site.metrics_url) as server,
        view as show,
    ):
        run = site.generate(plan, show)
    measures = measure(run, objectives.request)
    return Measured(
        called,
        rate_of(arrival),
        arrival.concurrency if isinstance(arrival, Closed) else None,
        run,
        measures,
        server,
        objectives.judged(measures),
    )


def repeated(plan: LoadPlan, objectives: Objectives, repetitions: int, site: Site = HERE) -> Iterator[Measured]:
    """The same load several times, each with a seed of its own, until one is interrupted."""
    for number in range(repetitions):
        name = describe(plan.stage.arrival) + (f", run {number + 1}" if repetitions > 1 else "")
        measured = offer(replace(plan, seed=plan.seed + number), objectives, name=name, site=site)
        yield measured
        if not measured.run.complete:
            return


def describe(arrival: Arrival) -> str:
    """A load for people."""
    if isinstance(arrival, Closed):
        return f"{arrival.concurrency} clients"
    if isinstance(arrival, Ramp):
        return f"{arrival.start_rate:g} to {arrival.end_rate:g}/s"
    rate = rate_of(arrival)
    return f"{rate:.4g}/s" if rate is not None else "trace"


def rate_of(arrival: Arrival) -> float | None:
    """Conversations a second that are offered all along; None for other arrivals."""
    return arrival.rate if isinstance(arrival, Constant | Poisson | Gamma) else None


def at_rate(plan: LoadPlan, rate: float) -> LoadPlan:
    """The plan with another rate.

    Raises:
        UsageError: its arrivals have none.
    """
    arrival = plan.stage.arrival
    if not isinstance(arrival, Constant | Poisson | Gamma):
        raise UsageError(f"{describe(arrival)} has no rate to change", remedy="Give --rate, and no trace or ramp.")
    return replace(plan, stage=replace(plan.stage, arrival=replace(arrival, rate=rate)))


def impossible(measures: Measures, gpu: str, model: str, tensor_parallel: int) -> str:
    """A warning when tokens come faster than the weights can be read once; empty when they do not.

    Raises:
        UsageError: the catalogue has no such GPU or model.
    """
    least = least_tpot(gpu, model, tensor_parallel)
    fastest = measures.values["tpot_p50_ms"]
    if fastest is None or fastest >= least:
        return ""
    return (
        f"TPOT p50 of {fastest:.3g} ms is impossible: {gpu} x {tensor_parallel} needs {least:.3g} ms to read "
        f"the weights of {model} once. Another model answers, or several tokens come in one step."
    )


def least_tpot(gpu: str, model: str, tensor_parallel: int) -> float:
    """The least time per output token without speculative decoding, ms: bytes / (bandwidth x GPUs).

    Every step of an engine reads the weights that its tokens touch from the GPU's memory.

    Raises:
        UsageError: the catalogue has no such GPU or model.
    """
    from drydock.engines.catalogue import find_gpu, find_model

    shape, device = find_model(model), find_gpu(gpu)
    read = shape.weight_bytes() * shape.active_parameters() / (shape.parameters * 1e9)
    return _MS * read / (device.bandwidth_gbs * 1e9 * tensor_parallel)
