"""Integration tests on any target: what a target can do, and the cluster that the tests run against (docs/pytest.md).

`--cluster-type` names the target and `--kube-config` the cluster, as pytest-helm-charts has them. Without either the
tests run on a rehearsal, which is started for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from drydock.errors import ClusterError, UsageError
from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.rehearsal.runs import find_run
from drydock.suite.cluster_description import lacks, target_names
from drydock.suite.environments import Environment, load_environment

REHEARSAL = "rehearsal"
MARKS = {
    "accelerator": "needs nodes whose accelerators compute",
    "load_balancer": "needs a cluster in which Services get a load balancer",
    "real_pods": "needs pods that run and answer on the network",
}


@dataclass(frozen=True)
class Deployed:
    """An environment on a cluster.

    Attributes:
        environment: as it was installed.
        target: `rehearsal`, `kind`, `eks` or `existing`.
        kubeconfig: of the cluster.
    """

    environment: Environment
    target: str
    kubeconfig: Path


def target_of(config: pytest.Config) -> str:
    """The target that the command line names.

    Raises:
        pytest.UsageError: there is no such target.
    """
    given = config.getoption("cluster_type", None)
    target = given or ("existing" if config.getoption("kubeconfig", None) else REHEARSAL)
    known = target_names()
    if target not in known:
        raise pytest.UsageError(f"--cluster-type {target}: known are {', '.join(known)}")
    return str(target)


def lacking(config: pytest.Config) -> Mapping[str, str]:
    """Marks that the target cannot satisfy, each with the reason."""
    named = dict.fromkeys(config.getoption("target_lacks"), "--target-lacks")
    unknown = sorted(set(named) - set(MARKS))
    if unknown:
        raise pytest.UsageError(f"--target-lacks {', '.join(unknown)}: known are {', '.join(MARKS)}")
    target, given = target_of(config), config.getoption("kubeconfig", None)
    if target == "existing" and given and find_run(Project.discover(), Path(given)):
        target = REHEARSAL  # one that was kept
    return {**lacks(target), **named}


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out the tests that need what the target lacks."""
    marks = lacking(config)
    out = [each for each in items if any(each.get_closest_marker(mark) for mark in marks)]
    if out:
        config.hook.pytest_deselected(items=out)
        items[:] = [each for each in items if each not in out]


def header(config: pytest.Config) -> Sequence[str]:
    """Lines that say where integration tests run, and what is deselected there."""
    missing = [f"{mark} ({why})" for mark, why in lacking(config).items()]
    without = f"; deselected are tests that need {', '.join(missing)}" if missing else ""
    return [f"drydock: integration tests run on {target_of(config)}{without}"]


@contextmanager
def deployed(config: pytest.Config, project: Project) -> Iterator[Deployed]:
    """The environment on its target: rehearsed for these tests, or as `drydock deploy` left it.

    Raises:
        DrydockError: it is not there, or the rehearsal does not become ready.
    """
    target = target_of(config)
    environment = load_environment(project, config.getoption("drydock_environment"))
    if target == REHEARSAL:
        with _rehearsed(project, environment) as found:
            yield found
    else:
        given = config.getoption("kubeconfig", None)
        yield Deployed(environment, target, Path(given) if given else _recorded(project, environment, target))


def _recorded(project: Project, environment: Environment, target: str) -> Path:
    from drydock.deploy.deployments import list_deployments

    found = [
        deployment
        for deployment in list_deployments(project)
        if (deployment.environment, deployment.target) == (environment.name, target)
    ]
    if len(found) != 1:
        names = ", ".join(each.name for each in found) or "none"
        raise UsageError(
            f"deployments of {environment.name} on {target} that this machine made: {names}",
            remedy="Deploy one with `drydock deploy`, or give --kube-config FILE.",
        )
    own = found[0].settings.get("kubeconfig")
    return Path(own) if own else found[0].folder(project) / "kubeconfig"


@contextmanager
def _rehearsed(project: Project, environment: Environment) -> Iterator[Deployed]:
    from drydock.rehearsal.rehearse import expected_crds, suite_cluster
    from drydock.rehearsal.release import Release
    from drydock.rehearsal.runs import new_run_folder
    from drydock.suite.charts import assemble_charts
    from drydock.tools.setup import set_up

    tools = set_up(project, "rehearse", PlainProgress()).tools
    charts, folder = assemble_charts(project), new_run_folder(project, "integration", kind="test")
    crds = expected_crds(tools["helm4"], charts, environment)
    with suite_cluster(project, tools, folder, helm_crds=crds) as cluster:
        release = Release(cluster, tools["helm4"], charts)
        release.seed(environment)
        release.install()
        outcome = release.wait()
        if not outcome.ready:
            missing = ", ".join((*outcome.verdict.waiting, *map(str, outcome.verdict.obstacles)))
            raise ClusterError(f"the rehearsal of {environment.name} did not become ready: {missing}")
        yield Deployed(environment, REHEARSAL, cluster.kubeconfig)
