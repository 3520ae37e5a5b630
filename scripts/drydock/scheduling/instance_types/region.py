"""The instance types of a region, indexed by label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drydock.scheduling.instance_types.facts import InstanceFacts, load_facts
from drydock.scheduling.instance_types.labels import EC2_PREFIX, Values, label_reader

TypesByValue = Mapping[str | None, frozenset[str]]
"""Names of the types that may carry each value of a label; under None, those that never carry the label."""


@dataclass(frozen=True)
class Catalogue:
    """Instance types by name.

    Attributes:
        region: that offers them.
        types: facts by name.
    """

    region: str
    types: Mapping[str, InstanceFacts]
    _indices: dict[tuple[str, str], TypesByValue | None] = field(default_factory=dict, compare=False, repr=False)

    def by_value(self, label: str, prefix: str = EC2_PREFIX) -> TypesByValue | None:
        """The types by their value of a label, None for a label that says nothing of the type.

        Args:
            label: its full name.
            prefix: domain of the instance labels, Karpenter's own or EKS Auto Mode's.
        """
        key = (prefix, label)
        if key not in self._indices:
            self._indices[key] = self._index(label, prefix)
        return self._indices[key]

    def values(self, name: str, label: str, prefix: str = EC2_PREFIX) -> Values:
        """Values that a node of a type may have for a label."""
        reader = label_reader(label, prefix)
        return reader(self.types[name]) if reader else frozenset()

    def _index(self, label: str, prefix: str) -> TypesByValue | None:
        reader = label_reader(label, prefix)
        if reader is None:
            return None
        names: dict[str | None, set[str]] = {}
        for name, facts in self.types.items():
            for value in reader(facts) or (None,):
                names.setdefault(value, set()).add(name)
        return {value: frozenset(members) for value, members in names.items()}


def load_catalogue(cache_dir: Path, region: str) -> Catalogue:
    """The instance types that a region offers.

    Raises:
        DrydockError: the region is unknown.
    """
    return Catalogue(region, {facts.name: facts for facts in load_facts(cache_dir, region)})
