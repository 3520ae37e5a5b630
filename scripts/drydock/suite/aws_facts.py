"""Facts of AWS that change with time, from data files with source and date."""

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file

_DATA = Path(__file__).parents[1] / "data"
_SOON = datetime.timedelta(days=60)


@dataclass(frozen=True)
class KubernetesSupport:
    """How long EKS supports a Kubernetes version.

    Attributes:
        version: minor, such as `1.36`.
        standard, extended: last days of support; None where the data has none.
    """

    version: str
    standard: datetime.date | None
    extended: datetime.date | None

    def dollars_per_hour(self, today: datetime.date) -> float:
        """What the control plane costs on a day."""
        prices: Mapping[str, float] = _read("eks-versions.yaml")["dollars_per_hour"]
        return prices["extended" if self.standard and today >= self.standard else "standard"]

    def warning(self, today: datetime.date) -> str:
        """What is to be known about the version on a day, as a sentence; empty when nothing is."""
        if self.extended and today >= self.extended:
            return f"EKS has ended all support for Kubernetes {self.version} on {self.extended}"
        if self.standard and today >= self.standard:
            return f"standard support for Kubernetes {self.version} on EKS has ended on {self.standard}"
        if self.standard and today >= self.standard - _SOON:
            return f"standard support for Kubernetes {self.version} on EKS ends on {self.standard}"
        return ""


def kubernetes_support(version: str) -> KubernetesSupport | None:
    """Support of a minor version; None for one that the data does not know."""
    found = _read("eks-versions.yaml")["versions"].get(version)
    return KubernetesSupport(version, found["standard"], found["extended"]) if found else None


def supported_versions(today: datetime.date) -> tuple[str, ...]:
    """Minor versions that EKS supports on a day, standard or extended, the newest first."""
    known: Mapping[str, Any] = _read("eks-versions.yaml")["versions"]
    return tuple(name for name, each in known.items() if each["extended"] is None or today < each["extended"])


@dataclass(frozen=True)
class AmiRelease:
    """What is known of a pinned release of the EKS optimized AMIs for Amazon Linux 2023.

    Attributes:
        missing: why it cannot be launched; empty when it can, or when that is not known.
        note: what is not known of it.
    """

    missing: str = ""
    note: str = ""


def ami_release(release: str, kubernetes: str) -> AmiRelease:
    """Look a release up.

    Args:
        release: such as `v20260714`.
        kubernetes: minor version of the cluster.
    """
    data = _read("ami-releases.yaml")
    known: Mapping[str, list[str] | None] = data["al2023"]
    newest, oldest = next(iter(known)), list(known)[-1]
    if release > newest:
        return AmiRelease(note=f"release {release} is newer than the list of {data['read']}, which ends with {newest}")
    if release < oldest:
        return AmiRelease(note=f"release {release} is older than the list, which begins with {oldest}")
    if release in data["abandoned"]:
        return AmiRelease(missing=f"release {release} was withdrawn")
    if release not in known:
        near = ", ".join(sorted(known, key=lambda each: abs(int(each[1:]) - int(release[1:])))[:2])
        return AmiRelease(missing=f"there is no release {release} of the EKS optimized AMIs; near it are {near}")
    versions = known[release]
    if versions and not _minor(versions[0]) <= _minor(kubernetes) <= _minor(versions[-1]):
        return AmiRelease(missing=f"release {release} has images for Kubernetes {versions[0]} to {versions[-1]}")
    return AmiRelease()


def _minor(version: str) -> int:
    return int(version.partition(".")[2])


@cache
def _read(name: str) -> Mapping[str, Any]:
    content: Mapping[str, Any] = load_yaml_file(_DATA / name)
    return content
