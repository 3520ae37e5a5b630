"""NVIDIA drivers of nodes against the CUDA of images: `data/nvidia-drivers.yaml`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file
from drydock.engines.image_facts import parse_reference

_DATA = Path(__file__).parents[1] / "data" / "nvidia-drivers.yaml"
_NAMED = re.compile(r"(?:^|[-._+])(?:cuda|cu)-?(\d{2})\.?(\d{1,2})(?![\d])")
_RELEASE = re.compile(r"v?(\d+(?:\.\d+)+)")
_LATEST = "latest"
_FORWARD = "VLLM_ENABLE_CUDA_COMPATIBILITY"


@dataclass(frozen=True)
class Driver:
    """The driver of a node.

    Attributes:
        version: such as `580.126.09`.
        assumed: the AMI is newer than the list, which gives the driver of the newest one in it.
    """

    version: str
    assumed: bool = False


@dataclass(frozen=True)
class Obstacle:
    """Why a container finds no usable GPU on a node.

    Attributes:
        reason: a clause, without a full stop.
        remedy: a sentence.
        certain: false where the driver is assumed, or forward compatibility may bridge it.
        of_family: whatever the image, the driver does not know the GPUs.
    """

    reason: str
    remedy: str
    certain: bool = True
    of_family: bool = False


def obstacle(image: str, family: str, alias: str, kubernetes: str, *, forward: bool = False) -> Obstacle | None:
    """What keeps an image's programs from the GPUs of a node; None where nothing does, as far as is known.

    Args:
        image: reference of the container's image.
        family: instance family of the node, such as `g6`.
        alias: of its AMI, see `driver_of`; empty where it is named in another way.
        kubernetes: minor version of the cluster.
        forward: NVIDIA's forward-compatible user-mode driver is asked for.
    """
    cuda = cuda_of(image)
    if cuda and lacks_code_for(cuda, family):
        return Obstacle(
            f"{image} is built for CUDA {cuda}, which has no code for the GPUs of {family}",
            "Leave that family out (instanceFamilies, gpuNames), or take an image of CUDA 12.",
        )
    driver = driver_of(alias, kubernetes)
    if driver is None:
        return None
    there = f"and {alias} has {driver.version} for Kubernetes {kubernetes}"
    doubt = ", or a newer one that is not in the list" if driver.assumed else ""
    by_cuda = oldest_driver(cuda) if cuda else ""
    if by_cuda and numbers(driver.version) < numbers(by_cuda):
        other = ", or take an image of CUDA 12 (vLLM has tags with -cu129)" if numbers(cuda) >= (13,) else ""
        bridge = "; forward compatibility may bridge it where the image has the libraries" if forward else ""
        return Obstacle(
            f"CUDA {cuda} of {image} needs the NVIDIA driver {by_cuda} or later, {there}{doubt}{bridge}",
            f"{_pin(alias, kubernetes, by_cuda)}{other}.",
            certain=not (forward or driver.assumed),
        )
    by_family = family_driver(family)
    if by_family and numbers(driver.version) < numbers(by_family):
        return Obstacle(
            f"{family} needs the NVIDIA driver {by_family} or later, {there}{doubt}",
            f"{_pin(alias, kubernetes, by_family)}, or leave the family out (instanceFamilies, gpuNames).",
            certain=not driver.assumed,
            of_family=True,
        )
    return None


def forward_compatible(container: Mapping[str, Any]) -> bool:
    """Whether vLLM is to load NVIDIA's forward-compatible user-mode driver (vllm/env_override.py)."""
    values = {str(variable.get("name")): str(variable.get("value", "")) for variable in container.get("env") or ()}
    return values.get(_FORWARD, "0").lower() in ("1", "true")


def _pin(alias: str, kubernetes: str, driver: str) -> str:
    release = first_release(alias.partition("@")[0], kubernetes, driver)
    return f"Set amiVersion to latest or {release} or later" if release else "Take an AMI with that driver"


def driver_of(alias: str, kubernetes: str) -> Driver | None:
    """The driver of an AMI; None where it is not known.

    Args:
        alias: of the AMI, such as `al2023@v20260714` or `bottlerocket@latest`.
        kubernetes: minor version of the cluster.
    """
    family, _, release = alias.lower().partition("@")
    changes = _data().get(family) if family in ("al2023", "bottlerocket") else None
    if not changes or not release:
        return None
    for change in reversed(changes):
        oldest, newest = change["kubernetes"]
        among = numbers(oldest) <= numbers(kubernetes) <= numbers(newest)
        if among and (release == _LATEST or numbers(str(change["from"])) <= numbers(release)):
            newer = release == _LATEST or numbers(release) > numbers(str(_data()["newest"][family]))
            return Driver(str(change["driver"]), assumed=newer)
    return None


def first_release(family: str, kubernetes: str, driver: str) -> str:
    """The first AMI release of a family with that driver or a newer one; empty where the list has none."""
    for change in _data().get(family.lower()) or ():
        oldest, newest = change["kubernetes"]
        among = numbers(oldest) <= numbers(kubernetes) <= numbers(newest)
        if among and numbers(str(change["driver"])) >= numbers(driver):
            return str(change["from"])
    return ""


def cuda_of(image: str) -> str:
    """The CUDA release of an image, such as `12.9`; empty where it is not known."""
    reference = parse_reference(image)
    named = _NAMED.search(reference.tag.lower())
    if named:
        return f"{named[1]}.{named[2]}"
    found = _RELEASE.match(reference.tag)
    name = f"/{reference.name}"
    for ending, releases in _data()["images"].items():
        if name.endswith(f"/{ending}") and found:
            if not releases:
                return ".".join(found[1].split(".")[:2])
            known = [str(cuda) for release, cuda in releases.items() if numbers(str(release)) <= numbers(found[1])]
            return known[-1] if known else ""
    return ""


def oldest_driver(cuda: str) -> str:
    """The oldest driver on which programs of a CUDA release run; empty where it is not known."""
    facts = _data()["cuda"].get(int(cuda.partition(".")[0]))
    return str(facts["driver"]) if facts else ""


def lacks_code_for(cuda: str, family: str) -> bool:
    """Whether a CUDA release has no code for the GPUs of an instance family."""
    facts = _data()["cuda"].get(int(cuda.partition(".")[0]))
    return bool(facts) and family in facts["without"]


def family_driver(family: str) -> str:
    """The oldest driver branch that knows the GPUs of an instance family; empty where every one does."""
    return str(_data()["families"].get(family, ""))


def numbers(version: str) -> tuple[int, ...]:
    """A version for comparison."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


@cache
def _data() -> Mapping[str, Any]:
    content: Mapping[str, Any] = load_yaml_file(_DATA)
    return content
