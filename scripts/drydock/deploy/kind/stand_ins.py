"""Puts the stand-ins, and what else an environment takes for granted, into a kind cluster."""

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_all
from drydock.errors import ClusterError
from drydock.kube import api_client, asking
from drydock.rehearsal.prerequisites import DEFAULT_STORAGE_CLASS, Prerequisites

NAME = "drydock-stand-ins"
NAMESPACE = "kube-system"
_FIELD_MANAGER = "drydock"
_READY_SECONDS = 180
_PROVISIONER = "rancher.io/local-path"
_CONFLICT = 409


def apply_stand_ins(kubeconfig: Path, manifests: Path, image: str, identity: str, order: str) -> None:
    """Bring the stand-ins up, and wait until Karpenter is ready.

    Args:
        kubeconfig: of the cluster.
        manifests: ci/kind/stand-ins.yaml.
        image: that the node has.
        identity: of its content; another one starts the pod again, as another order does.
        order: for `drydock.deploy.kind.serve`.

    Raises:
        ClusterError: something was refused, or Karpenter is not ready in time.
    """
    objects = [dict(each) for each in load_yaml_all(manifests.read_text())]
    metadata = {"name": NAME, "namespace": NAMESPACE}
    objects.insert(0, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"order.json": order}})
    for each in objects:
        if each["kind"] == "Deployment":
            template = each["spec"]["template"]
            template["spec"]["containers"][0]["image"] = image
            template["metadata"]["annotations"] = {"drydock.dev/content": _digest(identity + order)}
    _apply(kubeconfig, objects)
    _await_ready(kubeconfig)


def create_prerequisites(kubeconfig: Path, wanted: Prerequisites) -> None:
    """Namespaces, storage classes on the node's disk, and Secrets with random content; what is there stays as it is.

    Raises:
        ClusterError: something was refused.
    """
    classes = {DEFAULT_STORAGE_CLASS, *wanted.storage_classes}
    objects = [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in wanted.namespaces),
        *(_storage_class(name) for name in sorted(classes)),
        *(_secret(wanted.namespace, name, keys) for name, keys in wanted.secrets.items()),
    ]
    _create(kubeconfig, objects)


def _storage_class(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": _PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
    }


def _secret(namespace: str, name: str, keys: Iterable[str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {key: secrets.token_hex(32) for key in keys},
    }


def _apply(kubeconfig: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    from kubernetes import dynamic

    with asking():
        client = dynamic.DynamicClient(api_client(kubeconfig))
        for each in objects:
            kind = client.resources.get(api_version=each["apiVersion"], kind=each["kind"])
            kind.server_side_apply(body=dict(each), field_manager=_FIELD_MANAGER, force_conflicts=True)


def _create(kubeconfig: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    from kubernetes import dynamic
    from kubernetes.client.exceptions import ApiException

    with asking():
        client = dynamic.DynamicClient(api_client(kubeconfig))
        for each in objects:
            kind = client.resources.get(api_version=each["apiVersion"], kind=each["kind"])
            try:
                kind.create(body=dict(each))
            except ApiException as error:
                if error.status != _CONFLICT:
                    raise


def _await_ready(kubeconfig: Path) -> None:
    from kubernetes import client, watch

    deployments = client.AppsV1Api(api_client(kubeconfig)).list_namespaced_deployment
    only = {"field_selector": f"metadata.name={NAME}", "timeout_seconds": _READY_SECONDS}
    with asking():
        for change in watch.Watch().stream(deployments, NAMESPACE, **only):
            found = change["object"]
            current = found.status.observed_generation == found.metadata.generation
            if current and (found.status.updated_replicas or 0) == (found.status.ready_replicas or 0) == 1:
                return
    raise ClusterError(
        f"Karpenter's stand-in is not ready after {_READY_SECONDS} s",
        remedy=f"kubectl --kubeconfig {kubeconfig} --namespace {NAMESPACE} logs deployment/{NAME}",
    )


def _digest(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()[:16]
