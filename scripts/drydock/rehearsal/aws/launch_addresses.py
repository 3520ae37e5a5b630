"""What nodes take of the addresses that are free in a zone's subnets, and what EC2 says once there are too few."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from drydock.rehearsal.aws.launch_quotas import Refusal
from drydock.suite.account_snapshot import NODE_ADDRESSES


@dataclass
class Addresses:
    """Counts the nodes of each zone against its addresses.

    Attributes:
        free: addresses by zone, before any node; a zone without an entry has enough.
        nodes: that are there, by zone.
    """

    free: Mapping[str, int] = field(default_factory=dict)
    nodes: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, zone: str, count: int) -> tuple[int, Refusal | None]:
        """Launch up to so many nodes; how many may run, and why not all."""
        with self._lock:
            granted = max(0, min(count, self._room(zone, count)))
            self.nodes[zone] += granted
        return granted, self.refusal(zone) if granted < count else None

    def give_back(self, zone: str, count: int = 1) -> None:
        """Nodes have ended, or were not launched for another reason."""
        with self._lock:
            self.nodes[zone] -= count

    def refusal(self, zone: str) -> Refusal | None:
        """What EC2 says to one more node; None when it may run."""
        if self._room(zone, 1) > 0:
            return None
        left = self.free[zone] - self.nodes[zone] * NODE_ADDRESSES
        return Refusal(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in the subnets of {zone} for the requested number of instances: "
            f"{left} are left of {self.free[zone]}, and a node takes {NODE_ADDRESSES}",
        )

    def _room(self, zone: str, wanted: int) -> int:
        if zone not in self.free:
            return wanted
        return self.free[zone] // NODE_ADDRESSES - self.nodes[zone]
