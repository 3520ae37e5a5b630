"""Prices that the stand-in answers with. All come from Karpenter itself: what it does not say is not invented.

Karpenter carries a list of on-demand prices, exports what it makes of them as a metric, and asks AWS for spot prices,
of which nobody here knows any. So the metric is read once for each region and build of Karpenter, kept, and a share of
it given back as the spot price: an assumption that the report names.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

DEFAULT_SPOT_PRICE_SHARE = 0.5
_OFFERING = re.compile(
    r"^karpenter_cloudprovider_instance_type_offering_price_estimate"
    r'\{capacity_type="(?P<capacity>[^"]*)",instance_type="(?P<type>[^"]*)",zone="(?P<zone>[^"]*)"\} (?P<price>\S+)$',
    re.MULTILINE,
)
Offerings = Mapping[tuple[str, str, str], float]
"""Dollars an hour by (instance type, zone, capacity type)."""


def read_offerings(metrics: str) -> Offerings:
    """The price of every offering in Karpenter's metrics page; those it knows no price for are left out."""
    found = {
        (match["type"], match["zone"], match["capacity"]): float(match["price"])
        for match in _OFFERING.finditer(metrics)
    }
    return {offering: price for offering, price in found.items() if price > 0}


def on_demand_prices(offerings: Offerings) -> dict[str, float]:
    """On-demand dollars an hour by instance type (the same in every zone of a region)."""
    return {kind: price for (kind, _, capacity), price in sorted(offerings.items()) if capacity == "on-demand"}


def offerings_from(on_demand: Mapping[str, float], zones: Iterable[str], spot_share: float) -> Offerings:
    """The offerings that on-demand prices and a share of them for spot come to."""
    return {
        (kind, zone, capacity): price * share
        for kind, price in on_demand.items()
        for zone in zones
        for capacity, share in (("on-demand", 1.0), ("spot", spot_share))
    }


def price_file(cache: Path, karpenter: Path, region: str) -> Path:
    """Where the on-demand prices that a build of Karpenter has for a region are kept."""
    with karpenter.open("rb") as binary:
        digest = hashlib.file_digest(binary, "sha256").hexdigest()[:16]
    return cache / "prices" / f"{digest}-{region}.json"


def load_prices(file: Path) -> dict[str, float] | None:
    """Prices kept by `save_prices`; None when there are none."""
    try:
        return {str(kind): float(price) for kind, price in json.loads(file.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return None


def save_prices(file: Path, prices: Mapping[str, float]) -> None:
    """Keep prices; two rehearsals may do so at once."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{id(prices)}.partial")
    partial.write_text(json.dumps(prices, indent=0, sort_keys=True))
    partial.replace(file)
