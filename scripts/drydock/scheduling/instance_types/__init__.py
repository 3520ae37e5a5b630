"""EC2's instance types as Karpenter sees them: labels, capacity and what pods may use of it."""

from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.instance_types.region import Catalogue, load_catalogue
from drydock.scheduling.instance_types.resources import NodeSettings, allocatable, capacity

__all__ = ["Catalogue", "InstanceFacts", "NodeSettings", "allocatable", "capacity", "load_catalogue"]
