"""CRDs from pinned modules, in the cache and in charts/crds."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_all
from drydock.errors import ToolchainError
from drydock.progress import Progress
from drydock.project import Project
from drydock.tools.modules import fetch
from drydock.tools.pins import FILE, Source, Toolchain
from drydock.tools.store import filling, locked

_FORM = "compact JSON 1"
_KEY_LENGTH = 12


def ensure_crds(project: Project, progress: Progress) -> dict[str, Path]:
    """CRDs by owner: a folder each, with one file for each CRD; copied into charts/crds/charts/OWNER/crds as well.

    A file is one CRD as compact JSON, which is YAML too: a third of the bytes, read ten times faster, and always the
    same for the same pin. Nothing is left out, and nothing added but the keys of lists that the pin names.

    Raises:
        ToolchainError: a module cannot be had, or a CRD lacks a list that the pin names.
    """
    toolchain = Toolchain.load(project)
    folders = {owner: _ensure(project, toolchain, owner, source, progress) for owner, source in toolchain.crds.items()}
    for owner, folder in folders.items():
        chart = project.charts_dir / "crds" / "charts" / owner
        if chart.is_dir():
            _copy(folder, chart / "crds")
    return folders


def ensure_older_crds(project: Project, owner: str, progress: Progress) -> Path:
    """A folder with an owner's CRDs of an older version, from which an upgrade can be tried.

    Raises:
        ToolchainError: none is pinned for this owner, or the module cannot be had.
    """
    toolchain = Toolchain.load(project)
    if owner not in toolchain.older_crds:
        raise ToolchainError(
            f"no older CRDs are pinned for {owner!r}", remedy=f"There are: {', '.join(toolchain.older_crds)}."
        )
    return _ensure(project, toolchain, owner, toolchain.older_crds[owner], progress)


def crds_key(sources: Mapping[str, Source]) -> str:
    """Changes with the content of any of the CRDs."""
    pins = "\0".join(
        " ".join((owner, each.checksum, each.path, *each.only, *map(str, each.list_keys.items())))
        for owner, each in sorted(sources.items())
    )
    return hashlib.sha256(f"{_FORM}\0{pins}".encode()).hexdigest()[:_KEY_LENGTH]


def _ensure(project: Project, toolchain: Toolchain, owner: str, source: Source, progress: Progress) -> Path:
    target = project.cache_dir / "crds" / f"{owner}-{source.version}-{crds_key({owner: source})}"
    if target.is_dir():
        return target
    with progress.step(f"CRDs of {owner} {source.version}") as step:
        files = fetch(project, toolchain, source, progress)
        with filling(target, step) as folder:
            if folder:
                _convert(files, folder, source)
    return target


def _convert(folder: Path, target: Path, source: Source) -> None:
    crds = {
        document["metadata"]["name"]: document
        for file in sorted(folder.glob("*.yaml"))
        for document in load_yaml_all(file.read_text())
        if isinstance(document, dict) and document.get("kind") == "CustomResourceDefinition"
    }
    if missing := sorted({*source.only, *source.list_keys} - crds.keys()) or ([] if crds else ["no CRD at all"]):
        raise ToolchainError(f"{folder} lacks {', '.join(missing)}", remedy=f"Correct it in {FILE}.")
    for name, lists in source.list_keys.items():
        for path, key in lists.items():
            _set_key(crds[name], path, key)
    for name in source.only or crds:
        text = json.dumps(crds[name], separators=(",", ":"), ensure_ascii=False)
        (target / f"{name}.yaml").write_text(f"{text}\n")


def _set_key(crd: Mapping[str, Any], path: str, key: str) -> None:
    """Have each version of a CRD own the items of a list one by one."""
    for version in crd["spec"]["versions"]:
        schema = version["schema"]["openAPIV3Schema"]
        for step in path.split("."):
            schema = schema.get("properties", {}).get(step, {})
        if key not in schema.get("items", {}).get("required", ()):
            raise ToolchainError(
                f"CRD {crd['metadata']['name']}: {path} is no list whose items must have {key}",
                remedy=f"Correct listKeys in {FILE}.",
            )
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


def _copy(source: Path, target: Path) -> None:
    """Make a folder hold the files of another and nothing else; a file with the same time and size is the same."""
    wanted = _stamps(source)
    if _stamps(target) == wanted:
        return
    with locked(source.parent):
        target.mkdir(exist_ok=True)
        for name in _stamps(target).keys() - wanted.keys():
            (target / name).unlink()
        for name in wanted:
            partial = target / f".{name}.{os.getpid()}"
            shutil.copy2(source / name, partial)
            partial.replace(target / name)


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    if not folder.is_dir():
        return {}
    with os.scandir(folder) as entries:
        return {entry.name: (entry.stat().st_size, entry.stat().st_mtime_ns) for entry in entries}
