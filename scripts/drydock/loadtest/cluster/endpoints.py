"""A cluster's model as something to load: from here through the API server, or from Jobs inside."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.clusters.kube import api_client
from drydock.errors import DrydockError
from drydock.loadtest.cluster.jobs import JobSet
from drydock.loadtest.cluster.models import Pod, find_model, read_key, ready_pods
from drydock.loadtest.cluster.relay import relayed
from drydock.loadtest.loads import HERE, Site
from drydock.loadtest.secrets import Secret

if TYPE_CHECKING:
    from drydock.project import Project

CHART = "loadtest"


@dataclass(frozen=True)
class Cluster:
    """Which one, and where in it.

    Attributes:
        kubeconfig: None for $KUBECONFIG or the default one.
        context: of it; None for its current one.
        namespace: of the models.
    """

    kubeconfig: Path | None
    context: str | None
    namespace: str


@dataclass(frozen=True)
class Endpoint:
    """Where a load goes, and where it is made.

    Attributes:
        url: of the API.
        key: that it asks for, as far as it is known here.
        site: of the generator.
        note: what the figures are worth; empty where there is nothing to say.
    """

    url: str
    key: Secret | None = None
    site: Site = HERE
    note: str = ""


THROUGH_API = (
    "measured through a port-forward of the API server, which adds milliseconds, more under load: good for a smoke "
    "test; for figures load it from inside, with --in-cluster"
)


@contextmanager
def from_here(cluster: Cluster, name: str, *, own_key: bool) -> Iterator[Endpoint]:
    """The model of that name, reached from this machine while the block runs; its Secret is read unless `own_key`.

    Raises:
        ClusterError: there is no such model, it is not ready, or it cannot be reached.
    """
    api = api_client(cluster.kubeconfig, cluster.context)
    model = find_model(api, cluster.namespace, name)
    pods = ready_pods(api, model)
    key = None if own_key else read_key(api, model)
    with relayed(api, pods) as url:
        yield Endpoint(url, key, note=THROUGH_API if not _is_local(pods) else "")


@contextmanager
def from_inside(
    project: "Project", cluster: Cluster, name: str, values: Sequence[Path], say: Callable[[str], None]
) -> Iterator[Endpoint]:
    """The model of that name, loaded by Jobs of the cluster; the server's metrics are read from here.

    `values` are files for the chart loadtest, `say` receives lines for people while Jobs start.

    Raises:
        ClusterError: there is no such model, or it is not ready.
    """
    api = api_client(cluster.kubeconfig, cluster.context)
    model = find_model(api, cluster.namespace, name)
    pods = ready_pods(api, model)
    jobs = JobSet(api, model, _renderer(project, cluster.namespace, values), say)
    with relayed(api, pods) as metrics:
        yield Endpoint(model.url, site=Site(jobs.generate, metrics))


def _is_local(pods: Sequence[Pod]) -> bool:
    from drydock.loadtest.cluster.relay import local_address

    return all(local_address(pod) for pod in pods)


def _renderer(
    project: "Project", namespace: str, files: Sequence[Path]
) -> Callable[[str, Mapping[str, Any]], list[Mapping[str, Any]]]:
    import json
    import tempfile

    from drydock.progress import terminal_progress
    from drydock.suite.charts import assemble_charts
    from drydock.suite.render import render_chart
    from drydock.tools.setup import set_up

    for file in files:
        if not file.is_file():
            raise DrydockError(f"--in-cluster-values {file}: no such file", remedy="Name a file of Helm values.")
    with terminal_progress() as progress:
        helm = set_up(project, "render", progress).tools["helm4"]
    chart = assemble_charts(project).chart(CHART)

    def render(release: str, values: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        with tempfile.NamedTemporaryFile("w", suffix=".json") as own:
            json.dump(values, own)
            own.flush()
            found = render_chart(
                helm, chart, values_files=[*files, Path(own.name)], namespace=namespace, release=release
            )
        return [item.content for item in found]

    return render
