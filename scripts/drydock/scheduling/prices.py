"""Prices of instance types: the list of on-demand prices that the pinned Karpenter carries, and nothing invented.

`plan`, `rehearse` and `deploy` all take them from here. The list has one or two regions for each partition of AWS,
which stand in for the others. Prices of spot capacity and of contracts are not known here: they are shares of the
on-demand price, which the user sets and every output names.
"""

import hashlib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from drydock.errors import DrydockError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drydock.progress import Progress
    from drydock.project import Project

CapacityType = Literal["on-demand", "spot", "reserved"]
CAPACITY_TYPES: tuple[CapacityType, ...] = ("on-demand", "spot", "reserved")

DEFAULT_SPOT_SHARE = 0.5
"""Of the on-demand price; an assumption."""

DEFAULT_RESERVED_SHARE = 1.0
"""Of the on-demand price: what an On-Demand Capacity Reservation costs, used or not. Savings Plans lower it."""

_REGION = re.compile(r'^\t"([a-z0-9-]+)": \{$(.*?)^\t\},$', re.MULTILINE | re.DOTALL)
_PRICE = re.compile(r'"([a-z0-9-]+\.[a-z0-9-]+)": ([0-9.]+)')
_GENERATED = re.compile(r"^// generated at (\d{4}-\d{2}-\d{2})", re.MULTILINE)
_PARTITIONS = {"cn-": "cn-north-1", "us-gov-": "us-gov-west-1"}
_COMMERCIAL = "us-east-1"
_KEY_LENGTH = 12
_FORMAT = 2
"""Of the file in the cache."""


@dataclass(frozen=True)
class Prices:
    """On-demand dollars (yuan in China) an hour by instance type.

    Attributes:
        region: whose prices they are, which may stand in for another of its partition.
        generated: day on which Karpenter's list was made.
        source: the module that has it, with its version.
        spot_share, reserved_share: of the on-demand price.
    """

    on_demand: "Mapping[str, float]"
    region: str
    generated: str
    source: str
    spot_share: float = DEFAULT_SPOT_SHARE
    reserved_share: float = DEFAULT_RESERVED_SHARE

    def hourly(self, instance_type: str, capacity_type: CapacityType = "on-demand") -> float | None:
        """Of one node, None where Karpenter's list has no price."""
        price = self.on_demand.get(instance_type)
        share = {"on-demand": 1.0, "spot": self.spot_share, "reserved": self.reserved_share}[capacity_type]
        return None if price is None else price * share

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the prices rest on, in sentences."""
        return (
            f"On-demand prices are those of {self.region} in the list of {self.source}, made on {self.generated}.",
            f"Spot costs {self.spot_share:g} of the on-demand price: an assumption (--spot-price-share).",
            f"Reserved capacity costs {self.reserved_share:g} of the on-demand price (--reserved-price-share): 1 is an "
            "On-Demand Capacity Reservation without a Savings Plan.",
        )


def load_prices(
    project: "Project",
    progress: "Progress",
    region: str,
    *,
    spot_share: float = DEFAULT_SPOT_SHARE,
    reserved_share: float = DEFAULT_RESERVED_SHARE,
) -> Prices:
    """Prices for a region; downloads Karpenter's module the first time.

    Raises:
        ToolchainError: the module cannot be had.
        DrydockError: it has no prices where they are looked for.
    """
    file = ensure_price_list(project, progress)
    return read_prices(file, region, spot_share=spot_share, reserved_share=reserved_share)


def read_prices(
    file: Path,
    region: str,
    *,
    spot_share: float = DEFAULT_SPOT_SHARE,
    reserved_share: float = DEFAULT_RESERVED_SHARE,
) -> Prices:
    """Prices for a region from the file that `ensure_price_list` made."""
    content = json.loads(file.read_bytes())
    tables = content["regions"]
    prefix = next((partition for partition in _PARTITIONS if region.startswith(partition)), "")
    name = region if region in tables else _PARTITIONS.get(prefix, _COMMERCIAL)
    table = tables[name]
    return Prices(table["prices"], name, table["generated"], content["source"], spot_share, reserved_share)


def ensure_price_list(project: "Project", progress: "Progress") -> Path:
    """The list of every region as a file in the cache, one for each version of Karpenter's module.

    Raises:
        ToolchainError: the module cannot be had.
        DrydockError: it has no prices where they are looked for.
    """
    from drydock.tools.modules import fetch
    from drydock.tools.pins import Toolchain

    toolchain = Toolchain.load(project)
    source = toolchain.data["karpenter-prices"]
    name = f"{source.go_module.rpartition('/')[2]} {source.version}"
    key = hashlib.sha256(f"{source.checksum}\0{source.path}\0{_FORMAT}".encode()).hexdigest()[:_KEY_LENGTH]
    file = project.cache_dir / "karpenter-prices" / f"{source.version}-{key}.json"
    if not file.is_file():
        with progress.step(f"Prices of {name}"):
            folder = fetch(project, toolchain, source, progress)
            _keep(file, {"source": name, "regions": _converted(folder)})
    return file


def read_tables(go_source: str) -> "dict[str, dict[str, float]]":
    """Prices by region from a Go file of Karpenter's (`zz_generated.pricing_*.go`)."""
    return {
        region: {name: float(price) for name, price in _PRICE.findall(body)}
        for region, body in _REGION.findall(go_source)
    }


def _converted(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for file in sorted(folder.glob("zz_generated.pricing_*.go")):
        text = file.read_text(encoding="utf-8")
        generated = _GENERATED.search(text)
        for region, prices in read_tables(text).items():
            found[region] = {"generated": generated[1] if generated else "an unknown day", "prices": prices}
    if _COMMERCIAL not in found:
        raise DrydockError(f"{folder} has no prices of {_COMMERCIAL}", remedy="Correct data in ci/toolchain.")
    return found


def _keep(file: Path, content: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps(content))
    partial.replace(file)
