"""Kubernetes quantities as plain integers.

The `kubernetes` package has a parser too, but importing it takes longer than a whole validation.
"""

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:[eE]([+-]?[0-9]+)|(Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|))"
)
_SUFFIXES = {"": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18, "m": -3, "u": -6, "n": -9}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}

Resources = Mapping[str, int]
"""Amounts by resource name: `cpu` in millicores, everything else in its base unit (bytes, devices, pods)."""

GIB = 1024**3

_LARGEST = Decimal(2**63 - 1)
_TELLING_EXPONENT = 60
"""A number with a larger exponent is beyond the largest quantity, or too small to count."""


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Decimal:
    """The value of a quantity such as `1500m`, `16Gi` or `2e3`, at most 2^63 - 1 as the API server keeps it.

    Source: k8s.io/apimachinery v0.36, pkg/api/resource/quantity.go, ParseQuantity.

    Raises:
        ValueError: the text is not a quantity.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"not a Kubernetes quantity: {text!r}")
    digits, exponent, suffix = match.groups()
    number = Decimal(digits)
    if exponent:
        tens = _clamped(exponent)
        value = number.scaleb(tens) if number else number
    elif suffix in _BINARY:
        value = number * Decimal(1024 ** _BINARY[suffix])
    else:
        value = number.scaleb(_SUFFIXES[suffix])
    return min(max(value, -_LARGEST), _LARGEST)


def _clamped(exponent: str) -> int:
    """An exponent as a number; more than a few digits of it say no more than that it is large."""
    magnitude = exponent.lstrip("+-").lstrip("0")[:4] or "0"
    number = min(int(magnitude), _TELLING_EXPONENT)
    return -number if exponent.startswith("-") else number


def amount(resource: str, quantity: object) -> int:
    """A quantity of a resource in the unit of `Resources`, rounded up as the API server does."""
    value = parse_quantity(str(quantity))
    return math.ceil(value * 1000) if resource == "cpu" else math.ceil(value)


def amounts(quantities: Mapping[str, object] | None) -> dict[str, int]:
    """A map of resources as it stands in a manifest, in the units of `Resources`."""
    return {name: amount(name, quantity) for name, quantity in (quantities or {}).items()}


def add(*parts: Resources) -> dict[str, int]:
    """The sum of several resource maps."""
    total: dict[str, int] = {}
    for part in parts:
        for name, value in part.items():
            total[name] = total.get(name, 0) + value
    return total


def describe(resource: str, value: int) -> str:
    """An amount as people write it: `3.92 cpu`, `15.5 GiB memory`, `8 nvidia.com/gpu`."""
    if resource == "cpu":
        return f"{value / 1000:g} cpu"
    if resource in ("memory", "ephemeral-storage"):
        return f"{value / GIB:.4g} GiB {resource}"
    return f"{value} {resource}"
