"""What a cluster is made for, told to its supervisor before each environment."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from drydock.rehearsal.aws.account import Account
from drydock.rehearsal.kubelet.images import Program


@dataclass(frozen=True)
class Seed:
    """What one environment expects, besides what others did.

    Attributes:
        account: what AWS is to hold.
        programs: to run in place of images.
        overlays: whether Karpenter is to take NodeOverlays, by its feature gate.
    """

    account: Account
    programs: tuple[Program, ...] = ()
    overlays: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the supervisor."""
        programs = [each.to_json() for each in self.programs]
        return {"account": self.account.to_json(), "programs": programs, "overlays": self.overlays}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Seed":
        """What `to_json` gave."""
        programs = tuple(Program.from_json(each) for each in content["programs"])
        return cls(Account.from_json(content["account"]), programs, content["overlays"])
