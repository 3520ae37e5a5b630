"""What Karpenter said of pods that it could not place, and of pools that it left out."""

from dataclasses import dataclass

NOT_READY = "ignoring nodepool, not ready"
"""Karpenter's words for a pool that is not ready yet."""
AWAITING = "skipping, awaiting nodeoverlay evaluation"
"""Karpenter's words for a pool that it leaves out until the NodeOverlays are evaluated."""
MARKER_POD = "drydock-nudge"
"""Name of a pod of a rehearsal's own, which no node can host; no outcome counts it."""


@dataclass(frozen=True)
class Decided:
    """Karpenter could not place a pod.

    Attributes:
        pod: `namespace/name`.
        reason: its words.
        causes: the same, one for each pool where it has one for each.
        began: when it began the round of decisions, and so what it knew, as Unix time.
    """

    pod: str
    reason: str
    causes: tuple[str, ...]
    began: float


@dataclass(frozen=True)
class RoundBegan:
    """Karpenter began a round at `began`, as Unix time, without the pods (`namespace/name`) in `ignored`."""

    began: float
    ignored: frozenset[str]


@dataclass(frozen=True)
class PoolSkipped:
    """Karpenter left a pool out of the round of decisions that it began at `began`.

    Attributes:
        pool: its name.
        reason: Karpenter's words.
        began: as Unix time.
    """

    pool: str
    reason: str
    began: float
