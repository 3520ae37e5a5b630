"""EC2's instance types as Karpenter sees them: labels, capacity and what pods may use of it."""

from drydock.instance_types.catalogue import Catalogue, load_catalogue
from drydock.instance_types.facts import InstanceFacts
from drydock.instance_types.resources import NodeSettings, allocatable, capacity

__all__ = ["Catalogue", "InstanceFacts", "NodeSettings", "allocatable", "capacity", "load_catalogue"]
