"""Values to manifests, with the real Helm."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from drydock.errors import RenderError, ToolError, UsageError
from drydock.project import UMBRELLA, Project
from drydock.suite.charts import AssembledCharts, chart_names
from drydock.suite.cluster_description import describe
from drydock.suite.environments import Environment
from drydock.suite.manifests import (
    CLUSTER_SCOPED,
    Manifest,
    in_namespace,
    kinds_of_the_cluster,
    parse_manifests,
)
from drydock.suite.sources import HelmRelease
from drydock.tools import process

HELMS = ("helm4", "helm3")
"""The Helm whose objects are checked, then the one that must give the same."""

RELEASE = "genai"
KUBERNETES_VERSION = "1.36.3"
"""What `.Capabilities` says without a cluster: the pinned control plane, however Helm was built."""

_LOG_LINE = re.compile(r"^(?:time=\S+ )?(?:level=[A-Z]+ msg=|\S+\.go:\d+: ).*$\n?", re.MULTILINE)
"""What Helm 4 and Helm 3 log beside their error, such as `cannot overwrite table with non table`."""
_CRD_SOURCE = re.compile(r"^# Source: (\S+/crds/[^/\s]+)$", re.MULTILINE)
_NOT_A_MAP = re.compile(r"(?:.* failed: )?type mismatch on (\S+): %!t\(\w+=(.*)\)$")
_HINT = "Use --debug flag to render out invalid YAML"

RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
"""Labels of the release's namespace: every pod of the suite there keeps to that pod security standard."""


@dataclass(frozen=True)
class RenderedEnvironment:
    """An environment and the objects that its values give.

    Attributes:
        environment: what was rendered.
        manifests: every object, in a stable order; CRDs are not among them.
    """

    environment: Environment
    manifests: tuple[Manifest, ...]

    def of_kind(self, *kinds: str) -> tuple[Manifest, ...]:
        """The objects of these kinds."""
        return tuple(manifest for manifest in self.manifests if manifest.kind in kinds)


def template_command(
    helm: Path, chart: Path, arguments: Sequence[str], *, namespace: str, release: str = RELEASE
) -> list[str]:
    """The `helm template` call for one chart."""
    fixed = ["--namespace", namespace, "--kube-version", KUBERNETES_VERSION]
    return [str(helm), "template", release, str(chart), *fixed, *arguments]


def kube_version(environment: Environment) -> str:
    """What `.Capabilities` says of the environment's cluster: the pinned control plane, or its own minor version."""
    minor = describe(environment).kubernetes
    return KUBERNETES_VERSION if KUBERNETES_VERSION.startswith(f"{minor}.") else f"{minor}.0"


def install_commands(project: Project, environment: Environment) -> tuple[str, ...]:
    """The plain commands that install the same objects from a checkout, to paste into a shell in its root."""
    chart = f"{project.charts_dir.relative_to(project.root) if not project.home else project.charts_dir}/{UMBRELLA}"
    arguments = [
        str(Path(argument).relative_to(project.base)) if argument.startswith(f"{project.base}/") else argument
        for argument in environment.helm_arguments()
    ]
    brought = tuple(
        _install_command(each) if isinstance(each, HelmRelease) else each.command for each in environment.brought.steps
    )
    if not environment.suite:
        return brought
    labels = [f"{name}={value}" for name, value in RESTRICTED.items()]
    install = ["helm", "upgrade", "--install", RELEASE, chart, "--namespace", environment.namespace]
    return (
        "drydock setup crds  # fills charts/crds from the pinned modules",
        f"helm dependency update {chart}",
        shlex.join(["kubectl", "create", "namespace", environment.namespace]),
        shlex.join(["kubectl", "label", "namespace", environment.namespace, *labels]),
        shlex.join([*install, *arguments]),
        *brought,
    )


def _install_command(release: HelmRelease) -> str:
    remote = release.chart.suffix == ".tgz" and not release.reference.endswith(".tgz")
    chart = str(release.chart) if remote else release.reference
    wait = ["--wait"] if release.wait else []
    where = ["--namespace", release.namespace, "--create-namespace"]
    return shlex.join(["helm", "upgrade", "--install", release.name, chart, *where, *release.helm_arguments(), *wait])


def render(helm: Path, charts: AssembledCharts, environment: Environment) -> RenderedEnvironment:
    """Render all that an environment installs: the umbrella, and the charts and manifests beside it.

    Raises:
        RenderError: Helm refused, with its reason and the files of the stack.
    """
    own = parse_manifests(_template_suite(helm, charts, environment)) if environment.suite else ()
    brought = (
        render_release(helm, each, environment) if isinstance(each, HelmRelease) else each.manifests
        for each in environment.brought.steps
    )
    return RenderedEnvironment(environment, (*own, *(manifest for step in brought for manifest in step)))


def _template_suite(helm: Path, charts: AssembledCharts, environment: Environment, *more: str) -> str:
    arguments = [*environment.helm_arguments(), "--kube-version", kube_version(environment), *more]
    command = template_command(helm, charts.umbrella, arguments, namespace=environment.namespace)
    try:
        return process.run(command, env=process.SHORT_LIVED).stdout
    except ToolError as error:
        stack = ", ".join(file.name for file in environment.values_files)
        raise RenderError(
            f"environment {environment.name} ({stack}) does not render: {helm_reason(error.stderr or error.message)}"
        ) from error


def installed_crds(helm: Path, charts: AssembledCharts, environment: Environment) -> tuple[Path, ...]:
    """Files of the CRDs that `helm install` of the suite brings, as the environment's values choose them.

    Raises:
        RenderError: Helm refused.
    """
    printed = _template_suite(helm, charts, environment, "--include-crds")
    return tuple(charts.folder / name for name in dict.fromkeys(_CRD_SOURCE.findall(printed)))


def release_command(helm: Path, release: HelmRelease, environment: Environment) -> list[str]:
    """The `helm template` call for a chart that is not the suite's: with its CRDs, without its tests."""
    arguments = [
        *release.helm_arguments(),
        "--kube-version",
        kube_version(environment),
        "--include-crds",
        "--skip-tests",
    ]
    return template_command(helm, release.chart, arguments, namespace=release.namespace, release=release.name)


def render_release(helm: Path, release: HelmRelease, environment: Environment) -> tuple[Manifest, ...]:
    """Render a chart that is not the suite's.

    Raises:
        RenderError: Helm refused.
    """
    try:
        completed = process.run(release_command(helm, release, environment), env=process.SHORT_LIVED)
    except ToolError as error:
        reason = helm_reason(error.stderr or error.message)
        raise RenderError(f"release {release.name} ({release.reference}) does not render: {reason}") from error
    return parse_release(release, completed.stdout)


def parse_release(release: HelmRelease, rendered: str) -> tuple[Manifest, ...]:
    """The objects of a chart that is not the suite's, each with the namespace that it gets."""
    manifests = parse_manifests(rendered)
    cluster_scoped = CLUSTER_SCOPED | kinds_of_the_cluster(manifests)
    return tuple(
        replace(
            in_namespace(each, release.namespace, cluster_scoped),
            source=release.name,
            file=release.file_of(each.template),
        )
        for each in manifests
    )


def render_chart(
    helm: Path,
    chart: Path,
    *,
    values_files: Sequence[Path] = (),
    arguments: Sequence[str] = (),
    namespace: str = "genai",
    release: str = RELEASE,
) -> tuple[Manifest, ...]:
    """Render one chart alone, with more arguments of `helm template` after the values files.

    Raises:
        RenderError: Helm refused.
    """
    files = [argument for file in values_files for argument in ("-f", str(file))]
    try:
        command = template_command(helm, chart, [*files, *arguments], namespace=namespace, release=release)
        completed = process.run(command, env=process.SHORT_LIVED)
    except ToolError as error:
        raise RenderError(
            f"chart {chart.name} does not render: {helm_reason(error.stderr or error.message)}"
        ) from error
    return parse_manifests(completed.stdout)


def helm_error(stderr: str) -> str:
    """Helm's error, without what it logged beside it and without its hint."""
    said = stderr.replace(_HINT, "").strip()
    error = _LOG_LINE.sub("", said).strip().removeprefix("Error: ") or said
    return _NOT_A_MAP.sub(r"\1: \2 is not a map of values", error)


def helm_reason(stderr: str) -> str:
    """Helm's error, without the call stack of a template that called `fail`."""
    return helm_error(stderr).rpartition("error calling fail: ")[2]


def chart_manifests(project: Project, manifests: Sequence[Manifest], chart: str) -> tuple[Manifest, ...]:
    """The objects that one chart renders.

    Raises:
        UsageError: there is no such chart.
    """
    known = chart_names(project)
    if chart not in known:
        raise UsageError(f"--chart {chart}: no such chart", remedy=f"Known: {', '.join(known)}.")
    return tuple(manifest for manifest in manifests if manifest.chart == chart)


def write_manifests(manifests: Sequence[Manifest], folder: Path) -> None:
    """Write one file an object, `CHART/KIND-NAME.yaml`, and remove objects of an earlier render from those folders."""
    for chart in {each.chart for each in manifests}:
        for stale in (folder / chart).glob("*.yaml"):
            stale.unlink()
    for manifest in manifests:
        name = "-".join(part for part in (manifest.kind.lower(), manifest.namespace, manifest.name) if part)
        file = folder / manifest.chart / f"{name.replace(':', '_')}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(manifest.text)
