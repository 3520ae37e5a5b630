"""What EKS Auto Mode launches, and the labels that its pods may ask for (data/auto-mode.yaml)."""

from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file
from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.instance_types.labels import AUTO_MODE_PREFIX, UPSTREAM_WELL_KNOWN, WINDOWS_BUILD

DEFAULT_STORAGE = "80Gi"
"""Default of `ephemeralStorage.size` in Auto Mode's NodeClass."""

_DATA = Path(__file__).parents[2] / "data" / "auto-mode.yaml"


def launches(facts: InstanceFacts) -> bool:
    """Whether Auto Mode ever buys the type."""
    family, _, size = facts.name.partition(".")
    data = _data()
    return family in data["families"] and size not in data["too_small"] and facts.vcpus > 1


def well_known_labels() -> frozenset[str]:
    """Labels that a pod may ask for although no pool names them."""
    own = {AUTO_MODE_PREFIX + name for name in _data()["instance_labels"]}
    return (UPSTREAM_WELL_KNOWN - {WINDOWS_BUILD}) | own


@lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    content = load_yaml_file(_DATA)
    return {**content, "families": frozenset(chain.from_iterable(content["families"]))}
