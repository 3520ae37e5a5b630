"""A rehearsal that was kept, as a journey finds it: its objects, and its Services that answer on this machine."""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.documents import load_yaml_file
from drydock.errors import ClusterError, UsageError
from drydock.project import Project
from drydock.rehearsal.credentials import Credentials
from drydock.rehearsal.kubelet.service_relays import FILE
from drydock.rehearsal.runs import RunFolder, list_clusters


@dataclass(frozen=True)
class LiveCluster:
    """Access to one run.

    Args:
        folder: of the run.
        api: of its cluster, as the administrator.
    """

    folder: RunFolder
    api: Api

    def addresses(self) -> dict[str, dict[str, str]]:
        """HOST:PORT of each port by the NAMESPACE/NAME of every Service that answers."""
        return service_addresses(self.folder)

    def service(self, labels: Mapping[str, str]) -> tuple[str, Mapping[str, Any]]:
        """NAMESPACE/NAME and content of the Service with these labels.

        Raises:
            UsageError: there is none.
        """
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        found = self.api.get(collection("v1", "services"), {"labelSelector": selector})["items"]
        if not found:
            raise UsageError(
                f"no Service of run {self.folder.name} has the labels {selector}",
                remedy="Rehearse an environment that has one, with --live --keep.",
            )
        metadata = found[0]["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}", found[0]

    def address(self, service: str, port: str) -> str:
        """HOST:PORT of a port of a Service.

        Raises:
            ClusterError: it does not answer.
        """
        ports = self.addresses().get(service, {})
        if port not in ports:
            raise ClusterError(
                f"Service {service} does not answer: none of its pods is ready, or their program does not run here",
                remedy=f"Rehearse with --live; its logs: {self.folder.logs}.",
            )
        return ports[port]

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """Content of a Secret by key."""
        content = self.api.get(f"{collection('v1', 'secrets', namespace)}/{name}").get("data") or {}
        return {key: base64.b64decode(value).decode() for key, value in content.items()}


def service_addresses(folder: RunFolder) -> dict[str, dict[str, str]]:
    """HOST:PORT of each port by the NAMESPACE/NAME of every Service of a run that answers; none where no pod runs."""
    try:
        content: dict[str, dict[str, str]] = json.loads((folder.cluster / FILE).read_text())
    except FileNotFoundError:
        return {}
    return content


def find_kept(project: Project, name: str | None) -> LiveCluster:
    """A rehearsal that was kept, by its name; else the newest.

    Raises:
        UsageError: there is none.
    """
    kept = {cluster.name: cluster for cluster in list_clusters(project) if cluster.kept and cluster.supervised}
    if name and name not in kept:
        raise UsageError(f"no kept cluster is named '{name}'", remedy=f"Kept: {', '.join(kept) or 'none'}.")
    if not kept:
        raise UsageError("no cluster is kept", remedy="Start one: drydock rehearse ENV --live --keep.")
    folder = kept[name or max(kept)].folder
    (cluster,) = load_yaml_file(folder.kubeconfig)["clusters"]
    return LiveCluster(folder, Api(Credentials(folder.credentials).access(cluster["cluster"]["server"])))
