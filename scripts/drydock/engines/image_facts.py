"""Image references, and what is known of large images: `data/images.yaml`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from drydock.documents import load_yaml_file

_DATA = Path(__file__).parents[1] / "data" / "images.yaml"
_REFERENCE = re.compile(r"(?P<name>[^@]+?)(?::(?P<tag>[^:/@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?")
_MUTABLE = re.compile(
    r"(?:latest|main|master|head|edge|nightly|dev|develop|stable|rolling|canary)(?:[-_.].*)?", re.IGNORECASE
)


@dataclass(frozen=True)
class ImageReference:
    """An image reference in its parts; empty where it leaves one out."""

    name: str
    tag: str
    digest: str

    @property
    def is_pinned(self) -> bool:
        """Whether it means the same image tomorrow, as far as tags show."""
        return bool(self.digest) or (bool(self.tag) and not _MUTABLE.fullmatch(self.tag))


@dataclass(frozen=True)
class ImageFacts:
    """Size of an image in GiB, as sent and as unpacked, and the architectures it exists for."""

    compressed: float
    unpacked: float
    architectures: tuple[str, ...]


@dataclass(frozen=True)
class KnownImages:
    """Facts by the end of a repository's name."""

    images: Mapping[str, ImageFacts]

    def of(self, image: str) -> ImageFacts | None:
        """What is known of an image, from whatever registry it comes."""
        name = f"/{parse_reference(image).name}"
        return next((facts for ending, facts in self.images.items() if name.endswith(f"/{ending}")), None)


def parse_reference(image: str) -> ImageReference:
    """Take an image reference apart."""
    match = _REFERENCE.fullmatch(image)
    if match is None:
        return ImageReference(image, "", "")
    return ImageReference(match["name"], match["tag"] or "", match["digest"] or "")


@lru_cache(maxsize=1)
def load_image_facts() -> KnownImages:
    """What is known of large images."""
    images = load_yaml_file(_DATA)["images"]
    return KnownImages(
        {
            ending: ImageFacts(float(facts["compressed"]), float(facts["unpacked"]), tuple(facts["architectures"]))
            for ending, facts in images.items()
        }
    )
