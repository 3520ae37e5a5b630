"""Argo CD's view of an environment: the root Application, and what its Applications would apply."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.clusters.kube import api_client, asking
from drydock.errors import RenderError, ToolError
from drydock.project import UMBRELLA, Project
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import Environment
from drydock.suite.manifests import Manifest, parse_manifests
from drydock.suite.render import KUBERNETES_VERSION, helm_reason, render_chart
from drydock.tools import process

CHART = "app-of-apps"
WAVE = "argocd.argoproj.io/sync-wave"

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Repository:
    """A Git repository that holds the suite.

    Attributes:
        url: as Argo CD knows it.
        revision: branch, tag or commit.
        path: folder in it that holds charts/ and values/, empty for its root.
    """

    url: str
    revision: str
    path: str = ""

    def parameters(self, environment: str) -> dict[str, str]:
        """The values of the chart app-of-apps that no environment's file can know."""
        return {
            "argoCd.environment": environment,
            "argoCd.repository.url": self.url,
            "argoCd.repository.revision": self.revision,
            "argoCd.repository.path": self.path,
        }


def root_application(
    environment: Environment, repository: Repository, *, namespace: str = "argocd", project: str = "default"
) -> dict[str, Any]:
    """The one Application to apply by hand; it brings all others.

    Args:
        environment: its file is the values file of the chart app-of-apps.
        repository: where Argo CD finds the suite.
        namespace: in which Argo CD runs.
        project: AppProject of the root itself; it must allow AppProjects and Applications in `namespace`.
    """
    parameters = {**repository.parameters(environment.name), "argoCd.namespace": namespace}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Application",
        "metadata": {
            "name": environment.name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": UMBRELLA},
            "finalizers": ["resources-finalizer.argocd.argoproj.io"],
        },
        "spec": {
            "project": project,
            "source": {
                "repoURL": repository.url,
                "targetRevision": repository.revision,
                "path": _in_repository(repository, f"charts/{CHART}"),
                "helm": {
                    "valueFiles": [f"../../values/environments/{environment.file.name}"],
                    "parameters": [
                        {"name": name, "value": value, "forceString": True} for name, value in parameters.items()
                    ],
                },
            },
            "destination": {"server": "https://kubernetes.default.svc", "namespace": namespace},
            "syncPolicy": {
                "automated": {"enabled": True, "prune": True, "selfHeal": True},
                "syncOptions": ["ServerSideApply=true"],
            },
        },
    }


def apply_root(kubeconfig: Path | None, root: Fields) -> None:
    """Apply the root Application server-side.

    Args:
        kubeconfig: access to the cluster that Argo CD runs on; None takes $KUBECONFIG or the default one.
        root: see `root_application`.

    Raises:
        ClusterError: no cluster answers, it has no Argo CD, or it refuses.
    """
    from kubernetes import client

    name = root["metadata"]["name"]
    applications = client.CustomObjectsApi(api_client(kubeconfig))
    with asking(f"Is Argo CD installed there, with its CRDs, and the namespace of Application {name} right?"):
        applications.patch_namespaced_custom_object(
            *("argoproj.io", "v1alpha1", root["metadata"]["namespace"], "applications", name),
            dict(root),
            field_manager="drydock",
            force=True,
            _content_type="application/apply-patch+yaml",
        )


def health_customization() -> dict[str, str]:
    """Data that Argo CD's ConfigMap `argocd-cm` must hold, so that a wave waits for the Applications before it.

    Source: Argo CD's operator manual, "Resource Health", section "Argocd App": the assessment of Applications has been
    off since version 1.8.
    """
    script = (
        "local health = (obj.status or {}).health or {}\n"
        'return {status = health.status or "Progressing", message = health.message or ""}\n'
    )
    return {"resource.customizations.health.argoproj.io_Application": script}


def applications(
    helm: Path, charts: AssembledCharts, environment: Environment, repository: Repository
) -> tuple[Manifest, ...]:
    """The AppProject and the Applications that the root Application of an environment brings.

    Raises:
        RenderError: the environment's `argoCd` does not suit the chart app-of-apps.
    """
    settings = ",".join(f"{key}={value}" for key, value in repository.parameters(environment.name).items())
    values = ["--set-string", settings]
    return render_chart(helm, charts.chart(CHART), values_files=[environment.file], arguments=values)


def resolve(project: Project, helm: Path, charts: AssembledCharts, application: Manifest) -> tuple[Manifest, ...]:
    """What Argo CD would apply for an Application whose sources lie in the suite's own repository.

    Chart, values files, parameters, release and namespace are taken from the Application alone, as Argo CD's repository
    server does. Sources in other repositories give nothing here.

    Raises:
        RenderError: a chart or values file that the Application names is not there, or Helm refuses.
    """
    spec = application.content["spec"]
    found: list[Manifest] = []
    for source in sources(spec):
        if "path" in source and Path(source["path"]).parent.name == "charts":
            found.extend(_render(project, helm, charts, application, source))
    return tuple(found)


def sources(spec: Fields) -> Sequence[Fields]:
    """Sources of an Application, one or several."""
    return spec.get("sources") or [spec["source"]]


def _render(
    project: Project, helm: Path, charts: AssembledCharts, application: Manifest, source: Fields
) -> tuple[Manifest, ...]:
    spec, options = application.content["spec"], source["helm"]
    chart = charts.chart(Path(source["path"]).name)
    suite = str(Path(source["path"]).parents[1])
    command = [str(helm), "template", options["releaseName"], str(chart), "--kube-version", KUBERNETES_VERSION]
    command += ["--namespace", spec["destination"]["namespace"]]
    for file in options.get("valueFiles", ()):
        command += ["-f", str(_values_file(project, application, spec, suite, file))]
    for parameter in options.get("parameters", ()):
        flag = "--set-string" if parameter.get("forceString") else "--set"
        command += [flag, f"{parameter['name']}={parameter['value']}"]
    try:
        return parse_manifests(process.run(command, env=process.SHORT_LIVED).stdout)
    except ToolError as error:
        raise RenderError(f"{application.identity} does not render: {helm_reason(error.stderr or '')}") from error


def _values_file(project: Project, application: Manifest, spec: Fields, suite: str, file: str) -> Path:
    """`$ref/path` is a path in the repository of the source that has this `ref`."""
    reference, _, path = file.partition("/")
    known = {f"${source['ref']}" for source in sources(spec) if "ref" in source}
    found = project.root / (path if suite == "." else Path(path).relative_to(suite))
    if reference not in known or not found.is_file():
        raise RenderError(f"{application.identity}: valueFiles: {file} is not in the repository")
    return found


def waves(manifests: Sequence[Manifest]) -> Iterator[tuple[int, Manifest]]:
    """The objects with their sync waves, lowest first."""
    numbered = ((int(manifest.content["metadata"]["annotations"][WAVE]), manifest) for manifest in manifests)
    yield from sorted(numbered, key=lambda pair: (pair[0], pair[1].name))


def _in_repository(repository: Repository, path: str) -> str:
    return f"{repository.path.rstrip('/')}/{path}" if repository.path else path
