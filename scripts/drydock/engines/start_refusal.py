"""A reason for which vLLM does not start."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an engine does not start.

    Attributes:
        words: as vLLM says it.
        reason: the same for people, without a full stop.
        remedy: what would start.
        place: of the rule in vLLM's source.
    """

    words: str
    reason: str
    remedy: str
    place: str
