"""An environment made of what a command line names, without a file: charts and manifests of others."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from drydock.errors import RenderError
from drydock.project import Project
from drydock.suite.environments import NODES_FILE, OF_STAND_IN_NODES, Environment
from drydock.suite.render import render_release
from drydock.suite.sources import Brought, Source, read_all


def read_brought(
    project: Project,
    *,
    chart: str = "",
    version: str = "",
    repository: str = "",
    release: str = "",
    namespace: str = "",
    manifests: Sequence[Path] = (),
    kustomize: Sequence[Path] = (),
    files: Sequence[Path] = (),
    set_values: Sequence[str] = (),
) -> Brought:
    """Read what the options of those names give, relative to the current folder.

    Raises:
        UsageError: something is not there, or is not what its option takes.
        DrydockError: a chart cannot be fetched, or Kustomize refused.
    """
    here = Path.cwd()
    where = {"namespace": namespace} if namespace else {}
    releases: list[Source] = []
    if chart:
        given = {"name": release, "version": version, "repository": repository}
        content = {"chart": chart, "values": [str(file) for file in files], "set": list(set_values), **where}
        content |= {key: value for key, value in given.items() if value}
        releases.append(Source("--chart", here, content))
    sources = [
        *(Source("--manifests", here, {"manifests": str(path), **where}) for path in manifests),
        *(Source("--kustomize", here, {"kustomize": str(path), **where}) for path in kustomize),
    ]
    return read_all(project, [*sources, *releases])


def environment_around(project: Project, helm: Path, brought: Brought) -> Environment:
    """What was brought, on the suite's node pools and device plugins unless it brings node pools itself.

    Args:
        project: the suite.
        helm: renders the releases, to see what they bring.
        brought: at least one release or manifest.
    """
    first = brought.releases[0].name if brought.releases else Path(brought.manifests[0].source).stem
    environment = Environment(
        name=first,
        file=Path(),
        description="What the command line names",
        values_files=(),
        suite=False,
        brought=brought,
    )
    objects = list(brought.manifests)
    for release in brought.releases:
        with suppress(RenderError):  # which is reported when the environment is checked
            objects += render_release(helm, release, environment)
    if any(each.kind == "NodePool" for each in objects):
        return environment
    nodes = (project.values_dir / NODES_FILE,)
    return replace(environment, suite=True, stand_in_nodes=True, values_files=nodes, accepted=OF_STAND_IN_NODES)
