"""Manifests on a cluster as `kubectl apply --server-side` puts them there, in an order in which they can exist."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drydock.clusters.api import NOT_FOUND, Api, ApiError, collection
from drydock.errors import ClusterError
from drydock.suite.manifests import Manifest

_FIRST = (
    *("CustomResourceDefinition", "Namespace", "PriorityClass", "StorageClass", "ServiceAccount", "Secret"),
    *("ConfigMap", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "PersistentVolumeClaim", "Service"),
)
_LAST = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService")
_SERVED_SECONDS = 60
_PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class _Kind:
    plural: str
    namespaced: bool


class Applier:
    """Applies and deletes objects of any kind that an API server serves."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._kinds: dict[tuple[str, str], _Kind] = {}

    def apply(self, manifests: Sequence[Manifest]) -> None:
        """Apply them: definitions and namespaces first, webhooks last; a kind whose CRD is among them is waited for.

        Raises:
            ClusterError: the API server serves no such kind, or refuses an object; names object and file.
        """
        definitions = (each.content.get("spec") or {} for each in manifests if each.kind == "CustomResourceDefinition")
        defined = {
            (f"{spec.get('group')}/{version.get('name')}", (spec.get("names") or {}).get("kind"))
            for spec in definitions
            for version in spec.get("versions") or ()
        }
        for manifest in sorted(manifests, key=_order):
            try:
                self._api.apply(
                    self._path(manifest, (manifest.api_version, manifest.kind) in defined), manifest.content
                )
            except ApiError as error:
                raise ClusterError(f"{manifest.file}: {manifest.identity} was refused: {error}") from error

    def delete(self, manifests: Sequence[Manifest]) -> None:
        """Delete them, the last applied first; what is gone already is passed over."""
        for manifest in sorted(manifests, key=_order, reverse=True):
            try:
                self._api.delete(self._path(manifest, False))
            except ClusterError:
                if manifest.kind not in {kind for _, kind in self._kinds}:
                    continue  # its CRD is gone, and so is the object
                raise

    def _path(self, manifest: Manifest, defined: bool) -> str:
        kind = self._kind(manifest, _SERVED_SECONDS if defined else 0)
        namespace = manifest.namespace if kind.namespaced else ""
        return f"{collection(manifest.api_version, kind.plural, namespace)}/{manifest.name}"

    def _kind(self, manifest: Manifest, seconds: float) -> _Kind:
        wanted, deadline = (manifest.api_version, manifest.kind), time.monotonic() + seconds
        while wanted not in self._kinds:
            self._kinds.update(self._served(manifest.api_version))
            if wanted in self._kinds:
                break
            if time.monotonic() > deadline:
                kind = f"{manifest.api_version} {manifest.kind}"
                raise ClusterError(
                    f"{manifest.file}: {manifest.identity}: the cluster serves no {kind}",
                    remedy="Bring its CRD among the manifests, or a release that installs it.",
                )
            time.sleep(_PAUSE_SECONDS)
        return self._kinds[wanted]

    def _served(self, api_version: str) -> Iterator[tuple[tuple[str, str], _Kind]]:
        try:
            resources = self._api.get(collection(api_version, "").rstrip("/"))["resources"]
        except ApiError as error:
            if error.status != NOT_FOUND:
                raise
            return
        for each in resources:
            if "/" not in each["name"]:
                yield (api_version, each["kind"]), _Kind(each["name"], each["namespaced"])


def _order(manifest: Manifest) -> int:
    if manifest.kind in _FIRST:
        return _FIRST.index(manifest.kind)
    return len(_FIRST) + 1 + (_LAST.index(manifest.kind) + 1 if manifest.kind in _LAST else 0)
