"""What a pod requires and prefers of its node, and the order in which Karpenter gives in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drydock.scheduling.pod_admission import tolerates
from drydock.scheduling.pods import PodUse
from drydock.scheduling.pools import Pool
from drydock.scheduling.requirements import Requirements, from_expressions, from_labels, merged

Fields = Mapping[str, Any]
SOFT = "PreferNoSchedule"


@dataclass(frozen=True)
class Attempt:
    """One state of a pod's wishes in which Karpenter tries every pool.

    Attributes:
        requirements: that a node must meet.
        tolerates_soft: whether taints with the effect PreferNoSchedule are overlooked.
    """

    requirements: Requirements
    tolerates_soft: bool


def required_terms(pod: PodUse) -> list[Requirements]:
    """What a pod requires of its node, any one of the alternatives will do (preferences are left out)."""
    selector = from_labels(pod.spec.get("nodeSelector"))
    return [merged(selector, from_expressions(term.get("matchExpressions"))) for term in _terms(pod) or [{}]]


def attempts(pod: PodUse) -> list[Attempt]:
    """The states that Karpenter goes through, until one fits some pool.

    It takes the heaviest preference for a requirement. When nothing fits, it gives up the alternatives of the required
    node affinity first, all but the last one; then the preferences; then it tolerates PreferNoSchedule. So only the
    last alternative is ever tried without the preferences.

    Source: karpenter v1.14, pkg/controllers/provisioning/scheduling/preferences.go, Relax, and pkg/scheduling/
    requirements.go, newPodRequirements.
    """
    required = required_terms(pod)
    preferred = [
        from_expressions((preference.get("preference") or {}).get("matchExpressions"))
        for preference in sorted(_preferred(pod), key=lambda each: -int(each.get("weight") or 0))
    ]
    heaviest = preferred[0] if preferred else []
    states = [merged(term.values(), heaviest) for term in required]
    states += [
        merged(required[-1].values(), preference) for preference in [*preferred[1:], *([[]] if preferred else [])]
    ]
    return [*(Attempt(state, tolerates_soft=False) for state in states), Attempt(states[-1], tolerates_soft=True)]


def contradiction(pod: PodUse) -> str:
    """The label on which what a pod requires excludes itself in every alternative; empty when some node could do."""
    selector = from_labels(pod.spec.get("nodeSelector"))
    found = ""
    for term in _terms(pod) or [{}]:
        parts = [*selector, *from_expressions(term.get("matchExpressions"))]
        found = next(
            (
                f"{requirement.key} ("
                + " and ".join(str(one).partition(" ")[2] for one in parts if one.key == requirement.key)
                + ")"
                for requirement in merged(parts).values()
                if requirement.operator == "DoesNotExist" and not any(one == requirement for one in parts)
            ),
            "",
        )
        if not found:
            return ""
    return found


def untolerated(pod: PodUse, pool: Pool, *, tolerates_soft: bool = True) -> Fields | None:
    """A taint of the pool's nodes that keeps the pod away."""
    tolerations = pod.spec.get("tolerations") or ()
    taints = (taint for taint in pool.taints if not (tolerates_soft and taint.get("effect") == SOFT))
    return next((taint for taint in taints if not tolerates(tolerations, taint)), None)


def _terms(pod: PodUse) -> Sequence[Fields]:
    required = _node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    return required.get("nodeSelectorTerms") or ()


def _preferred(pod: PodUse) -> Sequence[Fields]:
    return _node_affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution") or ()


def _node_affinity(pod: PodUse) -> Fields:
    return (pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
