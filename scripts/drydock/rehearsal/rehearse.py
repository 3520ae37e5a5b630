"""The main job: an environment on a rehearsal cluster, from nothing to a report."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from drydock.clusters.objects import full_name
from drydock.outcome.limits import LIMITS
from drydock.outcome.observe import WORKLOADS, Scene
from drydock.outcome.results import Circumstances, build_report
from drydock.progress import PlainProgress, Progress
from drydock.project import Project
from drydock.rehearsal import absent_servers
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.crd_snapshots import FOLDER, HelmCrds
from drydock.rehearsal.faults.fault_list import Fault
from drydock.rehearsal.faults.trial import try_or_explain
from drydock.rehearsal.journeys.live_cluster import LiveCluster
from drydock.rehearsal.karpenter import read_version
from drydock.rehearsal.kubelet.not_honoured import held, not_honoured
from drydock.rehearsal.kubelet.programs import Program
from drydock.rehearsal.lifeline import while_alive
from drydock.rehearsal.release import DEFAULT_TIMEOUT, Outcome, Release
from drydock.rehearsal.runs import RunFolder, end_leftovers, new_run_folder
from drydock.rehearsal.state import change
from drydock.rehearsal.steps import StepClock
from drydock.report.model import FaultReport, ModelReport, RehearsalReport
from drydock.scheduling.prices import DEFAULT_SPOT_SHARE, Prices, ensure_price_list
from drydock.suite.charts import AssembledCharts, assemble_charts
from drydock.suite.environments import Environment
from drydock.suite.render import installed_crds
from drydock.tools.build import ensure
from drydock.tools.python_programs import ensure_python, python_programs

_DATA = Path(__file__).resolve().parents[1] / "data" / "crds"

_ASSUMPTIONS = ("EC2 takes the cheapest of the offerings that Karpenter asks for.",)
_AUTO_MODE_LIMIT = (
    "EKS Auto Mode runs in AWS only: the same pools were rehearsed with Karpenter in the cluster "
    "(global.autoMode.enabled=false)."
)


JudgeModels = Callable[[Scene, Environment], tuple[ModelReport, ...]]
"""Says of each model whether it meets the environment's objectives where its pods run."""


@dataclass(frozen=True)
class Rehearsed:
    """A rehearsal's result.

    Attributes:
        report: what was found.
        folder: of the rehearsal, with the logs.
        kubeconfig: of the cluster when it was kept, else None.
    """

    report: RehearsalReport
    folder: RunFolder
    kubeconfig: Path | None


def suite_crds(project: Project) -> list[Path]:
    """Files of the CRDs that Karpenter needs before it starts, and of what only EKS brings."""
    karpenter = project.charts_dir / "crds" / "charts" / "karpenter" / "crds"
    return [*sorted(karpenter.glob("*.yaml")), *sorted(_DATA.glob("*.yaml"))]


def suite_cluster(
    project: Project,
    tools: Mapping[str, Path],
    folder: RunFolder,
    *,
    crds: Iterable[Path] | None = None,
    cache: Path | None = None,
    spot_price_share: float = DEFAULT_SPOT_SHARE,
    port: int = 0,
    progress: Progress | None = None,
    helm_crds: HelmCrds | None = None,
) -> RehearsalCluster:
    """A cluster of a suite, not started yet; with `suite_crds` unless other files are given.

    `cache` is the folder that rehearsals share, unless this one is to share nothing.

    `helm_crds` is what the first installation brings, where that is known: once an earlier control plane has installed
    the same, this one starts with it.

    `progress` shows the building of controllers that an environment brings and this machine has not built before.
    """
    shown = progress or PlainProgress()
    return RehearsalCluster(
        folder,
        tools,
        crds=suite_crds(project) if crds is None else crds,
        snapshots=(cache or project.cache_dir) / FOLDER,
        cache=cache or project.cache_dir / "rehearsal",
        price_list=ensure_price_list(project, shown),
        spot_price_share=spot_price_share,
        port=port,
        build=lambda names: _ensure_programs(project, names, shown),
        helm_crds=helm_crds,
    )


def expected_crds(helm: Path, charts: AssembledCharts, environment: Environment) -> HelmCrds | None:
    """What `helm install` of an environment brings; None for one without the suite.

    Raises:
        RenderError: it does not render.
    """
    return HelmCrds(helm, installed_crds(helm, charts, environment)) if environment.suite else None


def _ensure_programs(project: Project, names: Sequence[str], progress: Progress) -> dict[str, Path]:
    """Paths of tools, and of folders of Python environments, by their names."""
    pythons = {name: ensure_python(project, name, progress) for name in names if name in python_programs()}
    tools = [name for name in names if name not in pythons]
    return {**pythons, **(ensure(project, tools, progress) if tools else {})}


def rehearse(
    project: Project,
    tools: Mapping[str, Path],
    environment: Environment,
    *,
    progress: Progress,
    folder: RunFolder | None = None,
    helm: str = "helm4",
    keep: bool = False,
    spot_price_share: float = DEFAULT_SPOT_SHARE,
    timeout: float = DEFAULT_TIMEOUT,
    started: float | None = None,
    port: int = 0,
    live: bool = False,
    faults: Sequence[Fault] = (),
    cache: Path | None = None,
    judge_models: JudgeModels | None = None,
) -> Rehearsed:
    """Install an environment on a cluster of its own, watch what becomes of it, and report.

    Args:
        project: the suite.
        tools: paths of `helm4` or `helm3` and of the programs in `cluster.TOOLS`.
        environment: what to install.
        progress: shows the steps.
        folder: of the rehearsal; a new one when absent.
        helm: which of the tools installs.
        keep: leave the cluster running; `runs.down` ends it.
        spot_price_share: spot price as a share of the on-demand price.
        timeout: seconds to wait for a verdict after the install.
        started: when the command was given, as Unix time; now when absent.
        port: of the API server; 0 takes a free one.
        live: run the programs of servers in their pods, so that they answer.
        faults: to try under load, one after the other, once every workload is ready.
        cache: folder that rehearsals share, in place of the usual one.
        judge_models: says whether the models meet the objectives on what was bought; left out when absent.

    Raises:
        ClusterError: the cluster or the install failed.
        RenderError: the environment does not render.
    """
    clock = StepClock(progress, started or time.time())
    end_leftovers(project)
    folder = folder or new_run_folder(project, environment.name)
    charts = assemble_charts(project)
    with (
        _logs_told(folder, progress),
        suite_cluster(
            project,
            tools,
            folder,
            cache=cache,
            spot_price_share=spot_price_share,
            port=port,
            progress=progress,
            helm_crds=expected_crds(tools[helm], charts, environment),
        ) as cluster,
        while_alive(cluster.failure),
    ):
        release = Release(cluster, tools[helm], charts, live=live or bool(faults))
        release.seed(environment, clock.step)
        with clock.step("Start the control plane"):
            cluster.await_api()
        with clock.step("Install with Helm"):
            change(folder.path, doing="installing")
            release.install()
        with clock.step("Wait until every workload is ready or can never be") as step:
            outcome = release.wait(timeout, step, empty_nodes=True)
        seconds = time.time() - clock.begun
        report = _report(cluster, release, outcome, clock, seconds)
        if judge_models:
            report = replace(report, models=judge_models(release.scene, environment))
        if outcome.ready:
            report = replace(report, faults=tuple(_tried(cluster, faults, clock)))
        if keep:
            cluster.keep()
    return Rehearsed(report, folder, cluster.kubeconfig if keep else None)


def _tried(cluster: RehearsalCluster, faults: Sequence[Fault], clock: StepClock) -> Iterator[FaultReport]:
    live = LiveCluster(cluster.folder, cluster.await_api())
    for fault in faults:
        with clock.step(f"Try {fault.name} under load") as step:
            yield try_or_explain(live, fault, step.detail)


@contextmanager
def _logs_told(folder: RunFolder, progress: Progress) -> Iterator[None]:
    """Say where the logs are of a run that is interrupted or fails, unless its error does."""
    try:
        yield
    except BaseException as error:
        if folder.logs.is_dir() and str(folder.logs) not in str(error):
            progress.note(f"The logs of this run: {folder.logs}")
        raise


def _report(
    cluster: RehearsalCluster, release: Release, outcome: Outcome, clock: StepClock, seconds: float
) -> RehearsalReport:
    page = cluster.karpenter_metrics()
    prices = cluster.prices(release.account.region)
    circumstances = Circumstances(
        environment=release.environment.name,
        started=clock.begun,
        install_began=release.install_began,
        seconds=seconds,
        versions={
            "kubernetes": cluster.kubernetes_version,
            "karpenter": read_version(page),
            "helm": release.helm_version(),
        },
        steps=clock.with_background(cluster.steps()),
        prices=prices,
        assumptions=(
            _priced(prices),
            *_ASSUMPTIONS,
            *_in_place(release.programs),
            *held(release.programs),
            *not_honoured(_templates(release), release.programs),
            *release.prerequisites.told(),
            *absent_servers.sentences(release.callers),
            *release.accepted,
            *release.taken_away.values(),
        ),
        assumptions_with=_assumptions_with(cluster.spot_price_share),
        said=cluster.said(),
        limits=(*LIMITS, _AUTO_MODE_LIMIT) if release.auto_mode else LIMITS,
    )
    return build_report(release.scene, outcome.verdict, circumstances)


def _priced(prices: Prices) -> str:
    return (
        f"Prices are those of {prices.region} in the list of {prices.source}, made on {prices.generated}: on-demand, "
        "Linux, without savings plans, volumes and traffic."
    )


def _in_place(programs: Sequence[Program]) -> Iterator[str]:
    if programs:
        names = ", ".join(each.image for each in programs)
        yield f"Programs of this machine ran in place of images, with the rights of their ServiceAccounts: {names}."


def _templates(release: Release) -> dict[str, Mapping[str, Any]]:
    """Specs of pods by the workload that makes them."""
    return {
        f"{kind}/{full_name(workload)}": workload["spec"]["template"]["spec"]
        for kind in WORKLOADS
        for workload in release.scene.of(kind)
    }


def _assumptions_with(spot_price_share: float) -> dict[str, str]:
    """Assumptions by the capacity type of the nodes that they are about."""
    return {
        "spot": (
            f"Spot capacity is priced at {spot_price_share:.0%} of on-demand, in every zone and at any time, and the "
            "cheapest is there; EC2 weighs how much is left too."
        ),
        "reserved": "Reserved capacity counts at the on-demand price: it is paid for whether used or not.",
    }
