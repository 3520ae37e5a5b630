"""A whole load test: the endpoint, its loads, a baseline to compare with, and the result."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.errors import UsageError
from drydock.loadtest.baseline import read_baseline
from drydock.loadtest.cluster.endpoints import Cluster, Endpoint, from_here, from_inside
from drydock.loadtest.judgement import passed
from drydock.loadtest.loads import Measured, at_rate, impossible, least_tpot, offer, rate_of, repeated
from drydock.loadtest.outputs import result
from drydock.loadtest.preflight import check
from drydock.loadtest.settings import Constant, LoadPlan, Target
from drydock.loadtest.statistics import compare
from drydock.loadtest.sweep import Sweep, find_limit, sweep
from drydock.suite.objectives import Objectives

if TYPE_CHECKING:
    from drydock.project import Project


URL_OF_A_CLUSTER = "http://in-the-cluster"
"""Stands in a plan whose endpoint is a `ClusterModel`, until the model is found."""


@dataclass(frozen=True)
class Repetitions:
    """The load of the plan, `number` times, each with its own seed."""

    number: int = 1

    def __post_init__(self) -> None:
        if self.number < 1:
            raise UsageError(f"{self.number} repetitions of a load", remedy="Run it at least once.")


@dataclass(frozen=True)
class Rates:
    """One load after the other, at these conversations per second."""

    rates: Sequence[float]

    def __post_init__(self) -> None:
        if not self.rates:
            raise UsageError("a sweep without rates", remedy="Name at least one rate.")
        for rate in self.rates:
            Constant(rate)


@dataclass(frozen=True)
class LimitSearch:
    """A search for the highest rate that meets the objectives, from the rate of the plan.

    Attributes:
        precision: of the limit, as a share of it.
    """

    precision: float = 0.05


@dataclass(frozen=True)
class ClusterModel:
    """The model of a cluster as the endpoint, in place of the plan's URL.

    Attributes:
        project: whose rehearsals are kept up while one of them is loaded, and whose chart makes the Jobs.
        cluster: where the model runs.
        from_inside: generate the load by Jobs in the cluster.
        values: Helm values files of these Jobs.
    """

    project: "Project"
    cluster: Cluster
    from_inside: bool = False
    values: Sequence[Path] = ()


@dataclass(frozen=True)
class GpuBound:
    """The GPU of the server, whose bandwidth bounds the time per output token from below."""

    gpu: str
    tensor_parallel: int = 1


@dataclass(frozen=True, kw_only=True)
class LoadTestRequest:
    """What to load and how to judge it.

    Attributes:
        plan: endpoint, requests and arrivals; its URL is `URL_OF_A_CLUSTER` where `model` is given.
        loads: which loads to offer.
        objectives: limits that each load must keep.
        model: loads the model of a cluster.
        baseline: folder of an earlier result, to compare with; for repetitions only.
        gpu: adds a warning about times that this GPU cannot reach.
    """

    plan: LoadPlan
    loads: Repetitions | Rates | LimitSearch = Repetitions()
    objectives: Objectives = field(default_factory=Objectives)
    model: ClusterModel | None = None
    baseline: Path | None = None
    gpu: GpuBound | None = None


@dataclass(frozen=True)
class LoadTestResult:
    """What a load test measured.

    Attributes:
        document: as `data/loadtest.schema.json` describes it; `outputs.write_results` writes it.
        loads: each with its measures.
    """

    document: dict[str, Any]
    loads: Sequence[Measured]

    @property
    def passed(self) -> bool:
        """Whether the loads count and meet the objectives; of a search, whether one rate does."""
        return passed(self.document)

    @property
    def regressions(self) -> tuple[str, ...]:
        """Names of measures that are significantly worse than the baseline's."""
        differences = self.document["comparison"] or ()
        return tuple(difference["name"] for difference in differences if difference["verdict"] == "worse")


def run_load_test(request: LoadTestRequest, say: Callable[[str], None] = lambda _line: None) -> LoadTestResult:
    """Offer the loads and judge them; an interrupt keeps what was measured until then.

    `say` receives lines for people while Jobs of a cluster start.

    Raises:
        UsageError: address, key, path or model is wrong, the baseline is not one of this load, or no such GPU is known.
        DrydockError: no server answers, or the generator could not start.
    """
    if request.baseline and not isinstance(request.loads, Repetitions):
        raise UsageError(
            "--baseline compares repetitions of one load, not a sweep", remedy="Give it with --rate or --concurrency."
        )
    target = request.plan.target
    if request.gpu:
        least_tpot(request.gpu.gpu, target.model, request.gpu.tensor_parallel)
    earlier = read_baseline(request.baseline, request.plan) if request.baseline else None
    with _endpoint(request.model, target, say) as endpoint:
        reached = replace(target, base_url=endpoint.url, api_key=target.api_key or endpoint.key)
        plan = replace(request.plan, target=reached)
        if not (request.model and request.model.from_inside):
            check(reached)
        searched, loads = _offered(request, plan, endpoint)
    compared = compare(earlier.runs, [load.measures.values for load in loads]) if earlier else None
    warnings = [
        *([endpoint.note] if endpoint.note else []),
        *(earlier.notes if earlier else ()),
        *(_impossible(request.gpu, target.model, loads) if request.gpu else ()),
    ]
    return LoadTestResult(result(plan, loads, searched=searched, compared=compared, warnings=warnings), loads)


def _offered(request: LoadTestRequest, plan: LoadPlan, endpoint: Endpoint) -> tuple[Sweep | None, Sequence[Measured]]:
    def at(rate: float) -> Measured:
        return offer(at_rate(plan, rate), request.objectives, site=endpoint.site)

    if isinstance(request.loads, Repetitions):
        return None, list(repeated(plan, request.objectives, request.loads.number, endpoint.site))
    if isinstance(request.loads, Rates):
        searched = sweep(request.loads.rates, at)
    else:
        searched = find_limit(rate_of(plan.stage.arrival) or 1.0, at, precision=request.loads.precision)
    return searched, searched.loads


def _impossible(bound: GpuBound, model: str, loads: Sequence[Measured]) -> Sequence[str]:
    warnings = (impossible(load.measures, bound.gpu, model, bound.tensor_parallel) for load in loads)
    return list(dict.fromkeys(filter(None, warnings)))


@contextmanager
def _endpoint(model: ClusterModel | None, target: Target, say: Callable[[str], None]) -> Iterator[Endpoint]:
    """The plan's URL as it is, or the model of a cluster; a rehearsal's cluster stays up meanwhile."""
    from drydock.rehearsal.runs import in_use

    if model is None:
        yield Endpoint(target.base_url)
        return
    if model.from_inside:
        reached = from_inside(model.project, model.cluster, target.model, model.values, say)
    else:
        reached = from_here(model.cluster, target.model, own_key=target.api_key is not None)
    with in_use(model.project, model.cluster.kubeconfig), reached as endpoint:
        yield endpoint
