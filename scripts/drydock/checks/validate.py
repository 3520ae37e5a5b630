"""Everything that can be said of environments without a cluster, in as little time as the programs need."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from drydock.checks.findings import Finding
from drydock.checks.findings_cache import environment_parts, prune, store, stored
from drydock.progress import Progress
from drydock.project import Project
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import Environment
from drydock.suite.render import HELMS
from drydock.tools.identity import code_identity, content_key, file_identity

if TYPE_CHECKING:
    from drydock.checks.registry import Check

TOOLS = (*HELMS, "kubeconform")
"""Programs that `validate` starts."""


def validate(
    project: Project,
    tools: Mapping[str, Path],
    environments: Sequence[Environment],
    charts: AssembledCharts,
    *,
    progress: Progress,
    schemas: Path,
    cache: bool = True,
    more: Sequence["Check"] = (),
) -> tuple[Finding, ...]:
    """Render the environments with both Helms and check what comes out.

    Args:
        project: the suite.
        tools: paths of `TOOLS` by name.
        environments: what to check.
        charts: with their dependencies inside.
        progress: shows the steps.
        schemas: folder of `KIND-GROUP-VERSION.json` files, for kubeconform.
        cache: whether findings of an unchanged environment are taken from an earlier run.
        more: checks of layers above this one.

    Returns:
        The findings by environment, errors and warnings; those of the charts alone first, without an environment.

    Raises:
        ToolError: a program failed by itself.
    """
    names = [f"{check.__module__}.{check.__qualname__}" for check in more]
    common = [
        code_identity(),
        charts.digest,
        names,
        file_identity(schemas),
        *(file_identity(tools[name]) for name in TOOLS),
    ]
    folder = project.cache_dir / "findings"
    files = {
        environment.name: folder / f"{content_key([*common, *environment_parts(environment)])}.json"
        for environment in environments
    }
    charts_file = folder / f"charts-{content_key(common)}.json"
    known = {name: stored(file) if cache else None for name, file in files.items()}
    of_charts = stored(charts_file) if cache else None
    missing = [environment for environment in environments if known[environment.name] is None]
    if missing or of_charts is None:
        from drydock.checks.validation_run import Run

        with Run(project, tools, charts, schemas, progress, more) as run:
            fresh = run.check(missing, lint=of_charts is None)
        for name, findings in fresh.environments.items():
            store(files[name], findings)
            known[name] = findings
        if fresh.charts is not None:
            store(charts_file, fresh.charts)
            of_charts = fresh.charts
        prune(folder)
    return (*(of_charts or ()), *(finding for environment in environments for finding in known[environment.name] or ()))
