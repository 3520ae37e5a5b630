"""What a repository holds that Helm, Kustomize or kubectl installs: charts, values files, folders, manifests."""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from drydock.documents import load_yaml_all
from drydock.project import OWN_FOLDER
from drydock.suite.manifests import CRD

STAGES = ("prod", "production", "staging", "stage", "preprod", "uat", "qa", "test", "dev", "development", "sandbox")
"""What repositories call their variants, the one to rehearse first."""
_SKIPPED = frozenset(("node_modules", "vendor", "venv", "__pycache__", OWN_FOLDER))
_KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_SETTINGS = (
    *("kustomize.config.k8s.io/", "eksctl.io/", "kind.x-k8s.io/", "skaffold/", "kubeadm.k8s.io/", "audit.k8s.io/"),
    *("kubelet.config.k8s.io/", "apiserver.config.k8s.io/", "kubescheduler.config.k8s.io/", "ctlptl.dev/"),
)
"""API groups of files that configure programs, whose objects no API server takes."""
_ELSEWHERE = {
    "helmfile.yaml": "helmfile renders it: list its releases under `install`",
    "helmfile.yaml.gotmpl": "helmfile renders it: list its releases under `install`",
    "skaffold.yaml": "Skaffold reads it; its charts and manifests are listed where they lie here",
}
_FLUX = ".toolkit.fluxcd.io/"
_WORDS = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class FoundChart:
    """A chart's folder.

    Attributes:
        folder: relative to the repository.
        name, version: of its Chart.yaml.
        values: files that are values of it by their place or name, beside its own values.yaml.
        absent: dependencies that are not in its folder.
    """

    folder: Path
    name: str
    version: str
    values: tuple[Path, ...] = ()
    absent: tuple[str, ...] = ()


@dataclass(frozen=True)
class FoundManifests:
    """A file or folder that holds nothing but Kubernetes objects.

    Attributes:
        path: relative to the repository.
        kinds: of its objects.
    """

    path: Path
    kinds: frozenset[str]

    @property
    def definitions(self) -> bool:
        """Whether it holds CustomResourceDefinitions alone."""
        return self.kinds == {CRD}


@dataclass(frozen=True)
class FoundApplication:
    """An Application of Argo CD, as its file has it."""

    file: Path
    content: Mapping[str, Any]


@dataclass(frozen=True)
class Found:
    """What a repository holds; every path is relative to it.

    Attributes:
        root: the repository.
        charts: that are no part of another.
        kustomizations: folders that no other builds on.
        manifests: CRDs first.
        applications: of Argo CD.
        left: files that were left out, with the reason.
        node_pools: whether any file has a NodePool of Karpenter.
    """

    root: Path
    charts: tuple[FoundChart, ...] = ()
    kustomizations: tuple[Path, ...] = ()
    manifests: tuple[FoundManifests, ...] = ()
    applications: tuple[FoundApplication, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    node_pools: bool = False

    def __bool__(self) -> bool:
        return bool(self.charts or self.kustomizations or self.manifests or self.applications)

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """Variants that occur in names of values files and folders, in the order of `STAGES`."""
        paths = [
            *(file for chart in self.charts for file in chart.values),
            *self.kustomizations,
            *(item.path for item in self.manifests),
        ]
        named = {stage_of(path) for path in paths}
        return tuple(stage for stage in STAGES if stage in named)


def stage_of(path: Path) -> str:
    """The variant that a path is for by its last name that says so, as `values-prod.yaml` or `overlays/prod`."""
    for part in reversed(path.parts):
        words = _WORDS.split(part.lower())
        for stage in STAGES:
            if stage in words:
                return stage
    return ""


def scan(root: Path) -> Found:
    """Look through a repository; nothing is rendered or changed."""
    return _Scan(root.resolve()).found()


class _Scan:
    def __init__(self, root: Path) -> None:
        self._root = root
        self._files = list(_yaml_files(root))
        self._left: dict[str, str] = {}
        self._pools = False

    def found(self) -> Found:
        charts = self._chart_folders()
        built = sorted({file.parent for file in self._files if file.name in _KUSTOMIZATIONS})
        built = [folder for folder in built if not _inside(folder, charts)]
        manifests: dict[Path, frozenset[str]] = {}
        others: set[Path] = set()
        applications: list[FoundApplication] = []
        for file in self._files:
            if _inside(file, charts) or _inside(file, built):
                self._pools = self._pools or "kind: NodePool" in _text(file)
                others.add(file)
                continue
            objects = self._objects(file)
            argo = [item for item in objects or () if _is_application(item)]
            applications += [FoundApplication(self._short(file), item) for item in argo]
            if objects and not argo:
                manifests[file] = frozenset(str(item["kind"]) for item in objects)
                self._pools = self._pools or "NodePool" in manifests[file]
            else:
                others.add(file)
        defaults = {folder / "values.yaml" for folder in charts}
        values = [file for file in others - defaults if _is_values(self._short(file))]
        return Found(
            self._root,
            tuple(self._chart(folder, charts, values) for folder in charts if self._installable(folder)),
            tuple(self._short(folder) for folder in self._kustomize_roots(built)),
            self._grouped(manifests, others),
            tuple(applications),
            self._left,
            self._pools,
        )

    def _short(self, path: Path) -> Path:
        return path.relative_to(self._root)

    def _chart_folders(self) -> list[Path]:
        folders = sorted(file.parent for file in self._files if file.name == "Chart.yaml")
        return [item for item in folders if not any(other in item.parents for other in folders)]

    def _installable(self, folder: Path) -> bool:
        return (_documents(folder / "Chart.yaml") or [{}])[0].get("type") != "library"

    def _chart(self, folder: Path, charts: Sequence[Path], values: Sequence[Path]) -> FoundChart:
        content = (_documents(folder / "Chart.yaml") or [{}])[0]
        name = str(content.get("name") or folder.name)
        inside = [file for file in values if folder in file.parents]
        own = [file for file in inside if not {"charts", "templates", "crds"} & {*file.relative_to(folder).parts[:-1]}]
        apart = [file for file in values if not _inside(file, charts)]
        own += apart if len(charts) == 1 else [file for file in apart if name in _words(self._short(file))]
        there = {file.name for file in (folder / "charts").glob("*")} if (folder / "charts").is_dir() else set()
        absent = [
            str(item.get("name"))
            for item in content.get("dependencies") or ()
            if not any(file == item.get("name") or file.startswith(f"{item.get('name')}-") for file in there)
        ]
        paths = sorted({self._short(file) for file in own})
        return FoundChart(self._short(folder), name, str(content.get("version") or ""), tuple(paths), tuple(absent))

    def _kustomize_roots(self, built: Sequence[Path]) -> Iterator[Path]:
        content = {folder: self._kustomization(folder) for folder in built}
        used = {
            (folder / str(entry)).resolve()
            for folder, item in content.items()
            for key in ("resources", "bases", "components")
            for entry in item.get(key) or ()
        }
        for folder in built:
            if folder in used or content[folder].get("kind") == "Component":
                continue
            if content[folder].get("helmCharts"):
                reason = "Kustomize would fetch charts (helmCharts): list them under `install` as `chart`"
                self._left[str(self._short(folder))] = reason
                continue
            yield folder

    def _kustomization(self, folder: Path) -> Mapping[str, Any]:
        file = next(folder / name for name in _KUSTOMIZATIONS if (folder / name).is_file())
        return (_documents(file) or [{}])[0]

    def _objects(self, file: Path) -> Sequence[Mapping[str, Any]] | None:
        """Objects of a file that kubectl takes as it is; None for any other."""
        documents = _documents(file)
        reason = _ELSEWHERE.get(file.name, "") or _why_left(documents, file)
        if reason:
            self._left[str(self._short(file))] = reason
        return documents if not reason and documents and _are_objects(documents) else None

    def _grouped(self, manifests: Mapping[Path, frozenset[str]], others: set[Path]) -> tuple[FoundManifests, ...]:
        """Files by the highest folder that holds nothing else and is for one variant."""
        staged = [folder for file in manifests for folder in file.parents if stage_of(Path(folder.name))]
        barred = {folder for path in (*others, *staged) for folder in path.parents}
        groups: dict[Path, set[str]] = {}
        for file, kinds in manifests.items():
            place = file
            for folder in file.parents:
                if folder == self._root or folder in barred:
                    break
                place = folder
                if stage_of(Path(folder.name)):
                    break
            groups.setdefault(place, set()).update(kinds)
        found = [FoundManifests(self._short(path), frozenset(kinds)) for path, kinds in groups.items()]
        return tuple(sorted(found, key=lambda item: (not item.definitions, item.path)))


def _yaml_files(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(item for item in folders if item not in _SKIPPED and not item.startswith("."))
        for name in sorted(files):
            if name.endswith((".yaml", ".yml", ".yaml.gotmpl")) or name == "Kustomization":
                yield Path(folder) / name


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError):
        return ""


def _documents(file: Path) -> list[Mapping[str, Any]] | None:
    """Documents that are not empty; None when one is not a mapping, or the file is not YAML."""
    try:
        documents = [item for item in load_yaml_all(_text(file)) if item is not None]
    except (yaml.YAMLError, ValueError):
        return None
    return documents if all(isinstance(item, dict) for item in documents) else None


def _inside(path: Path, folders: Sequence[Path]) -> bool:
    return any(folder == path or folder in path.parents for folder in folders)


def _are_objects(documents: Sequence[Mapping[str, Any]]) -> bool:
    """Whether an API server takes them, by their first fields."""
    settings = any(str(item.get("apiVersion")).startswith(_SETTINGS) for item in documents)
    return not settings and all(
        item.get("apiVersion") and item.get("kind") not in (None, "Config") for item in documents
    )


def _why_left(documents: Sequence[Mapping[str, Any]] | None, file: Path) -> str:
    """Why a file of objects is left out; empty for one that is not, and for one of anything else."""
    if documents is None:
        return "not YAML as it stands: a template of another program" if "kind:" in _text(file) else ""
    if not _are_objects(documents):
        return ""
    if any(_FLUX in str(item["apiVersion"]) for item in documents):
        return "of Flux: list its charts under `install`"
    if any(item["kind"] == "ApplicationSet" for item in documents):
        return "an ApplicationSet makes its Applications in the cluster: list what they install"
    if not all((item.get("metadata") or {}).get("name") or str(item["kind"]).endswith("List") for item in documents):
        return "an object with generateName is for `kubectl create`, and is not applied"
    return ""


def _is_application(content: Mapping[str, Any]) -> bool:
    return content.get("kind") == "Application" and str(content.get("apiVersion")).startswith("argoproj.io/")


def _is_values(file: Path) -> bool:
    return "values" in _words(Path(file.name)) or file.parent.name == "values"


def _words(path: Path) -> set[str]:
    return {word for part in path.parts for word in (part, *_WORDS.split(part.lower()), part.partition(".")[0])}
