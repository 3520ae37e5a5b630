"""Deployments on control planes of this machine: `drydock down` spares them, and their end ends what waits for them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drydock.deploy.deployments import Deployment
from drydock.project import Project
from drydock.rehearsal.runs import RunFolder, end_of, find_run, in_use, list_clusters
from drydock.rehearsal.state import change


@contextmanager
def deploying(project: Project, deployment: Deployment, kubeconfig: Path) -> Iterator[None]:
    """Work on a deployment for the block; its cluster carries it afterwards, whatever came of the work.

    Raises:
        ClusterError: the control plane ended, and why.
    """
    with in_use(project, kubeconfig, doing="deploying", deployment=deployment.name) as run:
        try:
            yield
        finally:
            if run:
                change(run.path, doing="deployed")


@contextmanager
def uninstalling(project: Project, kubeconfig: Path) -> Iterator[None]:
    """Remove a deployment for the block; a cluster that outlives it is nothing but kept afterwards.

    Raises:
        ClusterError: the control plane ended, and why.
    """
    with in_use(project, kubeconfig) as run:
        yield
        if run:
            change(run.path, doing="kept", deployment="")


def state_of(project: Project, deployment: Deployment) -> str:
    """What a deployment's cluster is doing, where that is one of this machine; elsewhere it is not asked."""
    own = deployment.settings.get("kubeconfig")
    folder = run_of(project, deployment) if deployment.target == "rehearsal" else own and find_run(project, Path(own))
    if not folder:
        return "gone" if deployment.target == "rehearsal" else "recorded"
    running = {cluster.name: cluster for cluster in list_clusters(project)}
    return running[folder.name].doing if folder.name in running and not end_of(folder) else "gone"


def run_of(project: Project, deployment: Deployment) -> RunFolder | None:
    """The run that a deployment on a control plane of this machine stands on."""
    record = deployment.folder(project) / "rehearsal"
    return RunFolder(Path(record.read_text())) if record.exists() else None
