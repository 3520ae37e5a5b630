"""Installs an environment on a rehearsal cluster and finds out what becomes of it."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from drydock.checks.accepted import sentences
from drydock.clusters.api import Api
from drydock.clusters.applying import Applier
from drydock.clusters.objects import full_name
from drydock.errors import ClusterError
from drydock.outcome.idle import overdue_claims
from drydock.outcome.made import unbound, unmade
from drydock.outcome.observe import COLLECTIONS, RAY, WORKLOADS, Observer, Scene
from drydock.outcome.ray import OPERATOR as RAY_OPERATOR
from drydock.outcome.unfinished import explain
from drydock.outcome.verdict import Expected, Verdict, judge
from drydock.progress import Step
from drydock.rehearsal import marker
from drydock.rehearsal.absent_servers import bypass, bypassing, find_callers, was_called
from drydock.rehearsal.aws.expected_account import Account, expected_account
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.helm import Helm
from drydock.rehearsal.kubelet.programs import Program, find_runnable, programs
from drydock.rehearsal.prerequisites import KARPENTER, Prerequisites, create_prerequisites, find_prerequisites
from drydock.rehearsal.seeding import Seed
from drydock.suite.charts import AssembledCharts
from drydock.suite.cluster_description import describe, described
from drydock.suite.environments import Environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import RenderedEnvironment, render
from drydock.suite.sources import AppliedManifests, HelmRelease

DEFAULT_TIMEOUT = 600.0
_LOOK_SECONDS = 0.1
_IDLE_SHARE = 9
"""Of the time that looking takes, for the cluster: it needs the cores more."""
_SIBLING_SECONDS = 0.5
_MADE_SECONDS = 60
_DETAIL_WIDTH = 150
_HOOK = "helm.sh/hook"
_TRANSIENT = (*WORKLOADS, "ReplicaSet", "Pod", "NodePool", "NodeClaim", "Node", "EC2NodeClass")
_CONTROLLERS = {RAY_OPERATOR: "ray.io", "argoproj/workflow-controller": "argoproj.io"}
"""API groups by the image of their controller."""
AUTO_MODE_OFF = "global.autoMode.enabled=false"

Opener = Callable[[str], AbstractContextManager[object]]
"""Opens a step of a name."""


@dataclass(frozen=True)
class Outcome:
    """What became of an install or upgrade.

    Attributes:
        verdict: see its class; one that is not final says what was still missing when time was over.
        seconds: from the end of Helm's call to the verdict.
    """

    verdict: Verdict
    seconds: float

    @property
    def ready(self) -> bool:
        """Every workload is ready."""
        return self.verdict.ready


@dataclass(frozen=True)
class Wanted:
    """An environment as it is rehearsed, and what it expects.

    Attributes:
        held: nothing is bought before all is installed; not so where Helm waits for pods, which need nodes.
        callers: objects of others by which the API server would call a server that does not run here.
        accepted: findings that are accepted, as sentences.
    """

    environment: Environment
    account: Account
    prerequisites: Prerequisites
    auto_mode: bool
    programs: tuple[Program, ...]
    gates: Mapping[str, bool]
    held: bool
    callers: tuple[Manifest, ...]
    accepted: tuple[str, ...]


class Release:
    """The suite's release on one rehearsal cluster: any number of installs, upgrades, rollbacks and uninstalls.

    Args:
        cluster: started; it need not be ready.
        helm: path of Helm 3 or 4.
        charts: holds the umbrella.
        live: whether the programs of servers run in their pods: the simulator of vLLM in those of models.
    """

    def __init__(self, cluster: RehearsalCluster, helm: Path, charts: AssembledCharts, *, live: bool = False) -> None:
        self._cluster = cluster
        self._program = helm
        self._charts = charts
        self._live = live
        self._observer: Observer | None = None
        self._expected: Expected | None = None
        self._wanted: Wanted | None = None
        self.install_began: float | None = None
        self.taken_away: dict[str, str] = {}

    @property
    def scene(self) -> Scene:
        """Every object of the cluster as it was seen last."""
        return self._watching().scene

    @property
    def environment(self) -> Environment:
        """The environment that was seeded last, as it is rehearsed."""
        return self._seeded.environment

    @property
    def account(self) -> Account:
        """What it expects of AWS."""
        return self._seeded.account

    @property
    def prerequisites(self) -> Prerequisites:
        """What it takes for granted in the cluster."""
        return self._seeded.prerequisites

    @property
    def programs(self) -> tuple[Program, ...]:
        """What runs on this machine in place of its images."""
        return self._seeded.programs

    @property
    def callers(self) -> tuple[Manifest, ...]:
        """Webhooks and aggregated APIs that are bypassed, because their servers do not run here."""
        return self._seeded.callers

    @property
    def accepted(self) -> tuple[str, ...]:
        """Findings that are accepted, as sentences."""
        return self._seeded.accepted

    @property
    def auto_mode(self) -> bool:
        """Whether it is for EKS Auto Mode, and rehearsed with Karpenter in the cluster."""
        return self._seeded.auto_mode

    def seed(self, environment: Environment, step: Opener = lambda _: nullcontext()) -> None:
        """Render an environment as it can be rehearsed, build what it runs, and have AWS hold what it expects.

        One for EKS Auto Mode is rendered for Karpenter in the cluster instead, with the same pools.

        Args:
            environment: the new one.
            step: opens a step of that name around each part.

        Raises:
            RenderError: it does not render.
            ToolchainError: a program that it runs cannot be built.
        """
        with step("Render the environment"):
            rendered = render(self._program, self._charts, environment)
            auto_mode = is_auto_mode(rendered)
            if auto_mode:
                rendered = render(
                    self._program, self._charts, environment.stacked((), (AUTO_MODE_OFF, *_lifetimes(rendered)))
                )
        target = describe(environment)
        runnable = self._programs(rendered.manifests, step)
        self._wanted = Wanted(
            environment=rendered.environment,
            account=expected_account(rendered.environment, rendered.manifests),
            prerequisites=find_prerequisites(rendered.environment, rendered.manifests, target, _acting(runnable)),
            auto_mode=auto_mode,
            programs=runnable,
            held=not (_hooked(rendered.manifests) or any(each.wait for each in rendered.environment.brought.steps)),
            callers=find_callers(rendered.manifests),
            accepted=sentences(rendered.environment, rendered.manifests),
            gates=target.gates_for(rendered.manifests),
        )
        # One for Auto Mode is rendered for Karpenter in the cluster, and so are the classes of its load balancers.
        classes = described("eks").load_balancer_classes if auto_mode else target.load_balancer_classes
        wanted = self._wanted
        self._cluster.seed(Seed(wanted.account, wanted.programs, wanted.gates, classes, target.ingress_classes))

    def install(self) -> None:
        """Make what the seeded environment takes for granted, then `helm install` it.

        Raises:
            ClusterError: the cluster did not start, or Helm refused.
        """
        self._change(lambda helm: self._install(helm, partial(self._install_suite, helm)))

    def upgrade(self) -> None:
        """Make what the seeded environment takes for granted, then `helm upgrade` to its values."""
        self._change(lambda helm: self._install(helm, helm.upgrade))

    def rollback(self, revision: int = 0) -> None:
        """`helm rollback`, to the revision before the last or to a given one."""
        self._change(lambda helm: helm.rollback(self.environment.namespace, revision))

    def uninstall(self) -> None:
        """`helm uninstall` of every release, the last installed first, and of the manifests beside them."""
        helm, applier = self._cluster.helm(self._program), Applier(self._cluster.await_api())
        for each in reversed(self.environment.brought.steps):
            if isinstance(each, HelmRelease):
                helm.uninstall(each.namespace, each.name)
            elif not each.kept:
                applier.delete(each.manifests)
        if self.environment.suite:
            helm.uninstall(self.environment.namespace)
        self._expected = Expected(_generations(self._cluster.await_api()), time.time())

    def helm_version(self) -> str:
        """Of the Helm that installs."""
        return self._cluster.helm(self._program).version()

    def wait(self, timeout: float = DEFAULT_TIMEOUT, step: Step | None = None, *, empty_nodes: bool = False) -> Outcome:
        """Watch until every workload is ready, or one can never be, or time is over.

        Args:
            timeout: seconds.
            step: shown what is missing.
            empty_nodes: wait also until the nodes that hold nothing but daemons are gone, as far as their pools allow;
                those that Karpenter takes away only after minutes are taken away at once (`taken_away`).

        Raises:
            ClusterError: nothing was installed, or the cluster failed.
        """
        if self._expected is None:
            raise ClusterError("nothing was installed yet")
        began, pause = time.monotonic(), _LOOK_SECONDS
        while True:
            self._watching().look(pause)
            looked = time.monotonic()
            verdict = self._verdict(self._expected, empty_nodes=empty_nodes)
            if verdict.final or time.monotonic() - began > timeout:
                return Outcome(verdict, time.time() - self._expected.since)
            if step:
                step.detail(self._told(verdict.waiting))
            if all(name.startswith("Node/") for name in verdict.waiting):
                self._take_away_idle()
            pause = max(_LOOK_SECONDS, _IDLE_SHARE * (time.monotonic() - looked))

    def _take_away_idle(self) -> None:
        for claim, instance_type, after in overdue_claims(self.scene, time.time()):
            if claim not in self.taken_away:
                self.taken_away[claim] = (
                    f"{instance_type} ({claim}) ran only daemons and was removed at once; Karpenter removes it "
                    f"after {after / 60:.0f} min (consolidateAfter)."
                )
                self._cluster.await_api().delete(f"{COLLECTIONS['NodeClaim']}/{claim}")

    def _told(self, waiting: Sequence[str]) -> str:
        if not waiting:
            return ""
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        why = explain(self.scene, self._cluster.said(), waiting[0])
        return f"{waiting[0]}{more}: {why}"[:_DETAIL_WIDTH]

    def wait_gone(self, timeout: float = DEFAULT_TIMEOUT) -> None:
        """Watch until an uninstall is complete: nothing that runs and no node is left.

        Claims that StatefulSets made stay, as on every cluster.

        Raises:
            ClusterError: something is left when time is over, and what.
        """
        end = time.monotonic() + timeout
        while left := list(self._left()):
            if time.monotonic() > end:
                raise ClusterError(f"still there {timeout:.0f} s after the uninstall: {', '.join(left)}")
            self._watching().look(_LOOK_SECONDS)
            self._cluster.check()

    def _left(self) -> Iterator[str]:
        for kind in _TRANSIENT:
            names = (full_name(each) for each in self.scene.of(kind))
            yield from (f"{kind}/{name}" for name in names if name != marker.NAME)

    def _verdict(self, expected: Expected, *, empty_nodes: bool) -> Verdict:
        self._cluster.check()
        verdict = self._judge(expected, empty_nodes=empty_nodes)
        if verdict.obstacles:  # Karpenter reports one pod after the other
            self._watching().look(_SIBLING_SECONDS)
            verdict = self._judge(expected, empty_nodes=empty_nodes)
        return verdict

    def _programs(self, manifests: Sequence[Manifest], step: Opener) -> tuple[Program, ...]:
        build = self._cluster.build
        if not build:
            return ()
        runnable = find_runnable(manifests, live=self._live)
        tools = [each.tool for each in runnable if each.tool]
        with step(f"Build {', '.join(tools)}") if tools else nullcontext():
            return programs(runnable, build)

    def _judge(self, expected: Expected, *, empty_nodes: bool) -> Verdict:
        decisions, skipped = self._cluster.decisions(), self._cluster.skipped_pools()
        return judge(self.scene, expected, decisions, skipped, empty_nodes=empty_nodes)

    def _watching(self) -> Observer:
        if self._observer is None:
            self._observer = Observer(self._cluster.await_api())
        return self._observer

    @property
    def _seeded(self) -> "Wanted":
        if self._wanted is None:
            raise ClusterError("no environment was seeded yet")
        return self._wanted

    def _change(self, change: Callable[[Helm], None]) -> None:
        api = self._cluster.await_api()
        self._watching().scene.gates = self._seeded.gates
        create_prerequisites(api, self.prerequisites)
        self.install_began = self.install_began or time.time()
        with self._cluster.purchases_held() if self._seeded.held else nullcontext():
            change(self._cluster.helm(self._program))
            ray = any(program.image == RAY_OPERATOR for program in self._seeded.programs)
            self._watching().watch(RAY if ray else {})
            self._expected = Expected(_generations(api), time.time(), ray)
            if self._seeded.held:
                self._await_pods(self._expected)

    def _install(self, helm: Helm, suite: Callable[[Path, Environment], None]) -> None:
        """The suite, then what the environment brings, in its order."""
        api = self._cluster.await_api()
        applier = Applier(api)
        if self.environment.suite:
            suite(self._charts.umbrella, self.environment)
        for step in self.environment.brought.steps:
            try:
                self._install_step(helm, applier, step)
            except ClusterError as error:
                if not was_called(error):
                    raise
                bypass(api, self.callers)
                self._install_step(helm, applier, step)

    def _install_step(self, helm: Helm, applier: Applier, step: HelmRelease | AppliedManifests) -> None:
        with bypassing(self._cluster.await_api(), self.callers):
            if isinstance(step, HelmRelease):
                helm.install_beside(step)
                return
            applier.apply(step.manifests)
            if step.wait:
                applier.await_done(step.manifests, DEFAULT_TIMEOUT, lambda _: self._cluster.check())

    def _install_suite(self, helm: Helm, chart: Path, environment: Environment) -> None:
        helm.install(chart, environment, skip_crds=self._cluster.has_crds())
        self._cluster.take_crds()

    def _await_pods(self, expected: Expected) -> None:
        """Until what Karpenter is to buy for is there, or the controllers that make it took long."""
        end = time.monotonic() + _MADE_SECONDS
        while self._has_to_come(expected) and time.monotonic() < end:
            self._watching().look(_LOOK_SECONDS)
            self._cluster.check()

    def _has_to_come(self, expected: Expected) -> bool:
        return any(unmade(self.scene, expected.generations)) or any(unbound(self.scene))


def _acting(runnable: Sequence[Program]) -> tuple[str, ...]:
    """API groups whose controllers run here."""
    images = {each.image for each in runnable}
    return (*KARPENTER, *(group for image, group in _CONTROLLERS.items() if image in images))


def _hooked(manifests: Sequence[Manifest]) -> bool:
    return any(_HOOK in (each.content["metadata"].get("annotations") or {}) for each in manifests)


def is_auto_mode(rendered: RenderedEnvironment) -> bool:
    """Whether EKS Auto Mode is to run the nodes, which nothing outside AWS can stand in for."""
    return any(each.api_version.startswith("eks.amazonaws.com/") for each in rendered.manifests)


def _generations(api: Api) -> dict[str, int]:
    """Generation of every workload, by `Kind/namespace/name`."""
    return {
        f"{kind}/{full_name(each)}": each["metadata"].get("generation", 0)
        for kind in WORKLOADS
        for each in api.get(COLLECTIONS[kind])["items"]
        if "deletionTimestamp" not in each["metadata"]
    }


def _lifetimes(rendered: RenderedEnvironment) -> Iterator[str]:
    """Nodes live as long as in Auto Mode, whose pools have another default."""
    for pool in rendered.of_kind("NodePool"):
        age = pool.content["spec"]["template"]["spec"]["expireAfter"]
        yield f"karpenter-nodepools.nodePools.{pool.name}.expireAfter={age}"
