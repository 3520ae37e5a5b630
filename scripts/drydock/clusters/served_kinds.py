"""Where an API server serves the objects of a kind."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from drydock.clusters.api import collection
from drydock.suite.manifests import CRD, Manifest

CRDS = collection("apiextensions.k8s.io/v1", "customresourcedefinitions")
Name = tuple[str, str]
"""API version and kind."""


@dataclass(frozen=True)
class Kind:
    """How the objects of a kind are addressed."""

    plural: str
    namespaced: bool

    def path(self, api_version: str, name: str, namespace: str) -> str:
        """The path of one object; the namespace is left out where the kind has none."""
        return f"{collection(api_version, self.plural, namespace if self.namespaced else '')}/{name}"


class ServedKinds:
    """The kinds that an API server serves, read once for each API version.

    Args:
        get: the content at a path, None where there is nothing.
    """

    def __init__(self, get: Callable[[str], Any]) -> None:
        self._get = get
        self._kinds: dict[Name, Kind] = {}

    def find(self, api_version: str, kind: str) -> Kind | None:
        """The kind, None while it is not served; the API server is asked again for one that was not there."""
        if (api_version, kind) not in self._kinds:
            content = self._get(collection(api_version, "").rstrip("/")) or {}
            for item in content.get("resources") or ():
                if "/" not in item["name"]:
                    self._kinds[api_version, item["kind"]] = Kind(item["name"], item["namespaced"])
        return self._kinds.get((api_version, kind))


def defined_kinds(definitions: Iterable[Any]) -> frozenset[Name]:
    """API versions and kinds that CustomResourceDefinitions, as plain data, make."""
    specs = (item.get("spec") or {} for item in definitions)
    return frozenset(
        (f"{spec.get('group')}/{version.get('name')}", str((spec.get("names") or {}).get("kind")))
        for spec in specs
        for version in spec.get("versions") or ()
    )


def kinds_defined_by(manifests: Iterable[Manifest]) -> frozenset[Name]:
    """API versions and kinds that definitions among the objects make."""
    return defined_kinds(item.content for item in manifests if item.kind == CRD)
