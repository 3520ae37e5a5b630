"""Every target by its name: the one place where a target is added."""

from collections.abc import Callable, Mapping
from pathlib import Path

from drydock.deploy.deployments import Deployment
from drydock.deploy.target import Target
from drydock.project import Project

Agree = Callable[[str], None]
"""Shown what is about to cost money; raises UsageError without agreement."""


def _existing(project: Project, deployment: Deployment, agree: Agree) -> Target:
    from drydock.deploy.existing import ExistingTarget

    return ExistingTarget(Path(deployment.settings["kubeconfig"]))


def _eks(project: Project, deployment: Deployment, agree: Agree) -> Target:
    from drydock.deploy.eks.target import EksTarget

    return EksTarget(project, deployment, agree)


def _rehearsal(project: Project, deployment: Deployment, agree: Agree) -> Target:
    from drydock.deploy.rehearsal import RehearsalTarget

    return RehearsalTarget(project, deployment)


def _kind(project: Project, deployment: Deployment, agree: Agree) -> Target:
    from drydock.deploy.kind.target import KindTarget

    return KindTarget(project, deployment)


TARGETS: Mapping[str, Callable[[Project, Deployment, Agree], Target]] = {
    "existing": _existing,
    "rehearsal": _rehearsal,
    "kind": _kind,
    "eks": _eks,
}
