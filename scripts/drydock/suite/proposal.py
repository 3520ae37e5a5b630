"""An environment's file proposed from what a repository holds, with comments on what was chosen and what was not."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drydock.project import OWN_FOLDER
from drydock.suite.manifests import CLUSTER_SCOPED
from drydock.suite.repository_scan import Found, FoundApplication, FoundChart, FoundManifests, stage_of

ENVIRONMENTS = Path(OWN_FOLDER) / "environments"
_FIRST = -(10**6)
"""The wave of CRDs, before any that an Application names."""
_VALUES = Path(OWN_FOLDER) / "values"
_WAVE = "argocd.argoproj.io/sync-wave"
_EXACT = re.compile(r"v?\d+\.\d+\.\d+(?:[-+][\w.+-]+)?")
_NOT_A_NAME = re.compile(r"[^a-z0-9-]+")
_NAMED = 4
_PAGE = "docs/bring-your-own.md"


@dataclass(frozen=True)
class Proposal:
    """What `drydock init` would write.

    Attributes:
        name: of the environment.
        files: texts by their paths in the repository, the environment's own file first.
        notes: on what was left out or needs a decision, each one sentence.
    """

    name: str
    files: Mapping[Path, str]
    notes: tuple[str, ...]

    @property
    def file(self) -> Path:
        """The environment's file."""
        return next(iter(self.files))


@dataclass(frozen=True)
class _Entry:
    """One entry of `install`, with comments above it; those of a lower wave come first."""

    content: Mapping[str, Any]
    comments: tuple[str, ...] = ()
    wave: int = 0
    rank: int = 0


@dataclass
class _Draft:
    """What was decided so far."""

    entries: list[_Entry] = field(default_factory=list)
    files: dict[Path, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    taken: set[Path] = field(default_factory=set)


def propose(found: Found, name: str = "") -> Proposal:
    """An environment of what was found.

    Args:
        found: of the repository; something was.
        name: of the environment, which also selects values files and folders of that name; when empty, the first of
            `STAGES` that occurs, else the repository's own name.
    """
    name = name or next(iter(found.stages), "") or _name_of(found.root)
    stage = stage_of(Path(name))
    draft = _Draft()
    for application in found.applications:
        _add_application(draft, found, application, stage)
    for manifests in found.manifests:
        _add_manifests(draft, manifests, stage)
    for folder in found.kustomizations:
        _add_kustomization(draft, folder, stage)
    for chart in found.charts:
        _add_chart(draft, chart, stage)
    entries = sorted(draft.entries, key=lambda item: (item.wave, item.rank))
    last = max((item.wave for item in entries), default=0)
    others = [item for item in found.stages if item != stage]
    if others:
        more = ", ".join(f"`drydock init {item}`" for item in others)
        draft.notes.append(f"Files for {', '.join(others)} are left out: {more}.")
    draft.notes += [f"{path}: {reason}." for path, reason in sorted(found.left.items())]
    text = "\n".join(_lines(name, found, entries, last, draft.notes)) + "\n"
    return Proposal(name, {ENVIRONMENTS / f"{name}.yaml": text, **draft.files}, tuple(draft.notes))


def _name_of(root: Path) -> str:
    return _NOT_A_NAME.sub("-", root.name.lower()).strip("-") or "default"


def _is_for(path: Path, stage: str) -> bool:
    return stage_of(path) in ("", stage)


def _add_manifests(draft: _Draft, manifests: FoundManifests, stage: str) -> None:
    if manifests.path in draft.taken or not _is_for(manifests.path, stage):
        return
    if manifests.definitions:
        draft.entries.append(_Entry({"crds": str(manifests.path)}, wave=_FIRST))
        return
    kinds = sorted(manifests.kinds)
    shown = ", ".join(kinds[:_NAMED]) + (f" and {len(kinds) - _NAMED} more kinds" if len(kinds) > _NAMED else "")
    comments = [shown]
    if manifests.kinds - CLUSTER_SCOPED:
        comments.append("`namespace: NAME` for objects that name none; `default` without it")
    draft.entries.append(_Entry({"manifests": str(manifests.path)}, tuple(comments), rank=1))


def _add_kustomization(draft: _Draft, folder: Path, stage: str) -> None:
    if folder not in draft.taken and _is_for(folder, stage):
        draft.entries.append(_Entry({"kustomize": str(folder)}, rank=2))


def _add_chart(draft: _Draft, chart: FoundChart, stage: str) -> None:
    if chart.folder in draft.taken or not _is_for(chart.folder, stage):
        return
    chosen = [file for file in chart.values if stage and stage_of(file) == stage]
    rest = [file for file in chart.values if file not in chosen and not stage_of(file)]
    content: dict[str, Any] = {"chart": str(chart.folder), "namespace": "default"}
    if chosen:
        content["values"] = [str(file) for file in chosen]
    comments = [f"{chart.name} {chart.version}".strip()]
    if rest:
        comments.append(f"other values files: {', '.join(map(str, rest))}")
    if chart.absent:
        comments.append(f"run `helm dependency update {chart.folder}`: {', '.join(chart.absent)} not in its charts/")
    draft.entries.append(_Entry(content, tuple(comments), rank=3))


def _add_application(draft: _Draft, found: Found, application: FoundApplication, stage: str) -> None:
    content = application.content
    if not _is_for(application.file, stage):
        return
    name = str((content.get("metadata") or {}).get("name") or application.file.stem)
    spec = content.get("spec") or {}
    sources = spec.get("sources") or ([spec["source"]] if spec.get("source") else [])
    namespace = str((spec.get("destination") or {}).get("namespace") or "default")
    annotations = (content.get("metadata") or {}).get("annotations") or {}
    wave = int(annotations.get(_WAVE, 0)) if re.fullmatch(r"-?\d+", str(annotations.get(_WAVE, 0))) else 0
    for source in sources:
        comments = [f"Application {name} ({application.file})"]
        if source.get("chart"):
            entry: dict[str, Any] = {"chart": str(source["chart"])}
            repository = str(source.get("repoURL") or "")
            if "://" in repository and not repository.startswith("oci://"):
                entry["repository"] = repository
            else:
                entry["chart"] = f"oci://{repository.removeprefix('oci://').rstrip('/')}/{source['chart']}"
            entry["version"] = str(source.get("targetRevision") or "")
            if not _EXACT.fullmatch(entry["version"]):
                comments.append("version: write an exact one, so that each run has the same")
            draft.entries.append(
                _Entry(
                    {**entry, **_of_helm(draft, found, source, name, namespace, Path())}, tuple(comments), wave, rank=3
                )
            )
            continue
        if source.get("ref") and not source.get("path"):
            continue  # the repository of values files
        path = Path(str(source.get("path") or ""))
        if not source.get("path") or not (found.root / path).is_dir():
            draft.notes.append(
                f"{application.file}: Application {name} installs {path} of {source.get('repoURL')}, which is not here."
            )
            continue
        draft.taken.add(path)
        if (found.root / path / "Chart.yaml").is_file():
            local = {"chart": str(path), **_of_helm(draft, found, source, name, namespace, path)}
            draft.entries.append(_Entry(local, tuple(comments), wave, rank=3))
        elif path in found.kustomizations or _is_kustomization(found.root / path):
            draft.entries.append(
                _Entry({"kustomize": str(path), "namespace": namespace}, tuple(comments), wave, rank=2)
            )
        else:
            draft.entries.append(
                _Entry({"manifests": str(path), "namespace": namespace}, tuple(comments), wave, rank=1)
            )


def _is_kustomization(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("kustomization.yaml", "kustomization.yml", "Kustomization"))


def _of_helm(
    draft: _Draft, found: Found, source: Mapping[str, Any], name: str, namespace: str, chart: Path
) -> dict[str, Any]:
    """Name, namespace and values of the release that an Application makes."""
    helm = source.get("helm") or {}
    values = []
    for entry in helm.get("valueFiles") or ():
        text = str(entry)
        file = Path(text.partition("/")[2]) if text.startswith("$") else chart / text
        file = Path(*_flat(file))
        if (found.root / file).is_file():
            values.append(str(file))
        else:
            draft.notes.append(f"Application {name}: the values file {text} is not here.")
    inline = helm.get("valuesObject") or helm.get("values")
    if inline:
        file = _VALUES / f"{name}.yaml"
        text = inline if isinstance(inline, str) else yaml.safe_dump(inline, sort_keys=False)
        draft.files[file] = f"# Values of Argo CD's Application {name}, copied by `drydock init`.\n{text.rstrip()}\n"
        values.append(str(file))
    parameters = [
        f"{item.get('name')}={str(item.get('value', '')).replace(',', chr(92) + ',')}"
        for item in helm.get("parameters") or ()
    ]
    release: dict[str, Any] = {"name": str(helm.get("releaseName") or name), "namespace": namespace}
    if values:
        release["values"] = values
    if parameters:
        release["set"] = parameters
    return release


def _flat(path: Path) -> Iterator[str]:
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts:
            parts.pop()
        else:
            parts.append(part)
    yield from parts


def _lines(name: str, found: Found, entries: Sequence[_Entry], last: int, notes: Sequence[str]) -> Iterator[str]:
    yield f"# Drydock's environment `{name}`, proposed by `drydock init`. Paths are relative to the repository."
    yield f"# `drydock validate {name}` checks it, `drydock rehearse {name}` tries it. Keys: {_PAGE} of Drydock."
    yield _dumped({"description": f"What {found.root.name} installs in {name}"})
    if found.node_pools:
        yield "suite: false # nothing of Drydock's own charts; the node pools are those below"
    else:
        yield "# No Karpenter NodePool is among the files here: in checks and rehearsals Drydock's take the place of"
        yield "# your nodes, and `deploy` to your cluster leaves them out. With NodePools below: `suite: false`."
        yield "suite: nodes"
    yield "# In this order; with `wait: true` what follows is installed only once the workloads of an entry are ready."
    yield "install:"
    for entry in entries:
        yield from (f"  # {comment}" for comment in entry.comments)
        content = {**entry.content, **({"wait": True} if _FIRST < entry.wave < last else {})}
        first, *rest = _dumped(content).splitlines()
        yield f"  - {first}"
        yield from (f"    {line}" for line in rest)
    if not entries:
        yield "  []"
    if notes:
        yield "# Left out, or to decide:"
        yield from (f"#   {note}" for note in notes)


def _dumped(content: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(content), sort_keys=False, width=1000, allow_unicode=True).rstrip()
