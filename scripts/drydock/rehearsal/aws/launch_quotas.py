"""What instances use of an account's quotas of vCPUs, and what EC2 says once one is used up."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from drydock.suite.ec2_quotas import Quota, quota_of


@dataclass(frozen=True)
class Refusal:
    """An error of EC2: its code, and its message with the quota behind it."""

    code: str
    message: str


@dataclass
class Vcpus:
    """Counts vCPUs against quotas.

    Attributes:
        limits: vCPUs by code of the quota; a quota without an entry is not enforced.
        used: vCPUs of running instances by code.
        expected: launches in capacity reservations that are to come, by type and zone. The reservation itself counts,
            and what runs in it does not, but Karpenter asks for it as for any on-demand instance.
    """

    limits: Mapping[str, int] = field(default_factory=dict)
    used: Counter[str] = field(default_factory=Counter)
    expected: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def expect_reserved(self, instance_type: str, zone: str) -> None:
        """The next on-demand launch of this type in this zone is one in a reservation."""
        with self._lock:
            self.expected[instance_type, zone] += 1

    def take(self, instance_type: str, capacity_type: str, zone: str, count: int) -> tuple[int, Refusal | None]:
        """Launch up to so many instances; how many may run, and why not all."""
        quota = quota_of(instance_type, capacity_type)
        if quota is None:
            return count, None
        vcpus = _vcpus(instance_type)
        with self._lock:
            reserved = min(count, self.expected[instance_type, zone]) if capacity_type == "on-demand" else 0
            self.expected[instance_type, zone] -= reserved
            counted = count - reserved
            if quota.code in self.limits:
                counted = max(0, min(counted, (self.limits[quota.code] - self.used[quota.code]) // vcpus))
            self.used[quota.code] += counted * vcpus
            granted = reserved + counted
        return granted, self._refusal(quota, capacity_type) if granted < count else None

    def give_back(self, instance_type: str, capacity_type: str) -> None:
        """An instance has ended."""
        quota = quota_of(instance_type, capacity_type)
        if quota:
            with self._lock:
                self.used[quota.code] -= _vcpus(instance_type)

    def refusal(self, instance_type: str, capacity_type: str) -> Refusal | None:
        """What EC2 says to one more instance; None when it may run."""
        quota = quota_of(instance_type, capacity_type)
        if quota is None or quota.code not in self.limits:
            return None
        fits = self.used[quota.code] + _vcpus(instance_type) <= self.limits[quota.code]
        return None if fits else self._refusal(quota, capacity_type)

    def _refusal(self, quota: Quota, capacity_type: str) -> Refusal:
        limit = self.limits[quota.code]
        behind = f"{quota.name} ({quota.code}): {limit} vCPUs, {self.used[quota.code]} in use"
        if capacity_type == "spot":
            return Refusal("MaxSpotInstanceCountExceeded", f"Max spot instance count exceeded. {behind}")
        asked = f"You have requested more vCPU capacity than your current vCPU limit of {limit} allows"
        return Refusal("VcpuLimitExceeded", f"{asked}. {behind}")


def _vcpus(instance_type: str) -> int:
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    return int(INSTANCE_TYPES[instance_type]["VCpuInfo"]["DefaultVCpus"])
