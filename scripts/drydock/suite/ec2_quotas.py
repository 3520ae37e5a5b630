"""EC2's quotas of vCPUs by family of instances (data/ec2-quotas.yaml)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file

_FILE = Path(__file__).parents[1] / "data" / "ec2-quotas.yaml"
_MARKETS = {"on-demand": "onDemand", "spot": "spot"}


@dataclass(frozen=True)
class Quota:
    """How many vCPUs of a family an account may run in a Region.

    Attributes:
        code: of Service Quotas, such as `L-DB2E81BA`.
        name: as Service Quotas has it.
        default: vCPUs of a new account.
        key: under `account.quotas` of an environment's file, such as `onDemand.G`.
    """

    code: str
    name: str
    default: int
    key: str


def quota_of(instance_type: str, capacity_type: str) -> Quota | None:
    """The quota that an instance counts against; None where no quota of vCPUs applies.

    Args:
        instance_type: such as `g6.xlarge`.
        capacity_type: `on-demand`, `spot` or `reserved`, as Karpenter spells it.
    """
    prefix = re.match(r"[a-z]*", instance_type)
    return _by_prefix().get((prefix[0] if prefix else "", capacity_type))


def quotas_by_code(stated: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """VCPUs by code, from `account.quotas` of an environment's file.

    Args:
        stated: vCPUs by `onDemand` or `spot`, then by family.
    """
    families = _content()["families"]
    return {
        families[name][market]["code"]: value
        for market, by_family in stated.items()
        for name, value in by_family.items()
    }


def default_quotas() -> dict[str, int]:
    """VCPUs of a new account by code, of all of them."""
    return {quota.code: quota.default for quota in _by_prefix().values()}


@cache
def _by_prefix() -> Mapping[tuple[str, str], Quota]:
    return {
        (prefix, market): Quota(quota["code"], quota["name"], quota["default"], f"{key}.{family}")
        for family, content in _content()["families"].items()
        for market, key in _MARKETS.items()
        if (quota := content.get(key))
        for prefix in content["prefixes"]
    }


@cache
def _content() -> Any:
    return load_yaml_file(_FILE)
