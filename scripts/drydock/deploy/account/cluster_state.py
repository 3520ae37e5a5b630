"""The API server's part of a snapshot. Of Secrets it keeps names and keys, never their content."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drydock.clusters.kube import api_client, asking
from drydock.suite.account_snapshot import ClassOfVolumes, ClusterContents

_DEFAULT = "storageclass.kubernetes.io/is-default-class"
_KARPENTER = "app.kubernetes.io/name=karpenter"
_NOT_FOUND = 404
_REMEDY = "Use a kubeconfig that may list these; docs/account.md has the rules."


def cluster_contents(kubeconfig: Path, namespace: str, secrets: Mapping[str, tuple[str, ...]]) -> ClusterContents:
    """What the cluster of a kubeconfig has.

    Args:
        kubeconfig: leads to it.
        namespace: of the release, in which the Secrets lie.
        secrets: those that the environment expects; no other is read.

    Raises:
        ClusterError: the API server refused or does not answer.
    """
    from kubernetes import client

    connection = api_client(kubeconfig)
    with asking(_REMEDY):
        version = client.VersionApi(connection).get_code()
        storage = client.StorageV1Api(connection)
        classes = {
            storage_class.metadata.name: ClassOfVolumes(
                provisioner=storage_class.provisioner,
                default=(storage_class.metadata.annotations or {}).get(_DEFAULT) == "true",
                binding=storage_class.volume_binding_mode or "Immediate",
            )
            for storage_class in storage.list_storage_class().items
        }
        drivers = tuple(sorted(driver.metadata.name for driver in storage.list_csi_driver().items))
        ingresses = client.NetworkingV1Api(connection).list_ingress_class().items
        karpenter, gates = _karpenter(client.AppsV1Api(connection))
        return ClusterContents(
            kubernetes=f"{version.major}.{re.sub('[^0-9]', '', version.minor)}",
            karpenter=karpenter,
            feature_gates=gates,
            storage_classes=classes,
            drivers=drivers,
            ingress_classes=tuple(sorted(ingress_class.metadata.name for ingress_class in ingresses)),
            node_pools=_node_pools(client.CustomObjectsApi(connection)),
            secrets=_secrets(client.CoreV1Api(connection), namespace, secrets),
        )


def _karpenter(apps: Any) -> tuple[str, dict[str, bool]]:
    """Version and feature gates of the Deployment of Karpenter's chart."""
    for deployment in apps.list_deployment_for_all_namespaces(label_selector=_KARPENTER).items:
        for container in deployment.spec.template.spec.containers:
            tag = str(container.image).partition("@")[0].rpartition(":")[2]
            given = (
                next((variable.value for variable in container.env or () if variable.name == "FEATURE_GATES"), None)
                or ""
            )
            pairs = (pair.partition("=") for pair in given.split(",") if pair)
            return tag.lstrip("v"), {f"{name[0].lower()}{name[1:]}": on == "true" for name, _, on in pairs}
    return "", {}


def _node_pools(objects: Any) -> tuple[str, ...]:
    from kubernetes.client.exceptions import ApiException

    try:
        listed = objects.list_cluster_custom_object("karpenter.sh", "v1", "nodepools")["items"]
    except ApiException as error:
        if error.status == _NOT_FOUND:
            return ()
        raise
    return tuple(sorted(pool["metadata"]["name"] for pool in listed))


def _secrets(core: Any, namespace: str, wanted: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    from kubernetes.client.exceptions import ApiException

    found = {}
    for name in sorted(wanted):
        try:
            found[name] = tuple(sorted(core.read_namespaced_secret(name, namespace).data or {}))
        except ApiException as error:
            if error.status != _NOT_FOUND:
                raise
    return found
