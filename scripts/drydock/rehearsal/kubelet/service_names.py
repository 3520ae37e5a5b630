"""Names of Services in arguments of programs that run here: a pod would ask the cluster's DNS for them."""

import re
from collections.abc import Mapping
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.rehearsal.kubelet.references import MissingReferenceError

REACHABLE = "rehearsal.drydock.dev/reachable-at"
"""Annotation of a pod that runs: `NAME=HOST:PORT` on this machine for each of its named ports."""
_SERVICE = re.compile(r"\b([a-z0-9][-a-z0-9]*)\.([a-z0-9][-a-z0-9]*)\.svc(?:\.cluster\.local)?:(\d+)\b")


def resolved(api: Api, text: str) -> str:
    """Each SERVICE.NAMESPACE.svc:PORT replaced by where one of its pods listens on this machine.

    A Service of pods that do not run here stays as it is.

    Raises:
        MissingReferenceError: a Service has no endpoints yet.
    """

    def replaced(found: re.Match[str]) -> str:
        name, namespace, port = found.groups()
        return _address(api, name, namespace, int(port)) or found[0]

    return _SERVICE.sub(replaced, text)


def reachable(pod: Mapping[str, Any]) -> dict[str, str]:
    """HOST:PORT of a pod's named ports on this machine; empty for one that does not run here."""
    told = (pod["metadata"].get("annotations") or {}).get(REACHABLE, "")
    return dict(part.split("=", 1) for part in told.split(",") if "=" in part)


def _address(api: Api, service: str, namespace: str, port: int) -> str | None:
    found = api.find(f"{collection('v1', 'services', namespace)}/{service}")
    if found is None:
        return None
    name = next(
        (service_port.get("name", "") for service_port in found["spec"]["ports"] if service_port["port"] == port), None
    )
    slices = api.get(
        collection("discovery.k8s.io/v1", "endpointslices", namespace),
        {"labelSelector": f"kubernetes.io/service-name={service}"},
    )["items"]
    behind = [
        (endpoint_slice, endpoint) for endpoint_slice in slices for endpoint in endpoint_slice.get("endpoints") or ()
    ]
    if not behind:
        raise MissingReferenceError(f"Service {service} has no endpoints")
    for each, endpoint in behind:
        number = next((known["port"] for known in each["ports"] or () if known.get("name", "") == name), None)
        pod = api.find(f"{collection('v1', 'pods', namespace)}/{endpoint['targetRef']['name']}")
        if pod is None:
            continue
        ports = (known for container in pod["spec"]["containers"] for known in container.get("ports") or ())
        of_pod = next((known.get("name", "") for known in ports if known["containerPort"] == number), "")
        if of_pod in reachable(pod):
            return reachable(pod)[of_pod]
    return None
