"""Models of a running cluster: found by the labels of the chart vllm, and whether they can answer.

`api` is a client of the kubernetes library throughout.
"""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from drydock.clusters.kube import asking
from drydock.errors import ClusterError
from drydock.loadtest.secrets import Secret

_CATALOGUES = "app.kubernetes.io/name=vllm,app.kubernetes.io/component=catalogue"
_NOT_FOUND = 404
PORT_NAME = "http"
"""Of a model's container."""


@dataclass(frozen=True, slots=True)
class KeyReference:
    """A key of a Secret."""

    name: str
    key: str


@dataclass(frozen=True, slots=True)
class Pod:
    """A ready endpoint of a model.

    Attributes:
        port: of the pod.
        port_name: of that port.
        annotations: of the pod.
    """

    name: str
    namespace: str
    port: int
    port_name: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunningModel:
    """A model that a cluster serves.

    Attributes:
        name: in requests.
        namespace: of its Service.
        service: its name.
        port: of the Service.
        key: the API key that it asks for; None when it asks for none.
    """

    name: str
    namespace: str
    service: str
    port: int
    key: KeyReference | None

    @property
    def url(self) -> str:
        """Inside the cluster."""
        return f"http://{self.service}.{self.namespace}.svc:{self.port}"


def find_model(api: Any, namespace: str, name: str) -> RunningModel:
    """The model of that name in requests.

    Raises:
        ClusterError: there is none; the message names those that there are.
    """
    found = list(_models(api, namespace))
    for model in found:
        if model.name == name:
            return model
    known = ", ".join(sorted({model.name for model in found}))
    raise ClusterError(
        f"no model {name} in namespace {namespace}",
        remedy=f"It serves: {known}." if known else "The chart vllm is not installed there; see --namespace.",
    )


def ready_pods(api: Any, model: RunningModel) -> list[Pod]:
    """Pods that answer for a model.

    Raises:
        ClusterError: none does; the message describes those that there are.
    """
    from kubernetes import client

    core = client.CoreV1Api(api)
    with asking(_READ):
        slices = client.DiscoveryV1Api(api).list_namespaced_endpoint_slice(
            model.namespace, label_selector=f"kubernetes.io/service-name={model.service}"
        )
        pods = {
            running_pod.metadata.name: running_pod for running_pod in core.list_namespaced_pod(model.namespace).items
        }
    found, waiting = [], []
    for endpoint_slice in slices.items:
        for endpoint in endpoint_slice.endpoints or ():
            pod = pods.get(endpoint.target_ref.name if endpoint.target_ref else "")
            if pod is None:
                continue
            if endpoint.conditions.ready:
                annotations = pod.metadata.annotations or {}
                found.append(
                    Pod(pod.metadata.name, model.namespace, endpoint_slice.ports[0].port, PORT_NAME, annotations)
                )
            else:
                waiting.append(f"{pod.metadata.name} is not ready ({pod_state(pod)})")
    if not found:
        told = "; ".join(waiting) or "it has no pods"
        raise ClusterError(
            f"model {model.name}: Service {model.service} has no ready endpoints: {told}",
            remedy=f"See `kubectl --namespace {model.namespace} describe pods`; a model at zero replicas wakes up with "
            "its first request through the gateway.",
        )
    return sorted(found, key=lambda pod: pod.name)


def read_key(api: Any, model: RunningModel) -> Secret | None:
    """The API key that a model asks for; None when it asks for none.

    Raises:
        ClusterError: the Secret or its key is missing, or must not be read.
    """
    from kubernetes import client
    from kubernetes.client.exceptions import ApiException

    if model.key is None:
        return None
    where = f"Secret {model.key.name} in namespace {model.namespace}"
    with asking(f"May you read it? {where} has the model's API key; --api-key-env and --api-key-file give it too."):
        try:
            content = client.CoreV1Api(api).read_namespaced_secret(model.key.name, model.namespace).data or {}
        except ApiException as error:
            if error.status != _NOT_FOUND:
                raise
            raise ClusterError(
                f"{where}, with the API key of {model.name}, does not exist",
                remedy="Make it, or give the key by --api-key-env or --api-key-file.",
            ) from error
    if model.key.key not in content:
        raise ClusterError(
            f"{where} has no key {model.key.key}, which the API key of {model.name} is to be in",
            remedy="Add it, or give the API key by --api-key-env or --api-key-file.",
        )
    return Secret.from_bytes(base64.b64decode(content[model.key.key]), f"{where}, key {model.key.key},")


def pod_state(pod: Any) -> str:
    """Why a pod is not ready, as far as its status shows."""
    status = pod.status
    for container_status in status.container_statuses or ():
        waiting = container_status.state.waiting
        if waiting and waiting.reason:
            return f"{waiting.reason}: {waiting.message}" if waiting.message else str(waiting.reason)
    for condition in status.conditions or ():
        if condition.type == "PodScheduled" and condition.status == "False":
            return f"{condition.reason}: {condition.message}"
    return str(status.phase)


_READ = "The kubeconfig's user needs to read ConfigMaps, EndpointSlices and pods there."


def _models(api: Any, namespace: str) -> Iterator[RunningModel]:
    from kubernetes import client

    with asking(_READ):
        catalogues = client.CoreV1Api(api).list_namespaced_config_map(namespace, label_selector=_CATALOGUES).items
    for catalogue in catalogues:
        for entry in json.loads((catalogue.data or {}).get("models.json", "{}")).values():
            where = urlsplit(entry["url"])
            service, _, _ = (where.hostname or "").partition(".")
            key = entry.get("apiKeySecret")
            reference = KeyReference(key["name"], key["key"]) if key else None
            for name in entry["names"]:
                yield RunningModel(name, namespace, service, where.port or 80, reference)
