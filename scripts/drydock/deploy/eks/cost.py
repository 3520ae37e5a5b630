"""What a plan costs an hour, before a model runs on it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file
from drydock.scheduling.prices import Prices

_FIXED = Path(__file__).parents[2] / "data" / "eks-prices.yaml"


def hourly_cost(resources: Sequence[Mapping[str, Any]], prices: Prices) -> str:
    """A table of what costs money by the hour, for people.

    Args:
        resources: planned, see Plan.
        prices: of instance types.
    """
    counts: Counter[str] = Counter()
    for resource in resources:
        counts.update(_priced(resource["type"], resource.get("values", {})))
    fixed: Mapping[str, float] = load_yaml_file(_FIXED)
    known = {item: fixed.get(item, prices.hourly(item)) for item in counts}
    lines = [
        f"  {count} x {item}: " + (f"${count * price:.3f}" if (price := known[item]) is not None else "no price known")
        for item, count in counts.items()
    ]
    total = sum(count * (known[item] or 0) for item, count in counts.items())
    return "\n".join(
        (
            f"This costs ${total:.2f} an hour from now on:",
            *lines,
            "Karpenter's nodes, traffic, storage and logs come on top (`drydock rehearse` prices the nodes).",
            prices.assumptions[0],
        )
    )


def _priced(kind: str, values: Mapping[str, Any]) -> Mapping[str, int]:
    if kind == "aws_eks_node_group":
        return {values["instance_types"][0]: values["scaling_config"][0]["desired_size"]}
    if kind == "aws_ec2_capacity_reservation":
        return {values["instance_type"]: values["instance_count"]}
    return {kind: 1} if kind in load_yaml_file(_FIXED) else {}
