"""How NVIDIA's device plugin shares a node's GPUs, as its configuration says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.documents import load_yaml_leniently
from drydock.suite.manifests import Manifest

GPU = "nvidia.com/gpu"
_SLICES = "nvidia.com/mig-"
_SHARED = ".shared"
_COUNT = "karpenter.k8s.aws/instance-gpu-count"


@dataclass(frozen=True)
class Sharing:
    """The plugin's configuration for one node.

    Attributes:
        replicas: pods on each device, by resource.
        renamed: resources that are called otherwise when shared.
    """

    replicas: Mapping[str, int]
    renamed: frozenset[str] = frozenset()

    def pods_on(self, resource: str) -> int:
        """Pods that one device takes which ask for it by its own name."""
        return 1 if resource in self.renamed else self.replicas.get(resource, 1)

    def registered(self, claimed: Mapping[str, str], labels: Mapping[str, str]) -> dict[str, str]:
        """What the plugin registers.

        Args:
            claimed: resources as the NodeClaim has them, in which NodeOverlays may have had their say: slices (MIG) are
                taken from there, since how a GPU is cut is the node's own business.
            labels: of the node, which include the number of its GPUs.
        """
        devices = {name: int(amount) for name, amount in claimed.items() if name.startswith(_SLICES)}
        devices[GPU] = 0 if devices else int(labels.get(_COUNT) or claimed.get(GPU, "0"))
        shared = {f"{name}{_SHARED}" if name in self.renamed else name: 0 for name in devices}
        for name, count in devices.items():
            shared[f"{name}{_SHARED}" if name in self.renamed else name] += count * self.replicas.get(name, 1)
        return {name: str(count) for name, count in ({GPU: 0} | shared).items()}


WHOLE = Sharing({})


def sharing_of(manifests: Sequence[Manifest], labels: Mapping[str, str]) -> Sharing:
    """How the plugin among the objects of an environment shares the GPUs of nodes with these labels."""
    data = {
        rendered_object.name: rendered_object.content.get("data") or {}
        for rendered_object in manifests
        if rendered_object.kind == "ConfigMap"
    }
    for manifest in manifests:
        template = (manifest.content.get("spec") or {}).get("template") or {}
        if manifest.kind == "DaemonSet" and (entry := config_entry(template.get("spec") or {}, labels)):
            return parse_sharing(data.get(entry[0], {}).get(entry[1], ""))
    return WHOLE


def config_entry(plugin: Mapping[str, Any], labels: Mapping[str, str]) -> tuple[str, str] | None:
    """Name of the ConfigMap, and the key in it, that the plugin takes on a node; None for any other pod.

    Args:
        plugin: spec of its pod, with the configuration manager that NVIDIA's image brings.
        labels: of the node, one of which names the key.
    """
    for container in plugin.get("containers") or ():
        variables = {variable["name"]: variable.get("value", "") for variable in container.get("env") or ()}
        if "CONFIG_FILE_SRCDIR" in variables:
            entry = labels.get(variables.get("NODE_LABEL", "")) or variables.get("DEFAULT_CONFIG", "")
            return _config_map(plugin, container, variables["CONFIG_FILE_SRCDIR"]), entry
    return None


def parse_sharing(text: str) -> Sharing:
    """One file of the plugin's configuration."""
    content = load_yaml_leniently(text)
    entries = list(_entries(content)) if isinstance(content, dict) else []
    replicas = {name: count for name, count, _ in entries}
    return Sharing(replicas, frozenset(name for name, _, renamed in entries if renamed))


def _config_map(pod: Mapping[str, Any], container: Mapping[str, Any], path: str) -> str:
    """Name of the ConfigMap that is mounted at a path of a container."""
    mounts: Sequence[Mapping[str, Any]] = container.get("volumeMounts") or ()
    volume = next((mount["name"] for mount in mounts if mount["mountPath"] == path), "")
    volumes = {pod_volume["name"]: pod_volume for pod_volume in pod.get("volumes") or ()}
    return str((volumes.get(volume, {}).get("configMap") or {}).get("name", ""))


def _entries(config: Mapping[str, Any]) -> Iterator[tuple[str, int, bool]]:
    for way in ("timeSlicing", "mps"):
        shared = (config.get("sharing") or {}).get(way) or {}
        for resource in shared.get("resources") or ():
            replicas = resource.get("replicas", 1)  # what is not a number the plugin itself refuses
            yield (
                str(resource.get("name")),
                replicas if isinstance(replicas, int) else 1,
                bool(shared.get("renameByDefault")),
            )
