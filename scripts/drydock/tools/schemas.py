"""JSON schemas for kubeconform, made from the pinned Kubernetes and from every CRD that the suite uses."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path
from typing import Any

import drydock
from drydock.documents import load_yaml_file
from drydock.progress import Progress
from drydock.project import Project
from drydock.tools import strict_schemas
from drydock.tools.crd_files import crds_key, ensure_crds
from drydock.tools.modules import fetch
from drydock.tools.pins import Toolchain
from drydock.tools.store import filling
from drydock.tools.strict_schemas import ANY_METADATA, KindSchema, builtin_schemas, crd_schemas

_KEY_LENGTH = 12


def ensure_schemas(project: Project, progress: Progress) -> Path:
    """A folder with a strict schema for every kind that a manifest of the suite may have.

    Files are named for kubeconform's `-schema-location FOLDER/{{.ResourceKind}}{{.KindSuffix}}.json`.

    Raises:
        ToolchainError: a module cannot be had.
    """
    toolchain = Toolchain.load(project)
    own = sorted((Path(drydock.__file__).parent / "data" / "crds").glob("*.yaml"))
    target = project.cache_dir / "schemas" / _key(toolchain, own)
    if target.is_dir():
        return target
    crds = ensure_crds(project, progress)
    with progress.step(f"Schemas of Kubernetes {toolchain.kubernetes_version} and of the CRDs") as step:
        openapi = fetch(project, toolchain, toolchain.data["kubernetes-openapi"], progress)
        with filling(target, step) as folder:
            if folder:
                documents = [json.loads(file.read_text()) for crd in crds.values() for file in sorted(crd.iterdir())]
                documents += [load_yaml_file(file) for file in own]
                _write_all(folder, json.loads(openapi.read_text()), documents)
    return target


def _key(toolchain: Toolchain, own: Iterable[Path]) -> str:
    digest = hashlib.sha256(toolchain.data["kubernetes-openapi"].checksum.encode())
    digest.update(crds_key(toolchain.crds).encode())
    for file in (Path(strict_schemas.__file__), Path(__file__), *own):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:_KEY_LENGTH]


def write_crd_schemas(folder: Path, crds: Iterable[Mapping[str, Any]]) -> None:
    """Write schemas for the kinds of CRDs alone, as `ensure_schemas` names them; their metadata is not looked into.

    A CRD without schemas is left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for crd in crds:
        with suppress(KeyError, TypeError, AttributeError):
            _write(folder, crd_schemas(crd, ANY_METADATA))


def _write_all(folder: Path, openapi: dict[str, Any], crds: Iterable[Any]) -> None:
    _write(folder, chain(builtin_schemas(openapi), *(crd_schemas(crd, openapi) for crd in crds)))


def _write(folder: Path, kinds: Iterable[KindSchema]) -> None:
    for kind in kinds:
        first = f"{kind.group.split('.')[0]}-" if kind.group else ""
        file = folder / f"{kind.kind}-{first}{kind.version}.json".lower()
        file.write_text(json.dumps(kind.schema, separators=(",", ":")))
