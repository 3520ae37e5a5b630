"""Stands in for the controllers of load balancers that the target has: an address for what they would serve."""

from collections.abc import Collection, Mapping
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.clusters.watching import follow

SERVICES = collection("v1", "services")
INGRESSES = collection("networking.k8s.io/v1", "ingresses")


def serve_services(api: Api, classes: Collection[str]) -> None:
    """Give an address to each Service of type LoadBalancer of these classes; ends with the cluster.

    Args:
        api: of the cluster.
        classes: of load balancers; "" is a Service without one.
    """
    for kind, service in follow(api, SERVICES):
        spec = service["spec"]
        if spec.get("type") == "LoadBalancer" and spec.get("loadBalancerClass", "") in classes:
            _give_address(api, kind, "services", "v1", service)


def serve_ingresses(api: Api, classes: Collection[str]) -> None:
    """Give an address to each Ingress of these classes; ends with the cluster."""
    for kind, ingress in follow(api, INGRESSES):
        if ingress["spec"].get("ingressClassName", "") in classes:
            _give_address(api, kind, "ingresses", "networking.k8s.io/v1", ingress)


def _give_address(api: Api, change: str, plural: str, version: str, content: Mapping[str, Any]) -> None:
    if change == "DELETED" or ((content.get("status") or {}).get("loadBalancer") or {}).get("ingress"):
        return
    metadata = content["metadata"]
    host = f"{metadata['name']}-{metadata['uid'][:8]}.elb.rehearsal.internal"
    path = f"{collection(version, plural, metadata['namespace'])}/{metadata['name']}/status"
    api.merge(path, {"status": {"loadBalancer": {"ingress": [{"hostname": host}]}}})
