"""Rendered objects, each with the template it came from."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from drydock.documents import load_yaml

_DOCUMENT = re.compile(r"^---\n", re.MULTILINE)
_SOURCE = re.compile(r"^# Source: (\S+)$", re.MULTILINE)
_INSIDE_CHART = re.compile(r"/(?:templates|crds)/")

CRD = "CustomResourceDefinition"
CLUSTER_SCOPED = frozenset(
    (
        *("Namespace", "Node", "PersistentVolume", "StorageClass", "CSIDriver", "CSINode", "VolumeAttributesClass"),
        *("ClusterRole", "ClusterRoleBinding", "PriorityClass", "RuntimeClass", "IngressClass", "GatewayClass"),
        *("CustomResourceDefinition", "APIService", "FlowSchema", "PriorityLevelConfiguration"),
        *("ValidatingWebhookConfiguration", "MutatingWebhookConfiguration", "ValidatingAdmissionPolicy"),
        *("ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicy", "MutatingAdmissionPolicyBinding"),
        *(
            "CertificateSigningRequest",
            "ClusterTrustBundle",
            "DeviceClass",
            "ResourceSlice",
            "ServiceCIDR",
            "IPAddress",
        ),
        *("NodePool", "NodeClaim", "NodeOverlay", "EC2NodeClass", "NodeClass", "ClusterIssuer"),
        *("ClusterWorkflowTemplate", "ResourceFlavor", "ClusterQueue", "Cohort", "AdmissionCheck", "Topology"),
        *("ClusterSecretStore", "ClusterExternalSecret", "ClusterPolicy", "ClusterServingRuntime"),
        *("ClusterTriggerAuthentication", "ClusterStorageContainer"),
    )
)
"""Kinds without a namespace: Kubernetes' own, and those of operators that such platforms have."""


@dataclass(frozen=True)
class Manifest:
    """One rendered object.

    Attributes:
        template: the template's path in the chart as Helm prints it, for example
            `genai-platform/charts/vllm/templates/deployment.yaml`.
        content: the object as plain data.
        text: the YAML document as Helm printed it, with a final newline.
        source: release, or file of manifests, that it is from; empty for the suite's own.
        file: to open, of what is not the suite's own.
    """

    template: str
    content: Mapping[str, Any]
    text: str
    source: str = ""
    file: str = ""

    @property
    def api_version(self) -> str:
        """`apiVersion` of the object."""
        return str(self.content.get("apiVersion", ""))

    @property
    def kind(self) -> str:
        """`kind` of the object."""
        return str(self.content.get("kind", ""))

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return str(self.content.get("metadata", {}).get("name", ""))

    @property
    def namespace(self) -> str:
        """`metadata.namespace`, empty when the object leaves it to the release or has none."""
        return str(self.content.get("metadata", {}).get("namespace") or "")

    @property
    def chart(self) -> str:
        """Name of the chart that owns the template; of an object without one, its file."""
        return _INSIDE_CHART.split(self.template, maxsplit=1)[0].rsplit("/", maxsplit=1)[-1]

    @property
    def identity(self) -> str:
        """`Kind/name`, or `Kind/namespace/name`."""
        return "/".join(part for part in (self.kind, self.namespace, self.name) if part)


def objects_of(content: Mapping[str, Any], text: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """The object of a document, or those of a list, of which each gets a text of its own."""
    if content.get("apiVersion") == "v1" and content.get("kind") == "List":
        for item in content.get("items") or ():
            yield from objects_of(item, yaml.safe_dump(item, sort_keys=False))
    else:
        yield content, text


def parse_manifests(rendered: str) -> tuple[Manifest, ...]:
    """Split what `helm template` printed, in a stable order (template, then kind, namespace and name)."""
    manifests = []
    for document in _DOCUMENT.split(rendered):
        source = _SOURCE.search(document)
        content = load_yaml(document) if document.strip() else None
        if source and isinstance(content, dict):
            text = document.strip("\n") + "\n"
            manifests += [Manifest(source.group(1), each, own) for each, own in objects_of(content, text)]
    return tuple(sorted(manifests, key=lambda each: (each.template, each.kind, each.namespace, each.name)))


def kinds_of_the_cluster(manifests: Iterable[Manifest]) -> frozenset[str]:
    """Kinds without a namespace that definitions among the objects make."""
    specs = (each.content.get("spec") or {} for each in manifests if each.kind == CRD)
    return frozenset(str((spec.get("names") or {}).get("kind")) for spec in specs if spec.get("scope") == "Cluster")


def in_namespace(manifest: Manifest, namespace: str, cluster_scoped: Collection[str] = CLUSTER_SCOPED) -> Manifest:
    """The object with the namespace that an install gives it where it names none."""
    if manifest.namespace or manifest.kind in cluster_scoped:
        return manifest
    metadata = {**(manifest.content.get("metadata") or {}), "namespace": namespace}
    return replace(manifest, content={**manifest.content, "metadata": metadata})
