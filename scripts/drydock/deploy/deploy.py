"""Installs an environment on a target and reports, and removes a deployment: what `deploy` and `destroy` do."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from drydock.checks.findings_error import refuse_errors
from drydock.deploy.deployment_report import build_deployment_report
from drydock.deploy.deployments import (
    Deployment,
    alone,
    check_free,
    check_name,
    forget,
    keep,
    list_deployments,
    remembered,
)
from drydock.deploy.helm_on_cluster import Helm
from drydock.deploy.in_use import deploying, uninstalling
from drydock.deploy.install import DEFAULT_TIMEOUT, install, uninstall, with_overlay
from drydock.deploy.target import Target
from drydock.deploy.targets import TARGETS, Agree
from drydock.errors import ClusterError
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.report.model import RehearsalReport, StepReport
from drydock.suite.charts import assemble_charts
from drydock.suite.cluster_description import lacks
from drydock.suite.environments import Environment
from drydock.tools.build import ensure
from drydock.tools.crd_files import ensure_crds
from drydock.tools.setup import set_up

if TYPE_CHECKING:
    from drydock.checks.registry import Check


@dataclass(frozen=True, kw_only=True)
class DeployRequest:
    """What to install, and where.

    Attributes:
        environment: with its whole stack of values.
        deployment: names target, cluster and settings; its record is written.
        timeout: seconds for the release to become ready.
        force_conflicts: take over fields that others have changed in the cluster.
        ignore_findings: install although validation found errors.
        more: checks of layers above, such as `plan.stated_load.check`.
    """

    environment: Environment
    deployment: Deployment
    timeout: int = DEFAULT_TIMEOUT
    force_conflicts: bool = False
    ignore_findings: bool = False
    more: Sequence["Check"] = ()


@dataclass(frozen=True)
class Deployed:
    """A release that is ready.

    Attributes:
        deployment: as it is recorded.
        report: what stands in the cluster, and what it costs.
        kubeconfig: access to the cluster.
    """

    deployment: Deployment
    report: RehearsalReport
    kubeconfig: Path


def deploy(project: Project, request: DeployRequest, *, progress: SilentProgress, agree: Agree) -> Deployed:
    """Validate an environment, make its cluster where it is not there, install, and report.

    Args:
        project: the suite.
        request: what to install, and where.
        progress: shows the steps.
        agree: shown what is about to cost money; raises UsageError without agreement.

    Raises:
        FindingsError: validation found errors; nothing was made or changed.
        UsageError: the name is taken, or another command is at work on the deployment.
        ClusterError: the cluster could not be made, or the release did not become ready and was rolled back.
    """
    began = time.time()
    check_name(request.deployment.name)
    deployment = remembered(project, request.deployment)
    check_free(project, deployment)
    target = TARGETS[deployment.target](project, deployment, agree)
    target.check(progress)
    with alone(project, deployment.name):
        _refuse_errors(project, request, target, progress)
        first = all(known.name != deployment.name for known in list_deployments(project))
        keep(project, deployment)
        try:
            ensure_crds(project, progress)
            program = ensure(project, ["helm4"], progress)["helm4"]
            reached = target.create(progress)
            environment = with_overlay(request.environment, reached.overlay, deployment.folder(project))
            with deploying(project, deployment, reached.kubeconfig):
                target.prepare(reached, environment, progress)
                install_began = time.time()
                install(
                    project,
                    assemble_charts(project),
                    Helm(program, reached.kubeconfig, deployment.folder(project)),
                    environment,
                    reached,
                    progress,
                    timeout=request.timeout,
                    balancers="load_balancer" not in lacks(deployment.target),
                    force_conflicts=request.force_conflicts,
                    servers=deployment.target != "rehearsal",
                )
        except BaseException:
            if first and target.give_up(progress):
                forget(project, deployment)
            raise
        steps = [StepReport(step.name, round(step.start, 2), round(step.seconds, 2)) for step in progress.times]
        times = (began, install_began)
        report = build_deployment_report(project, deployment, environment, reached, steps, times, progress)
    return Deployed(deployment, report, reached.kubeconfig)


def _refuse_errors(project: Project, request: DeployRequest, target: Target, progress: SilentProgress) -> None:
    """Validate the values that will be installed, as far as they are known before the cluster exists."""
    equipment = set_up(project, "validate", progress)
    with TemporaryDirectory(prefix="drydock-") as folder:
        refuse_errors(
            project,
            equipment,
            with_overlay(request.environment, target.known(), Path(folder)),
            progress,
            message="validation found errors; nothing was made or changed",
            remedy="Correct them, or pass --ignore-findings to install the environment as it is.",
            accept=request.ignore_findings,
            strict=True,
            more=request.more,
        )


def destroy(project: Project, deployment: Deployment, *, progress: SilentProgress, timeout: int) -> None:
    """Remove the release, the nodes that were bought for it, the cluster where Drydock made it, and the record.

    Raises:
        UsageError: another command is at work on the deployment.
        ClusterError: something is left, with what and where.
    """
    target = TARGETS[deployment.target](project, deployment, lambda _cost: None)
    folder = deployment.folder(project)
    own = deployment.settings.get("kubeconfig")
    kubeconfig = Path(own) if own else folder / "kubeconfig"
    with alone(project, deployment.name):
        if own or kubeconfig.exists():
            helm = Helm(ensure(project, ["helm4"], progress)["helm4"], kubeconfig, folder)
            try:
                with uninstalling(project, kubeconfig):
                    uninstall(helm, deployment.namespace, progress, timeout=timeout)
            except ClusterError as error:
                if own:
                    raise
                progress.note(f"{error.message}; the cluster is removed anyway")
        target.destroy(progress)
        forget(project, deployment)
