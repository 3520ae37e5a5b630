"""Puts the stand-ins, and what else an environment takes for granted, into a kind cluster."""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from drydock.clusters.kube import api_client, apply_objects, asking
from drydock.documents import load_yaml_all
from drydock.errors import ClusterError
from drydock.rehearsal.prerequisites import Prerequisites
from drydock.suite.cluster_description import StorageClass

NAME = "drydock-stand-ins"
NAMESPACE = "kube-system"
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
    objects = [dict(document) for document in load_yaml_all(manifests.read_text())]
    metadata = {"name": NAME, "namespace": NAMESPACE}
    objects.insert(0, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"order.json": order}})
    for content in objects:
        if content["kind"] == "Deployment":
            template = content["spec"]["template"]
            template["spec"]["containers"][0]["image"] = image
            template["metadata"]["annotations"] = {"drydock.dev/content": _digest(identity + order)}
    apply_objects(kubeconfig, objects)
    _await_ready(kubeconfig)


def create_prerequisites(kubeconfig: Path, wanted: Prerequisites) -> None:
    """Namespaces, the target's storage classes on the node's disk, and Secrets with random content.

    What is there stays as it is.

    Raises:
        ClusterError: something was refused.
    """
    objects = [
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in wanted.namespaces),
        *(_on_disk(class_) for class_ in wanted.target.storage_classes),
        *(_secret(wanted.namespace, name, keys) for name, keys in wanted.secrets.items()),
    ]
    _create(kubeconfig, objects)


def _on_disk(storage_class: StorageClass) -> dict[str, Any]:
    """A class of the environment's target, on the node's disk; kind's own default stays the only one."""
    return replace(storage_class, provisioner=_PROVISIONER, default=False, binding="WaitForFirstConsumer").manifest()


def _secret(namespace: str, name: str, keys: Iterable[str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {key: secrets.token_hex(32) for key in keys},
    }


def _create(kubeconfig: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    from kubernetes import dynamic
    from kubernetes.client.exceptions import ApiException

    with asking():
        client = dynamic.DynamicClient(api_client(kubeconfig))
        for content in objects:
            kind = client.resources.get(api_version=content["apiVersion"], kind=content["kind"])
            try:
                kind.create(body=dict(content))
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
