"""CRDs on a cluster: Helm installs them once and never upgrades them, this does."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.clusters.kube import api_client, asking
from drydock.errors import ClusterError, UsageError
from drydock.progress import Progress
from drydock.project import Project
from drydock.suite.manifests import Manifest

FIELD_MANAGER = "drydock-crds"
ESTABLISH_SECONDS = 180
_NOT_FOUND = 404
_CONFLICT = 409
_PAGE = 500
_AUTO_MODE = "eks.amazonaws.com/"
_OURS = ("drydock", "helm", "kubectl", "kube-apiserver")
"""Field managers of people and of ourselves; others, such as Argo CD or EKS, would take a change back."""


@dataclass(frozen=True)
class UpgradedCrd:
    """What happened to one CRD.

    Attributes:
        name: `plural.group`.
        action: `created`, `updated` or `unchanged`.
        storage_version: the version that etcd holds from now on.
        migrated_objects: objects rewritten from an older stored version.
    """

    name: str
    action: str
    storage_version: str
    migrated_objects: int


def crd_files(project: Project, owners: Sequence[str] = ()) -> tuple[Path, ...]:
    """Files that set-up put into charts/crds, one CRD each, of the named owners or of all, sorted by owner and name.

    Raises:
        UsageError: there is no such owner.
    """
    folders = sorted((project.charts_dir / "crds" / "charts").glob("*/crds"))
    known = [folder.parent.name for folder in folders]
    unknown = sorted(set(owners) - set(known))
    if unknown:
        raise UsageError(f"no CRDs of {', '.join(unknown)}", remedy=f"Known owners: {', '.join(known)}.")
    chosen = [folder for folder in folders if not owners or folder.parent.name in owners]
    return tuple(file for folder in chosen for file in sorted(folder.glob("*.yaml")))


def read_crds(project: Project, owners: Sequence[str] = ()) -> tuple[Mapping[str, Any], ...]:
    """The CRDs in `crd_files`."""
    return tuple(json.loads(file.read_text()) for file in crd_files(project, owners))


def owners_of(project: Project, manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """Owners of CRDs that an environment needs: of its own objects, or of those that a Role of it is about.

    Under EKS Auto Mode those of Karpenter are EKS's own.
    """
    auto_mode = any(manifest.api_version.startswith(_AUTO_MODE) for manifest in manifests)
    used = {(manifest.api_version.partition("/")[0], manifest.kind) for manifest in manifests}
    named = {
        (group, resource.partition("/")[0])
        for manifest in manifests
        if manifest.kind in ("Role", "ClusterRole")
        for rule in manifest.content.get("rules") or ()
        for group in rule.get("apiGroups") or ()
        for resource in rule.get("resources") or ()
    }
    found = set()
    for file in crd_files(project):
        spec = json.loads(file.read_text())["spec"]
        if (spec["group"], spec["names"]["kind"]) in used or (spec["group"], spec["names"]["plural"]) in named:
            found.add(file.parents[1].name)
    return tuple(sorted(found - ({"karpenter"} if auto_mode else set())))


def crd_owners(project: Project) -> dict[tuple[str, str], str]:
    """Owner of the CRD of each API group and kind."""
    specs = ((file, json.loads(file.read_text())["spec"]) for file in crd_files(project))
    return {(spec["group"], spec["names"]["kind"]): file.parents[1].name for file, spec in specs}


def reason_to_leave(crd: Mapping[str, Any], before: Mapping[str, Any]) -> str:
    """Why a CRD of a cluster is not ours to replace; empty when it is.

    Args:
        crd: the pinned one.
        before: the one of the cluster, as its API gives it.
    """
    keepers = {
        str(field.get("manager"))
        for field in before["metadata"].get("managedFields") or ()
        if "f:spec" in (field.get("fieldsV1") or {})
    }
    foreign = sorted(name for name in keepers if not name.lower().startswith(_OURS))
    if foreign:
        return f"{', '.join(foreign)} keeps it"
    lost = sorted(_properties(before) - _properties(crd))
    return f"it has fields that the pinned one lacks, such as {lost[0]}" if lost else ""


def _properties(crd: Mapping[str, Any]) -> set[str]:
    """Every field of every version, dotted."""
    found: set[str] = set()

    def walk(schema: Mapping[str, Any], path: str) -> None:
        for name, each in (schema.get("properties") or {}).items():
            found.add(f"{path}.{name}")
            walk(each, f"{path}.{name}")
        for inner in ("items", "additionalProperties"):
            if isinstance(schema.get(inner), Mapping):
                walk(schema[inner], path)

    for version in crd["spec"]["versions"]:
        walk((version.get("schema") or {}).get("openAPIV3Schema") or {}, version["name"])
    return found


def upgrade_crds(
    kubeconfig: Path | None, crds: Sequence[Mapping[str, Any]], progress: Progress, *, careful: bool = False
) -> list[UpgradedCrd]:
    """Apply CRDs server-side, wait until each is established, and rewrite objects still stored in an older version.

    Nothing is applied when any of them cannot be: the new CRD must serve every version that the cluster still stores.

    Args:
        kubeconfig: file with the cluster's access; None takes $KUBECONFIG or the default one, as kubectl does.
        crds: complete CustomResourceDefinition objects.
        progress: one step is shown for each CRD.
        careful: leave alone what others keep, and what is newer than the pinned one, and say so.

    Raises:
        UsageError: there is no kubeconfig.
        ClusterError: a stored version would be lost, the API server refused or did not answer, or a CRD was not
            established in time.
    """
    from kubernetes import client

    api = client.ApiextensionsV1Api(api_client(kubeconfig))
    with asking():
        before = {definition.metadata.name: definition for definition in api.list_custom_resource_definition().items}
        chosen = [crd for crd in crds if not (careful and _left(api, crd, before, progress))]
        for crd in chosen:
            _refuse_lost_version(crd, before)
        results = []
        for crd in chosen:
            with progress.step(f"CRD {crd['metadata']['name']}"):
                results.append(_upgrade(api, crd, before.get(crd["metadata"]["name"])))
    return results


def _left(api: Any, crd: Mapping[str, Any], before: Mapping[str, Any], progress: Progress) -> bool:
    name = crd["metadata"]["name"]
    if name not in before:
        return False
    reason = reason_to_leave(crd, api.api_client.sanitize_for_serialization(before[name]))
    if reason:
        progress.note(f"CRD {name} of the cluster stays as it is: {reason}. `drydock crds upgrade` replaces it.")
    return bool(reason)


def _refuse_lost_version(crd: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    name = crd["metadata"]["name"]
    if name not in before:
        return
    served = {version["name"] for version in crd["spec"]["versions"]}
    lost = sorted(set(before[name].status.stored_versions or []) - served)
    if lost:
        raise ClusterError(
            f"CRD {name}: the cluster still stores objects as {', '.join(lost)}, which the new CRD no longer has",
            remedy="Upgrade first to a release whose CRD has both versions; it rewrites the stored objects.",
        )


def _upgrade(api: Any, crd: Mapping[str, Any], before: Any) -> UpgradedCrd:
    name = crd["metadata"]["name"]
    storage = next(version["name"] for version in crd["spec"]["versions"] if version["storage"])
    applied = api.patch_custom_resource_definition(
        name, dict(crd), field_manager=FIELD_MANAGER, force=True, _content_type="application/apply-patch+yaml"
    )
    _await_established(api, name)
    _await_served(api.api_client, crd, storage)
    migrated = 0
    if set(applied.status.stored_versions or [storage]) - {storage}:
        migrated = _rewrite_objects(api.api_client, crd, storage)
        api.patch_custom_resource_definition_status(name, {"status": {"storedVersions": [storage]}})
    if before is None:
        action = "created"
    else:
        action = "unchanged" if applied.metadata.generation == before.metadata.generation else "updated"
    return UpgradedCrd(name, action, storage, migrated)


def _await_established(api: Any, name: str) -> None:
    from kubernetes import watch

    stream = watch.Watch().stream(
        api.list_custom_resource_definition, field_selector=f"metadata.name={name}", timeout_seconds=ESTABLISH_SECONDS
    )
    for event in stream:
        conditions = event["object"].status.conditions or []
        if any(condition.type == "Established" and condition.status == "True" for condition in conditions):
            return
    raise ClusterError(f"CRD {name} was not established within {ESTABLISH_SECONDS} s")


def _await_served(api_client: Any, crd: Mapping[str, Any], version: str) -> None:
    """An API server answers 404 for a moment after a CRD is established or has a new version."""
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException
    from tenacity import Retrying, retry_if_result, stop_after_delay, wait_fixed

    objects, spec = client.CustomObjectsApi(api_client), crd["spec"]

    def missing() -> bool:
        try:
            objects.list_cluster_custom_object(spec["group"], version, spec["names"]["plural"], limit=1)
        except ApiException as error:  # an account that may change the CRD need not be allowed to read its objects
            return bool(error.status == _NOT_FOUND)
        return False

    look = Retrying(
        retry=retry_if_result(bool),
        wait=wait_fixed(0.2),
        stop=stop_after_delay(ESTABLISH_SECONDS),
        retry_error_callback=lambda _: True,
    )
    if look(missing):
        raise ClusterError(
            f"CRD {crd['metadata']['name']}: {version} was not served within {ESTABLISH_SECONDS} s",
            remedy="Look at `kubectl describe crd`, then repeat the command.",
        )


def _rewrite_objects(api_client: Any, crd: Mapping[str, Any], version: str) -> int:
    """Write every object back unchanged, which makes the API server store it in the storage version."""
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    api = client.CustomObjectsApi(api_client)
    group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
    count = 0
    for item in _objects(api, group, version, plural):
        metadata = item["metadata"]
        try:
            if "namespace" in metadata:
                api.replace_namespaced_custom_object(
                    group, version, metadata["namespace"], plural, metadata["name"], item
                )
            else:
                api.replace_cluster_custom_object(group, version, plural, metadata["name"], item)
        except ApiException as error:
            if error.status not in (_NOT_FOUND, _CONFLICT):  # deleted, or written by another client: either is enough
                raise
        count += 1
    return count


def _objects(api: Any, group: str, version: str, plural: str) -> Iterator[dict[str, Any]]:
    token = None
    while True:
        page = api.list_cluster_custom_object(
            group, version, plural, limit=_PAGE, **({"_continue": token} if token else {})
        )
        yield from page["items"]
        token = page["metadata"].get("continue")
        if not token:
            return
