"""What a cluster is made for, sent to its supervisor before each environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.kubelet.programs import Program


@dataclass(frozen=True)
class Seed:
    """What one environment expects, besides what others did.

    Attributes:
        account: what AWS is to hold.
        programs: to run in place of images.
        gates: feature gates of Karpenter on the target.
        load_balancer_classes, ingress_classes: that get an address there.
    """

    account: Account
    programs: tuple[Program, ...] = ()
    gates: Mapping[str, bool] = field(default_factory=dict)
    load_balancer_classes: tuple[str, ...] = ()
    ingress_classes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For the supervisor."""
        programs = [program.to_json() for program in self.programs]
        return {
            "account": self.account.to_json(),
            "programs": programs,
            "gates": dict(self.gates),
            "load_balancer_classes": self.load_balancer_classes,
            "ingress_classes": self.ingress_classes,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Seed":
        """What `to_json` gave."""
        programs = tuple(Program.from_json(program) for program in content["programs"])
        return cls(
            Account.from_json(content["account"]),
            programs,
            content["gates"],
            tuple(content["load_balancer_classes"]),
            tuple(content["ingress_classes"]),
        )
