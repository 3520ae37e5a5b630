"""What an API server says of environments, without installing them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from drydock.charts import AssembledCharts
from drydock.checks.server import server_findings
from drydock.crds import crd_files
from drydock.environments import Environment
from drydock.findings import Finding
from drydock.progress import Progress
from drydock.project import Project
from drydock.rehearsal.aws.prices import DEFAULT_SPOT_PRICE_SHARE
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.rehearse import suite_crds
from drydock.rehearsal.runs import new_run_folder
from drydock.render import render


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
    cluster = RehearsalCluster(
        new_run_folder(project, "dry-run"),
        tools,
        crds=dict.fromkeys((*crd_files(project), *suite_crds(project))),
        cache=project.cache_dir / "rehearsal",
        spot_price_share=DEFAULT_SPOT_PRICE_SHARE,
    )
    found: list[Finding] = []
    with cluster:
        rendered = [render(tools["helm4"], charts, each) for each in environments]
        with progress.step("Start an API server"):
            cluster.await_api()
        for each in rendered:
            with progress.step(f"Dry-run {each.environment.name}"):
                found += server_findings(cluster.kubeconfig, each)
    return tuple(found)
