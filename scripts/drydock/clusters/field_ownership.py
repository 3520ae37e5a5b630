"""Fields that an installation states and another writes: by managedFields, and by the API server's own answer."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.clusters.kube import api_client, asking
from drydock.suite.manifests import Manifest

HELM = "helm"
_CONFLICT = 409
_WRITER = re.compile(r'conflict with "([^"]+)"')

_INSTALLERS = ("argocd-controller", "drydock", HELM, "helm-controller", "kustomize-controller")
"""Managers that apply whole objects: Argo CD, Drydock, Helm 3 and 4, and those of Flux."""

Fields = Mapping[str, Any]
Steps = tuple[str, ...]


@dataclass(frozen=True, order=True)
class SharedField:
    """A field with more than one writer.

    Attributes:
        object: `Kind/name` or `Kind/namespace/name`.
        path: dotted; items of lists by their key, as in `spec.containers[name=vllm].image`.
        writers: names of managers that own it in the cluster, sorted.
    """

    object: str
    path: str
    writers: tuple[str, ...]


def shared_fields(identity: str, live: Fields, applied: Fields, manager: str) -> Iterator[SharedField]:
    """Fields of one object that an apply states and that another than the one who installs it has written.

    Args:
        identity: of the object.
        live: as it is in the cluster, with its managedFields.
        applied: what an apply would make of it, with its managedFields.
        manager: who applies.
    """
    owners: dict[Steps, set[str]] = {}
    for entry in live["metadata"].get("managedFields") or ():
        if entry.get("subresource") != "status":
            for path in _leaves(entry.get("fieldsV1") or {}, ()):
                owners.setdefault(path, set()).add(str(entry.get("manager")))
    installers = {name for names in owners.values() for name in names if name in _INSTALLERS}
    for entry in applied["metadata"].get("managedFields") or ():
        if entry.get("manager") == manager:
            for path in _leaves(entry.get("fieldsV1") or {}, ()):
                writers = owners.get(path, set())
                if len(writers) > 1 or (installers and writers - installers):
                    yield SharedField(identity, _dotted(path), tuple(sorted(writers)))


def _leaves(fields: Fields, path: Steps) -> Iterator[Steps]:
    """Paths of what is owned itself; of an item in a list its fields, not that it is there."""
    for key, value in fields.items():
        if key != ".":
            if value:
                yield from _leaves(value, (*path, key))
            else:
                yield (*path, key)


def _dotted(path: Steps) -> str:
    """`f:NAME` is a field, `k:{...}` the item of a list with these keys, `v:VALUE` an item of a set."""
    text = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            text += f"[{','.join(f'{key}={value}' for key, value in json.loads(rest).items())}]"
        else:
            text += f"[{rest}]"
    return text.removeprefix(".")


def find_conflicts(
    kubeconfig: Path | None, manifests: Sequence[Manifest], namespace: str, applier: str = HELM
) -> tuple[SharedField, ...]:
    """Fields that could not be applied because another manager owns them with another value; nothing is changed.

    What is missing in the cluster conflicts with nothing; other refusals of the API server are left to the apply.

    Args:
        kubeconfig: access to the cluster; None takes $KUBECONFIG or the default one, as kubectl does.
        manifests: what is applied.
        namespace: of objects that name none.
        applier: manager that would apply them.

    Raises:
        UsageError: there is no kubeconfig.
        ClusterError: the API server does not answer.
    """
    from kubernetes import dynamic

    if not manifests:
        return ()
    with asking():
        cluster = dynamic.DynamicClient(api_client(kubeconfig))
        return tuple(
            conflict for manifest in manifests for conflict in _conflicts(cluster, manifest, namespace, applier)
        )


def _conflicts(cluster: Any, manifest: Manifest, namespace: str, applier: str) -> Iterator[SharedField]:
    from kubernetes.client.exceptions import ApiException
    from kubernetes.dynamic.exceptions import ResourceNotFoundError

    try:
        resource = cluster.resources.get(api_version=manifest.api_version, kind=manifest.kind)
        place = {"namespace": manifest.namespace or namespace} if resource.namespaced else {}
        resource.server_side_apply(
            body=dict(manifest.content), name=manifest.name, field_manager=applier, dry_run="All", **place
        )
    except ResourceNotFoundError:
        return
    except ApiException as error:
        if error.status != _CONFLICT:
            return
        for cause in (json.loads(error.body or "{}").get("details") or {}).get("causes") or ():
            writer = _WRITER.search(str(cause.get("message")))
            if writer and writer[1] != applier:  # Helm 3, whose fields Helm 4 takes over
                yield SharedField(manifest.identity, str(cause.get("field")).removeprefix("."), (writer[1],))
