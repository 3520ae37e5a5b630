"""An environment beside itself at another revision, or beside a cluster."""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.clusters.field_ownership import SharedField
from drydock.progress import Progress, SilentProgress
from drydock.project import Project
from drydock.suite.charts import assemble_charts
from drydock.suite.diff import ObjectChange, changed_objects
from drydock.suite.environments import Environment, environment_names, load_environment
from drydock.suite.render import render
from drydock.tools.build import ensure

if TYPE_CHECKING:
    from drydock.report.model import RehearsalReport


@dataclass(frozen=True)
class Fleet:
    """Nodes that a rehearsal ended with.

    Attributes:
        ready: whether every workload became ready.
        nodes: how many of each `pool, instance type, capacity type`.
        dollars_per_hour: their price, as the rehearsal's report has it.
    """

    ready: bool
    nodes: dict[str, int]
    dollars_per_hour: float


@dataclass(frozen=True)
class Side:
    """One side of a comparison: what it is, how many objects, and its nodes where it was rehearsed."""

    name: str
    objects: int
    fleet: Fleet | None = None


@dataclass(frozen=True)
class Comparison:
    """What a change does to an environment.

    Attributes:
        changes: objects that are added, removed or changed.
        shared: beside a cluster, fields of the environment's objects that others have written there.
    """

    environment: str
    before: Side
    after: Side
    changes: tuple[ObjectChange, ...]
    shared: tuple[SharedField, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data."""
        return asdict(self)


def compare_with_revision(
    project: Project, environment: Environment, reference: str, progress: Progress, *, rehearsed: bool = False
) -> Comparison:
    """The environment as it is in the checkout beside the same at another revision.

    Values files and `--set` values on top of the environment count for the checkout alone. An environment that the
    other revision does not have counts as empty there.

    Args:
        project: the checkout.
        environment: of the checkout.
        reference: branch, tag or commit.
        progress: shows the steps.
        rehearsed: rehearse both, side by side.

    Raises:
        UsageError: there is no such revision.
        RenderError: one of the two does not render.
        ClusterError: a rehearsal failed.
    """
    from drydock.suite.revisions import at_revision

    with progress.step(f"Read {reference}"):
        revision = at_revision(project, reference)
    older = _environment_at(revision.project, environment.name)
    helm = ensure(project, ["helm4"], progress)["helm4"]
    with progress.step(f"Render {environment.name} twice"):
        after = render(helm, assemble_charts(project), environment).manifests
        before = render(helm, assemble_charts(revision.project), older).manifests if older else ()
    changes = changed_objects(before, after)
    fleets: Sequence[Fleet | None] = (None, None)
    if rehearsed and changes:
        with progress.step("Rehearse both, side by side"):
            fleets = _rehearse_both(((revision.project, older), (project, environment)), progress)
    name = f"{reference} ({revision.commit[:10]})"
    sides = (Side(name, len(before), fleets[0]), Side("checkout", len(after), fleets[1]))
    return Comparison(environment.name, *sides, changes)


def compare_with_cluster(
    project: Project, environment: Environment, kubeconfig: Path | None, progress: Progress
) -> Comparison:
    """A cluster beside what the environment renders.

    Objects that a cluster has beyond the environment's are not looked for: they may belong to others.

    Raises:
        UsageError: there is no kubeconfig.
        ClusterError: the API server refuses or does not answer.
    """
    from drydock.clusters.drift import drift

    helm = ensure(project, ["helm4"], progress)["helm4"]
    with progress.step(f"Render {environment.name}"):
        manifests = render(helm, assemble_charts(project), environment).manifests
    with progress.step("Ask the API server what an apply would change"):
        found = drift(kubeconfig, manifests, environment.namespace)
    missing = sum(change.change == "added" for change in found.changes)
    sides = Side("cluster", len(manifests) - missing), Side("checkout", len(manifests))
    return Comparison(environment.name, *sides, found.changes, found.shared)


def _environment_at(project: Project, name: str) -> Environment | None:
    return load_environment(project, name) if name in environment_names(project) else None


def _rehearse_both(sides: Sequence[tuple[Project, Environment | None]], progress: Progress) -> Sequence[Fleet | None]:
    from drydock.rehearsal.rehearse import rehearse
    from drydock.tools.setup import set_up

    tools = [set_up(project, "rehearse", progress).tools for project, _ in sides]

    def fleet(position: int) -> Fleet | None:
        project, environment = sides[position]
        if environment is None:
            return None
        return _fleet(rehearse(project, tools[position], environment, progress=SilentProgress()).report)

    with ThreadPoolExecutor(len(sides)) as pool:
        return list(pool.map(fleet, range(len(sides))))


def _fleet(report: "RehearsalReport") -> Fleet:
    counted = Counter(f"{node.pool}, {node.instance_type}, {node.capacity_type}" for node in report.nodes)
    return Fleet(report.ready, dict(sorted(counted.items())), round(report.dollars_per_hour, 4))
