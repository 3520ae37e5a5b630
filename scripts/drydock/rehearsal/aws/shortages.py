"""Instances that EC2 has no capacity for, as a fault of a rehearsal says it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from drydock.rehearsal.aws.launch_quotas import Refusal

FILE = "shortages.json"
"""In the cluster's folder, for as long as they last."""
_CODE = "InsufficientInstanceCapacity"


@dataclass(frozen=True)
class Shortage:
    """Instances of a type (all when empty) in a zone (all when empty) are not launched."""

    instance_type: str
    zone: str


def write_shortages(file: Path, shortages: Sequence[Shortage]) -> None:
    """Let them begin."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps([asdict(shortage) for shortage in shortages]))
    partial.replace(file)


def no_capacity(file: Path, instance_type: str, zone: str) -> Refusal | None:
    """What EC2 says to a launch; None when it has capacity."""
    try:
        content = json.loads(file.read_text())
    except FileNotFoundError:
        return None
    for shortage in (Shortage(**entry) for entry in content):
        if shortage.instance_type in ("", instance_type) and shortage.zone in ("", zone):
            return Refusal(_CODE, f"We currently do not have sufficient {instance_type} capacity in {zone}.")
    return None
