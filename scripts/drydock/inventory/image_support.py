"""Until when the makers of images keep their releases up: `data/image-support.yaml`."""

import re
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file
from drydock.engines.image_facts import parse_reference

_DATA = Path(__file__).resolve().parents[1] / "data" / "image-support.yaml"


def supported_until(image: str) -> date | None:
    """Last day on which the maker keeps this release of an image up; None where the data has none.

    Args:
        image: a reference, from any registry.
    """
    reference = parse_reference(image)
    numbers = re.match(r"v?(\d+(?:\.\d+)*)", reference.tag)
    if numbers is None:
        return None
    for ending, releases in _releases().items():
        if f"/{reference.name}".endswith(f"/{ending}"):
            return next((end for start, end in releases.items() if f"{numbers[1]}.".startswith(f"{start}.")), None)
    return None


@lru_cache(maxsize=1)
def _releases() -> Any:
    return load_yaml_file(_DATA)["images"]
