"""CRDs, served before anything is installed, so that whatever needs them can start early."""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.clusters.objects import is_true
from drydock.documents import load_yaml_all
from drydock.errors import ClusterError

_CRDS = collection("apiextensions.k8s.io/v1", "customresourcedefinitions")
ESTABLISH_SECONDS = 180


def read_crds(files: Iterable[Path]) -> list[Mapping[str, Any]]:
    """Every CRD in the files."""
    return [
        document
        for file in files
        for document in load_yaml_all(file.read_text())
        if document and document.get("kind") == "CustomResourceDefinition"
    ]


def set_defaults(api: Api, crd: str, defaults: Mapping[str, str]) -> None:
    """Give fields of a CRD that is there another default, in every version of it.

    Args:
        api: of the cluster.
        crd: its name.
        defaults: by the path of the field, such as `spec.template.spec.expireAfter`.
    """
    path = f"{_CRDS}/{crd}"
    versions = api.get(path)["spec"]["versions"]
    for version in versions:
        for field, default in defaults.items():
            schema = version["schema"]["openAPIV3Schema"]
            for name in field.split("."):
                schema = schema["properties"][name]
            schema["default"] = default
    api.merge(path, {"spec": {"versions": versions}})


def create_crds(api: Api, crds: Sequence[Mapping[str, Any]]) -> None:
    """Create CRDs side by side and wait, watching, until each is served.

    Raises:
        ClusterError: one was refused, or is not served within a minute.
    """
    waiting = {crd["metadata"]["name"] for crd in crds}
    if not waiting:
        return
    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(lambda crd: api.create(_CRDS, crd), crds))
    for kind, crd in api.watch(_CRDS, seconds=ESTABLISH_SECONDS):
        if kind != "BOOKMARK" and is_true(crd, "Established"):
            waiting.discard(crd["metadata"]["name"])
        if not waiting:
            return
    raise ClusterError(f"the API server does not serve {', '.join(sorted(waiting))} after {ESTABLISH_SECONDS} s")
