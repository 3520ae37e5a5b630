"""Waits until what asks for a load balancer has an address: Helm takes such a Service for ready without one."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drydock.clusters.kube import api_client, asking
from drydock.errors import ClusterError
from drydock.progress import Progress
from drydock.suite.manifests import Manifest

ADDRESS_SECONDS = 600
_PAUSE_SECONDS = 2.0


def await_addresses(
    kubeconfig: Path,
    manifests: Sequence[Manifest],
    namespace: str,
    progress: Progress,
    *,
    seconds: float = ADDRESS_SECONDS,
) -> None:
    """Wait for the addresses of Services of type LoadBalancer and of Ingresses.

    Args:
        kubeconfig: of the cluster.
        manifests: what was installed.
        namespace: of objects that name none.
        progress: shows what is waited for.
        seconds: to wait at most.

    Raises:
        ClusterError: one has none by then, with what the cluster says about it.
    """
    wanted = [manifest for manifest in manifests if _asks(manifest)]
    if not wanted:
        return
    deadline = time.monotonic() + seconds
    with progress.step("Load balancers") as step, asking():
        while left := [balancer for balancer in wanted if not _has_address(_read(kubeconfig, balancer, namespace))]:
            names = ", ".join(f"{balancer.kind} {balancer.name}" for balancer in left)
            step.detail(names)
            if time.monotonic() > deadline:
                events = [
                    f"{balancer.kind} {balancer.name}: {_last_event(kubeconfig, balancer, namespace)}"
                    for balancer in left
                ]
                raise ClusterError(
                    "\n  ".join((f"no load balancer after {seconds:.0f} s:", *events)),
                    remedy="The release is installed; look at the controller of these classes, and at its role.",
                )
            time.sleep(_PAUSE_SECONDS)


def _asks(manifest: Manifest) -> bool:
    return manifest.kind == "Ingress" or (
        manifest.kind == "Service" and manifest.content["spec"].get("type") == "LoadBalancer"
    )


def _read(kubeconfig: Path, manifest: Manifest, namespace: str) -> Any:
    from kubernetes import client

    api, where = api_client(kubeconfig), manifest.namespace or namespace
    if manifest.kind == "Service":
        return client.CoreV1Api(api).read_namespaced_service(manifest.name, where)
    return client.NetworkingV1Api(api).read_namespaced_ingress(manifest.name, where)


def _has_address(content: Any) -> bool:
    balancer = content.status.load_balancer
    return bool(balancer and balancer.ingress)


def _last_event(kubeconfig: Path, manifest: Manifest, namespace: str) -> str:
    from kubernetes import client

    selector = f"involvedObject.kind={manifest.kind},involvedObject.name={manifest.name}"
    events = client.CoreV1Api(api_client(kubeconfig)).list_namespaced_event(
        manifest.namespace or namespace, field_selector=selector
    )
    return str(events.items[-1].message) if events.items else "nothing serves its class"
