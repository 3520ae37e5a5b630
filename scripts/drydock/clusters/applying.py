"""Manifests on a cluster as `kubectl apply --server-side` puts them there, in an order in which they can exist."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from drydock.clusters.api import Api, ApiError
from drydock.clusters.objects import condition, is_done, is_true
from drydock.clusters.served_kinds import CRDS, Kind, ServedKinds, kinds_defined_by
from drydock.errors import ClusterError
from drydock.suite.manifests import CRD, Manifest

_FIRST = (
    *(CRD, "Namespace", "PriorityClass", "StorageClass", "ServiceAccount", "Secret"),
    *("ConfigMap", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding", "PersistentVolumeClaim", "Service"),
)
_LAST = ("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "APIService")
_STAY = frozenset((CRD, "Namespace", "PersistentVolumeClaim"))
"""Kinds whose removal would take more away than what was applied."""
_WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job")
_SERVED_SECONDS = 60
_PAUSE_SECONDS = 0.2


class Applier:
    """Applies and deletes objects of any kind that an API server serves."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._kinds = ServedKinds(api.find)

    def apply(self, manifests: Sequence[Manifest], *, force: bool = True) -> None:
        """Apply them: definitions and namespaces first, webhooks last; a kind whose CRD is among them is waited for.

        Args:
            manifests: each with its namespace, if its kind has one.
            force: take over fields that other managers have written.

        Raises:
            ClusterError: the API server serves no such kind, or refuses an object; names object and file.
        """
        defined = kinds_defined_by(manifests)
        for manifest in sorted(manifests, key=_order):
            kind = self._kind(manifest, _SERVED_SECONDS if (manifest.api_version, manifest.kind) in defined else 0)
            path = kind.path(manifest.api_version, manifest.name, manifest.namespace)
            try:
                self._api.apply(
                    path, manifest.content if kind.namespaced else _without_namespace(manifest), force=force
                )
            except ApiError as error:
                raise ClusterError(f"{manifest.file}: {manifest.identity} was refused: {error}") from error
        self._await_established([each for each in manifests if each.kind == CRD])

    def await_done(self, manifests: Sequence[Manifest], seconds: float, report: Callable[[str], None]) -> None:
        """Wait until the workloads among them are ready.

        Args:
            manifests: that were applied.
            seconds: to wait.
            report: is shown what is missing.

        Raises:
            ClusterError: one is not ready when time is over.
        """
        deadline = time.monotonic() + seconds
        for manifest in (each for each in manifests if each.kind in _WORKLOADS):
            path = self._path(manifest)
            while not is_done(manifest.kind, self._api.get(path)):
                report(f"{manifest.identity} is not ready")
                if time.monotonic() > deadline:
                    raise ClusterError(
                        f"{manifest.file}: {manifest.identity} is not ready after {seconds:.0f} s",
                        remedy=f"kubectl describe {manifest.kind.lower()} {manifest.name} "
                        f"--namespace {manifest.namespace}",
                    )
                time.sleep(_PAUSE_SECONDS)

    def delete(self, manifests: Sequence[Manifest], *, careful: bool = False) -> tuple[str, ...]:
        """Delete them, the last applied first; what is gone already is passed over.

        Args:
            manifests: API version, kind, namespace and name are enough.
            careful: leave CRDs, namespaces and volume claims, with which objects and data of others would go.

        Returns:
            What was left.
        """
        left = tuple(each.identity for each in manifests if careful and each.kind in _STAY)
        for manifest in sorted(manifests, key=_order, reverse=True):
            if not (careful and manifest.kind in _STAY):
                kind = self._kinds.find(manifest.api_version, manifest.kind)
                if kind:  # else its CRD is gone, and so is the object
                    self._api.delete(kind.path(manifest.api_version, manifest.name, manifest.namespace))
        return left

    def _path(self, manifest: Manifest) -> str:
        return self._kind(manifest, 0).path(manifest.api_version, manifest.name, manifest.namespace)

    def _kind(self, manifest: Manifest, seconds: float) -> Kind:
        deadline = time.monotonic() + seconds
        while not (kind := self._kinds.find(manifest.api_version, manifest.kind)):
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{manifest.file}: {manifest.identity}: the cluster serves no "
                    f"{manifest.api_version} {manifest.kind}",
                    remedy="Bring its CRD before it (`crds`), or a release that installs it.",
                )
            time.sleep(_PAUSE_SECONDS)
        return kind

    def _await_established(self, definitions: Sequence[Manifest]) -> None:
        deadline = time.monotonic() + _SERVED_SECONDS
        for each in definitions:
            while not is_true(found := self._api.get(f"{CRDS}/{each.name}"), "Established"):
                if time.monotonic() > deadline:
                    said = condition(found, "NamesAccepted").get("message") or "no reason is given"
                    raise ClusterError(f"{each.file}: {each.identity} was not established: {said}")
                time.sleep(_PAUSE_SECONDS)


def _without_namespace(manifest: Manifest) -> Mapping[str, Any]:
    metadata = {key: value for key, value in manifest.content["metadata"].items() if key != "namespace"}
    return {**manifest.content, "metadata": metadata}


def _order(manifest: Manifest) -> int:
    if manifest.kind in _FIRST:
        return _FIRST.index(manifest.kind)
    return len(_FIRST) + 1 + (_LAST.index(manifest.kind) + 1 if manifest.kind in _LAST else 0)
