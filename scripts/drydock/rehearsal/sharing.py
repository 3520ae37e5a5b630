"""Shared GPUs: what the device plugin of a node was told, and whether shares are on their way."""

from collections.abc import Mapping
from typing import Any

from drydock.checks.scheduling.sharing import WHOLE, Sharing, config_entry, parse_sharing
from drydock.rehearsal.api import Api, collection
from drydock.rehearsal.objects import condition, is_true, labels_of
from drydock.rehearsal.observe import Scene
from drydock.rehearsal.pools import since

_NVIDIA = "nvidia.com/"
_LABEL = "nvidia.com/device-plugin.config"
_MARGIN_SECONDS = 1.0  # moments of conditions are whole seconds


def read_sharing(api: Api, plugin: Mapping[str, Any], labels: Mapping[str, str]) -> Sharing:
    """What a pod of the plugin was told about its node, which has these labels."""
    entry = config_entry(plugin["spec"], labels)
    if entry is None:
        return WHOLE
    found = api.find(f"{collection('v1', 'configmaps', plugin['metadata']['namespace'])}/{entry[0]}") or {}
    return parse_sharing((found.get("data") or {}).get(entry[1], ""))


def shares_to_come(scene: Scene, pod: Mapping[str, Any], moment: float) -> bool:
    """Whether a node was on its way at a moment that may have more shares for a pod than Karpenter knows of."""
    wanted = {name for each in pod["spec"]["containers"] for name in (each.get("resources") or {}).get("limits") or {}}
    return any(name.startswith(_NVIDIA) for name in wanted) and any(
        _LABEL in labels_of(claim)
        and (not is_true(claim, "Initialized") or since(condition(claim, "Initialized")) >= moment - _MARGIN_SECONDS)
        for claim in scene.of("NodeClaim")
    )
