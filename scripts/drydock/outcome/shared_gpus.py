"""Shared GPUs: what the device plugin of a node was configured with, and whether shares are on their way."""

from collections.abc import Iterable, Mapping
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.clusters.objects import condition, is_true, labels_of
from drydock.outcome.karpenter_pools import since
from drydock.outcome.observe import Scene
from drydock.scheduling.gpu_sharing import WHOLE, Sharing, config_entry, parse_sharing

_NVIDIA = "nvidia.com/"
_PLUGIN_FOLDER = "/var/lib/kubelet/device-plugins"
_PLUGIN_HINT = "nvidia"
"""Part of the name of the plugin's image."""
_LABEL = "nvidia.com/device-plugin.config"
_MARGIN_SECONDS = 1.0  # moments of conditions are whole seconds


def read_sharing(api: Api, plugin: Mapping[str, Any], labels: Mapping[str, str]) -> Sharing:
    """What a pod of the plugin reads about its node, which has these labels."""
    entry = config_entry(plugin["spec"], labels)
    if entry is None:
        return WHOLE
    found = api.find(f"{collection('v1', 'configmaps', plugin['metadata']['namespace'])}/{entry[0]}") or {}
    return parse_sharing((found.get("data") or {}).get(entry[1], ""))


def shares_to_come(scene: Scene, pod: Mapping[str, Any], moment: float, placed: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a pod may yet get a share that Karpenter did not know of at a moment.

    A node whose plugin shares its GPUs was on its way then, or is to be bought for a pod that was placed then:
    Karpenter reports what it could not place before it makes the claims of the same round.

    Args:
        scene: every object.
        pod: could not be placed.
        moment: when Karpenter began that round, as Unix time.
        placed: pods without a node that it has not refused since.
    """
    if not _wants_gpus(pod):
        return False
    on_its_way = any(
        not is_true(claim, "Initialized") or since(condition(claim, "Initialized")) >= moment - _MARGIN_SECONDS
        for claim in scene.of("NodeClaim")
        if _LABEL in labels_of(claim)
    )
    return on_its_way or (
        any(_LABEL in labels_of({"metadata": {}, **pool["spec"]["template"]}) for pool in scene.of("NodePool"))
        and any(_wants_gpus(item) for item in placed)
    )


def registers_gpus(pod: Mapping[str, Any]) -> bool:
    """Whether a pod is the device plugin for GPUs."""
    return _PLUGIN_HINT in plugin_image(pod)


def plugin_image(pod: Mapping[str, Any]) -> str:
    """Images of a pod that can register devices with its kubelet; empty for any other pod."""
    folders = {(volume.get("hostPath") or {}).get("path", "").rstrip("/") for volume in pod["spec"].get("volumes", [])}
    return " ".join(container["image"] for container in pod["spec"]["containers"]) if _PLUGIN_FOLDER in folders else ""


def _wants_gpus(pod: Mapping[str, Any]) -> bool:
    containers = pod["spec"]["containers"]
    return any(
        name.startswith(_NVIDIA)
        for container in containers
        for name in container.get("resources", {}).get("limits", {})
    )
