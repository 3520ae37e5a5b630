"""What an environment installs beside the suite: charts and manifests of any make."""

import re
import shlex
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drydock.documents import load_yaml
from drydock.errors import DrydockError, ToolError, UsageError
from drydock.project import Project
from drydock.suite.manifests import (
    CLUSTER_SCOPED,
    CRD,
    Manifest,
    in_namespace,
    kinds_of_the_cluster,
    objects_of,
)
from drydock.tools import process
from drydock.tools.identity import content_key

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?")
"""What Helm takes as the name of a release."""
_APPLIED = ("manifests", "kustomize", "crds")
_SUFFIXES = (".yaml", ".yml", ".json")
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_DIGEST = re.compile("@sha256:[0-9a-f]{64}$")
_LOOPBACK = re.compile(r"oci://(?:localhost|127\.[\d.]+)[:/]")
"""Registries of this machine have no certificates."""
_FETCH_SECONDS = 300


@dataclass(frozen=True)
class HelmRelease:
    """A Helm release of a chart that is not the suite's.

    Attributes:
        name: of the release.
        chart: folder or package on this machine.
        reference: the chart as the user named it.
        namespace: of the release.
        values_files: in the order of `-f`.
        set_values: `KEY=VALUE` as Helm's `--set` takes them.
        wait: whether what follows is installed only once Helm has seen this release ready.
    """

    name: str
    chart: Path
    reference: str
    namespace: str
    values_files: tuple[Path, ...] = ()
    set_values: tuple[str, ...] = ()
    wait: bool = False

    def helm_arguments(self) -> list[str]:
        """Values as arguments of `helm install` and `template`."""
        files = [argument for file in self.values_files for argument in ("-f", str(file))]
        return files + [argument for pair in self.set_values for argument in ("--set", pair)]

    def file_of(self, template: str) -> str:
        """A template's file as people open it, from the path that Helm prints."""
        return f"{self.reference}/{template.partition('/')[2]}"


@dataclass(frozen=True)
class AppliedManifests:
    """Objects that are applied together, as `kubectl apply --server-side` does.

    Attributes:
        reference: file or folder, as the user named it.
        manifests: the objects, each with its namespace.
        command: the call of kubectl that applies the same.
        wait: whether what follows is installed only once their workloads are ready.
        kept: whether they stay when everything else is removed, as CRDs do that were named as such.
    """

    reference: str
    manifests: tuple[Manifest, ...]
    command: str
    wait: bool = False
    kept: bool = False


@dataclass(frozen=True)
class Brought:
    """Charts and manifests beside the suite, in the order of their installation."""

    steps: tuple[HelmRelease | AppliedManifests, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    @property
    def releases(self) -> tuple[HelmRelease, ...]:
        """The Helm releases, in the order of their installation."""
        return tuple(each for each in self.steps if isinstance(each, HelmRelease))

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """The objects that are applied without Helm."""
        applied = (each for each in self.steps if isinstance(each, AppliedManifests))
        return tuple(manifest for each in applied for manifest in each.manifests)


@dataclass(frozen=True)
class Source:
    """Where something that an environment brings lies, as a file or a command line names it.

    Attributes:
        where: file and key, or option, for errors.
        base: folder that paths are relative to.
        content: keys of an entry of `install` in an environment's file.
    """

    where: str
    base: Path
    content: Mapping[str, Any] = field(default_factory=dict)

    def path(self, key: str) -> Path:
        """The path at a key.

        Raises:
            UsageError: nothing is there.
        """
        path = (self.base / Path(str(self.content[key])).expanduser()).resolve()
        if not path.exists():
            raise UsageError(
                f"{self.where}: no such file or folder: {path}", remedy=f"Paths are relative to {self.base}."
            )
        return path


def read_all(project: Project, sources: Iterable[Source]) -> Brought:
    """Read releases and manifests, in the order of their installation.

    Args:
        project: keeps Helm, Kustomize and charts that are fetched.
        sources: each with `chart`, `manifests`, `kustomize` or `crds` among its keys.

    Raises:
        UsageError: something is not there or wrong, or two releases have one name.
        DrydockError: a chart cannot be fetched, or Kustomize refused.
    """
    brought = Brought(
        tuple(
            read_release(project, each) if "chart" in each.content else read_manifests(project, each)
            for each in sources
        )
    )
    _check_names(brought.releases)
    return brought


def read_release(project: Project, source: Source) -> HelmRelease:
    """A release of a chart in a folder or package, or of one that is fetched once and kept.

    Raises:
        UsageError: the chart, its values files or its name are wrong.
        DrydockError: a chart cannot be fetched.
    """
    content, reference = source.content, str(source.content["chart"])
    remote = reference.startswith("oci://") or "repository" in content
    chart = _fetched(project, source) if remote else source.path("chart")
    name = str(content.get("name") or _chart_name(chart, source))
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"{source.where}: {name} is no name of a release", remedy="Use lower-case letters, digits and -."
        )
    values = []
    for file in content.get("values", ()):
        values.append(Source(f"{source.where}: values", source.base, {"file": file}).path("file"))
    return HelmRelease(
        name,
        chart,
        reference.rstrip("/"),
        str(content.get("namespace", "default")),
        tuple(values),
        tuple(content.get("set", ())),
        bool(content.get("wait", False)),
    )


def read_manifests(project: Project, source: Source) -> AppliedManifests:
    """The objects of a file, of a folder and the folders in it, or of a Kustomize folder.

    Args:
        project: keeps Kustomize.
        source: an entry with `manifests`, `kustomize` or `crds`, which takes only the definitions of custom resources
            from its files, and with `namespace` for objects that name none.

    Raises:
        UsageError: nothing is there, a file is not YAML, or a document is not an object.
        ToolError: Kustomize refused.
    """
    key = next(key for key in _APPLIED if key in source.content)
    reference, path = str(source.content[key]), source.path(key)
    if key == "kustomize":
        documents = [(reference, _kustomized(project, source, path))]
    else:
        files = [path] if path.is_file() else list(_files(path, source))
        documents = [(_shown(file, source), _text(file, source)) for file in files]
        if not documents:
            raise UsageError(
                f"{source.where}: {path} holds no {', '.join(_SUFFIXES)}", remedy="Name the files' folder."
            )
    read = [each for shown, text in documents for each in _manifests(shown, text, source)]
    if key == "crds":
        read = [each for each in read if each.kind == CRD]
        if not read:
            raise UsageError(f"{source.where}: {path} holds no {CRD}", remedy="Other objects stand under `manifests`.")
    namespace = str(source.content.get("namespace", "default"))
    cluster_scoped = CLUSTER_SCOPED | kinds_of_the_cluster(read)
    return AppliedManifests(
        reference,
        tuple(in_namespace(each, namespace, cluster_scoped) for each in read),
        _apply_command(source, key),
        bool(source.content.get("wait", False)),
        kept=key == "crds",
    )


def _check_names(releases: Sequence[HelmRelease]) -> None:
    """See that no two releases have one name in one namespace.

    Raises:
        UsageError: two have.
    """
    seen: set[tuple[str, str]] = set()
    for each in releases:
        if (each.namespace, each.name) in seen:
            raise UsageError(
                f"two releases are called {each.name} in namespace {each.namespace}", remedy="Give one another `name`."
            )
        seen.add((each.namespace, each.name))


def _apply_command(source: Source, key: str) -> str:
    where = ["--namespace", str(source.content["namespace"])] if "namespace" in source.content else []
    how = ["-k"] if key == "kustomize" else ["--recursive", "-f"]
    command = shlex.join(["kubectl", "apply", "--server-side", *how, str(source.content[key]), *where])
    return f"{command}  # of its objects the {CRD}s alone" if key == "crds" else command


def _chart_name(chart: Path, source: Source) -> str:
    try:
        return str(load_yaml(_metadata(chart))["name"])
    except (OSError, tarfile.TarError, EOFError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise UsageError(
            f"{source.where}: {chart} is no Helm chart: its Chart.yaml is missing or names no chart",
            remedy="Name the folder that holds Chart.yaml, or the .tgz; manifests are brought by --manifests or "
            "--kustomize.",
        ) from error


def _metadata(chart: Path) -> str:
    """Chart.yaml of a chart's folder or package.

    Raises:
        KeyError: the package has none.
    """
    if chart.is_dir():
        return (chart / "Chart.yaml").read_text()
    with tarfile.open(chart) as package:
        for member in package:
            if member.isfile() and re.fullmatch(r"(?:\./)?[^/]+/Chart\.yaml", member.name):
                content = package.extractfile(member)
                return content.read().decode() if content else ""
    raise KeyError("Chart.yaml")


def _fetched(project: Project, source: Source) -> Path:
    """The package of a chart in a registry or repository; a version that was fetched once is not asked for again."""
    from drydock.progress import PlainProgress
    from drydock.tools.build import ensure

    content, reference = source.content, str(source.content["chart"])
    version, repository = str(content.get("version") or ""), str(content.get("repository") or "")
    if not version and not _DIGEST.search(reference):
        raise UsageError(
            f"{source.where}: {reference} has no version",
            remedy="Name one, or the digest (oci://REFERENCE@sha256:...), so that each run has the same.",
        )
    folder = project.cache_dir / "fetched-charts" / content_key([reference, repository, version])
    found = sorted(folder.glob("*.tgz"))
    if not found:
        progress = PlainProgress()
        helm = ensure(project, ["helm4"], progress)["helm4"]
        folder.mkdir(parents=True, exist_ok=True)
        more = [*(["--version", version] if version else []), *(["--repo", repository] if repository else [])]
        if _LOOPBACK.match(reference):
            more.append("--plain-http")
        command = [str(helm), "pull", reference, "--destination", str(folder), *more]
        try:
            with progress.step(f"Fetch {reference} {version}".rstrip()):
                process.run(command, timeout=_FETCH_SECONDS)
        except ToolError as error:
            reason = error.stderr.strip().removeprefix("Error: ") or error.message
            raise DrydockError(
                f"{source.where}: {' '.join(filter(None, (reference, version)))} cannot be fetched: {reason}",
                remedy="Check reference and version; `helm registry login` and `helm repo` keep credentials.",
            ) from error
        found = sorted(folder.glob("*.tgz"))
    return found[0]


def _kustomized(project: Project, source: Source, folder: Path) -> str:
    from drydock.progress import PlainProgress
    from drydock.tools.build import ensure

    if not any((folder / name).is_file() for name in _KUSTOMIZATIONS):
        raise UsageError(
            f"{source.where}: {folder} has no kustomization.yaml", remedy="Plain manifests need no Kustomize."
        )
    kustomize = ensure(project, ["kustomize"], PlainProgress())["kustomize"]
    try:
        return process.run([kustomize, "build", folder]).stdout
    except ToolError as error:
        reason = error.stderr.strip().removeprefix("Error: ") or error.message
        raise DrydockError(f"{source.where}: Kustomize refuses {folder}: {reason}") from error


def _files(folder: Path, source: Source) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        inside = file.relative_to(folder).parts
        if file.suffix in _SUFFIXES and file.is_file() and not any(part.startswith(".") for part in inside):
            if file.name in _KUSTOMIZATIONS:
                raise UsageError(
                    f"{source.where}: {file} is for Kustomize",
                    remedy="Pass the folder by `kustomize` (--kustomize) instead.",
                )
            yield file


def _shown(file: Path, source: Source) -> str:
    """A file's path as its user calls it: from the folder that paths are relative to, where it lies inside."""
    return str(file.relative_to(source.base)) if file.is_relative_to(source.base) else str(file)


def _text(file: Path, source: Source) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{source.where}: {file} cannot be read: {error}") from error


def _manifests(shown: str, text: str, source: Source) -> Iterator[Manifest]:
    for number, document in enumerate(re.split(r"^---(?:[ \t].*)?$\n?", text, flags=re.MULTILINE), start=1):
        try:
            content = load_yaml(document)
        except yaml.YAMLError as error:
            raise UsageError(f"{source.where}: {shown}: document {number} is not YAML: {error}") from error
        if content is None:
            continue
        if not isinstance(content, dict) or not content.get("apiVersion") or not content.get("kind"):
            raise UsageError(
                f"{source.where}: {shown}: document {number} is no Kubernetes object: apiVersion or kind is missing",
                remedy="Keep values files and other YAML out of the folder, or name the files of manifests.",
            )
        for own, own_text in objects_of(content, document.strip("\n") + "\n"):
            if not (own.get("metadata") or {}).get("name"):
                raise UsageError(
                    f"{source.where}: {shown}: {own.get('kind')} of document {number} has no metadata.name",
                    remedy="What is applied needs a name; generateName is for `kubectl create` alone.",
                )
            yield Manifest(shown, own, own_text, source=shown, file=shown)
