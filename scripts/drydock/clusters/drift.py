"""Where a cluster differs from what an environment renders: what a server-side apply would change."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.clusters.field_ownership import SharedField, shared_fields
from drydock.clusters.kube import api_client, asking
from drydock.suite.diff import Change, ObjectChange, yaml_difference
from drydock.suite.manifests import Manifest

FIELD_MANAGER = "drydock-diff"
_NOT_FOUND = 404
_LOOK_SECONDS = 120
_VOLATILE = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp")

Fields = Mapping[str, Any]


@dataclass(frozen=True)
class Drift:
    """A cluster against what is wanted there.

    Attributes:
        changes: objects that are missing, or that an apply would change.
        shared: fields that an apply states and that another has written.
    """

    changes: tuple[ObjectChange, ...]
    shared: tuple[SharedField, ...]


def drift(kubeconfig: Path | None, manifests: Sequence[Manifest], namespace: str) -> Drift:
    """How a cluster differs from what is wanted, and who else writes it; nothing is changed.

    The API server itself says what it would make of each object (a dry run), so defaults are no difference.

    Args:
        kubeconfig: access to the cluster; None takes $KUBECONFIG or the default one, as kubectl does.
        manifests: what is wanted.
        namespace: of objects that name none.

    Raises:
        UsageError: there is no kubeconfig.
        ClusterError: the API server refuses or does not answer.
    """
    from kubernetes import dynamic

    with asking():
        cluster = dynamic.DynamicClient(api_client(kubeconfig))
        found = [item for manifest in manifests for item in _differences(cluster, manifest, namespace)]
    changes = tuple(item for item in found if isinstance(item, ObjectChange))
    return Drift(changes, tuple(item for item in found if isinstance(item, SharedField)))


def _differences(cluster: Any, manifest: Manifest, namespace: str) -> Iterator[ObjectChange | SharedField]:
    from kubernetes.client.exceptions import ApiException
    from kubernetes.dynamic.exceptions import ResourceNotFoundError

    try:
        resource = cluster.resources.get(api_version=manifest.api_version, kind=manifest.kind)
        live, applied = _live_and_applied(resource, manifest, namespace)
    except (ResourceNotFoundError, ApiException) as error:
        if isinstance(error, ApiException) and error.status != _NOT_FOUND:
            raise
        yield ObjectChange(Change.ADDED, manifest.identity, manifest.chart, yaml_difference(None, manifest.content))
        return
    yield from shared_fields(manifest.identity, live, applied, FIELD_MANAGER)
    before, after = _settled(live), _settled(applied)
    if before != after:
        yield ObjectChange(Change.CHANGED, manifest.identity, manifest.chart, yaml_difference(before, after))


def _live_and_applied(resource: Any, manifest: Manifest, namespace: str) -> tuple[Fields, Fields]:
    """Of one version of the object: a controller may write it at any moment, and what it writes is no drift."""
    from kubernetes.dynamic.exceptions import ConflictError
    from tenacity import Retrying, retry_if_exception_type, stop_after_delay

    place = {"name": manifest.name}
    if resource.namespaced:
        place["namespace"] = manifest.namespace or namespace
    options = {"field_manager": FIELD_MANAGER, "force_conflicts": True, "dry_run": "All"}

    def look() -> tuple[Fields, Fields]:
        live = resource.get(**place).to_dict()
        body = deepcopy(dict(manifest.content))
        body["metadata"]["resourceVersion"] = live["metadata"]["resourceVersion"]
        return live, resource.server_side_apply(body=body, **options, **place).to_dict()

    attempts = Retrying(
        retry=retry_if_exception_type(ConflictError), stop=stop_after_delay(_LOOK_SECONDS), reraise=True
    )
    return attempts(look)


def _settled(content: Fields) -> dict[str, Any]:
    """An object without what changes with every write."""
    metadata = {key: value for key, value in content["metadata"].items() if key not in _VOLATILE}
    return {**{key: value for key, value in content.items() if key != "status"}, "metadata": metadata}
