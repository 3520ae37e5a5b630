"""What an API server says of environments, without installing them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from drydock.checks.findings import Finding
from drydock.clusters.crds import crd_files
from drydock.clusters.dry_run_findings import server_findings
from drydock.progress import Progress
from drydock.project import Project
from drydock.rehearsal.lifeline import while_alive
from drydock.rehearsal.rehearse import suite_cluster, suite_crds
from drydock.rehearsal.runs import new_run_folder
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import Environment
from drydock.suite.render import RenderedEnvironment, render


def dry_run(
    project: Project,
    tools: Mapping[str, Path],
    environments: Sequence[Environment],
    charts: AssembledCharts,
    progress: Progress,
) -> tuple[Finding, ...]:
    """Dry-run every object of environments that render on an API server of our own: CEL rules, defaults, pod security.

    Raises:
        RenderError: an environment does not render.
        ClusterError: the API server did not start.
    """
    rendered = [render(tools["helm4"], charts, each) for each in environments]
    cluster = suite_cluster(project, tools, new_run_folder(project, "dry-run"), crds=_crds_of(project, rendered))
    found: list[Finding] = []
    with cluster, while_alive(cluster.failure):
        with progress.step("Start an API server"):
            cluster.await_api()
        for each in rendered:
            with progress.step(f"Dry-run {each.environment.name}"):
                found += server_findings(cluster.kubeconfig, each)
    return tuple(found)


def _crds_of(project: Project, rendered: Sequence[RenderedEnvironment]) -> list[Path]:
    """The CRDs of API groups that occur: serving one that is not used can take the API server ten seconds."""
    groups = {manifest.api_version.partition("/")[0] for each in rendered for manifest in each.manifests}
    files = dict.fromkeys((*crd_files(project), *suite_crds(project)))
    return [file for file in files if any(group in file.name for group in groups if "." in group)]
