"""For every pod and every node pool: can Karpenter buy a node there that the pod runs on, and if not, why not.

Source: karpenter v1.14, pkg/controllers/provisioning/scheduling (nodeclaim.go, CanAdd; scheduler.go, addToNewNodeClaim;
preferences.go). A pod is judged alone on a new node. Pod affinity and topology spread, which depend on other pods, are
not judged here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drydock.scheduling.daemons import Daemon, daemons_on, groups_beside
from drydock.scheduling.explain import (
    Exclusion,
    explain_claims,
    explain_conflict,
    explain_empty,
    explain_given_up,
    explain_limits,
    explain_matching,
    explain_min_values,
    explain_node_class,
    explain_offerings,
    explain_resources,
    explain_static,
    explain_taint,
)
from drydock.scheduling.instance_types.labels import CAPACITY_TYPE, COMPUTE_TYPE, HOSTNAME, NODE_POOL, well_known
from drydock.scheduling.instance_types.quantity import add
from drydock.scheduling.pod_admission import admitted
from drydock.scheduling.pods import PodUse, find_pods
from drydock.scheduling.pools import Pool
from drydock.scheduling.relaxation import Attempt, attempts, required_terms, untolerated
from drydock.scheduling.requirements import (
    Requirement,
    Requirements,
    conflicts,
    merged,
)
from drydock.scheduling.volume_zones import Storage
from drydock.suite.manifests import Manifest

RESTRICTED_DOMAINS = ("karpenter.sh", "karpenter.k8s.aws")


@dataclass(frozen=True)
class PoolVerdict:
    """What a pool is to a pod.

    Attributes:
        pool: the pool.
        types: instance types on which the pool can host the pod; empty when it cannot.
        exclusion: why it cannot.
    """

    pool: Pool
    types: frozenset[str]
    exclusion: Exclusion | None

    @property
    def hosts(self) -> bool:
        """Whether the pool can host the pod."""
        return self.exclusion is None


@dataclass(frozen=True)
class PodVerdict:
    """Where a pod can run.

    Attributes:
        pod: as it would be admitted.
        pools: one verdict for each pool, in the order in which Karpenter tries them.
        problem: what makes Karpenter ignore the pod altogether; empty when nothing does.
    """

    pod: PodUse
    pools: tuple[PoolVerdict, ...]
    problem: str = ""

    @property
    def is_feasible(self) -> bool:
        """Whether some pool can host the pod."""
        return not self.problem and any(pool.hosts for pool in self.pools)


@dataclass(frozen=True)
class Scheduling:
    """The pods of an environment against its node pools.

    Attributes:
        pods: every pod, DaemonSets included, as it would be admitted.
        pools: in the order in which Karpenter tries them.
        storage: of the environment.
    """

    pods: tuple[PodUse, ...]
    pools: tuple[Pool, ...]
    storage: Storage = field(default_factory=Storage)

    @classmethod
    def of(cls, manifests: Sequence[Manifest], pools: Sequence[Pool]) -> "Scheduling":
        """The pods of an environment's objects against node pools."""
        runtimes = {manifest.name: manifest.content for manifest in manifests if manifest.kind == "RuntimeClass"}
        pods = tuple(admitted(pod, runtimes) for pod in find_pods(manifests))
        return cls(pods, tuple(pools), Storage.of(manifests))

    def verdicts(self) -> tuple[PodVerdict, ...]:
        """One verdict for each pod that is not a DaemonSet's, in the order of the objects."""
        daemons = {pool.name: daemons_on(pool, self.pods) for pool in self.pools}
        return tuple(self._judge(pod, daemons) for pod in self.pods if not pod.is_daemon)

    def _judge(self, pod: PodUse, daemons: Mapping[str, Sequence[Daemon]]) -> PodVerdict:
        problem = ignored_because(pod)
        verdicts = () if problem else tuple(self._verdict(pod, pool, daemons[pool.name]) for pool in self.pools)
        return PodVerdict(pod, verdicts, problem)

    def _verdict(self, pod: PodUse, pool: Pool, daemons: Sequence[Daemon]) -> PoolVerdict:
        unusable = unusable_because(pool) or _unclaimable(pod, pool)
        if unusable:
            return PoolVerdict(pool, frozenset(), unusable)
        types: frozenset[str] = frozenset()
        exclusions = []
        for attempt in attempts(pod):
            found = self._attempt(pod, pool, attempt, daemons)
            if isinstance(found, Exclusion):
                exclusions.append(found)
            else:
                types |= found
        if types:
            return PoolVerdict(pool, types, None)
        return PoolVerdict(pool, types, self._given_up(pod, pool, daemons) or exclusions[-1])

    def _attempt(
        self, pod: PodUse, pool: Pool, attempt: Attempt, daemons: Sequence[Daemon]
    ) -> frozenset[str] | Exclusion:
        outcomes = [
            _types_for(pod, pool, attempt.requirements, volume, daemons) for volume in self.storage.alternatives(pod)
        ]
        types = frozenset[str]().union(*(outcome for outcome in outcomes if not isinstance(outcome, Exclusion)))
        taint = untolerated(pod, pool, tolerates_soft=attempt.tolerates_soft)
        if types and taint:  # reported only where nothing else keeps the pod out
            return explain_taint(pool, taint)
        return types or max(
            (outcome for outcome in outcomes if isinstance(outcome, Exclusion)), key=lambda each: each.stage
        )

    def _given_up(self, pod: PodUse, pool: Pool, daemons: Sequence[Daemon]) -> Exclusion | None:
        """The one reason that is not the pod's: an alternative that fits, and that Karpenter drops before it would."""
        plain = (Attempt(term, tolerates_soft=True) for term in required_terms(pod)[:-1])
        fits = any(not isinstance(self._attempt(pod, pool, node_pool, daemons), Exclusion) for node_pool in plain)
        return explain_given_up() if fits else None


def unusable_because(pool: Pool) -> Exclusion | None:
    """What keeps every pod out of a pool."""
    if pool.node_class is None:
        return explain_node_class(pool)
    if pool.replicas == 0:
        return explain_static(pool)
    if not pool.types:
        return explain_empty(pool)
    short = missing_min_values(pool, pool.requirements, pool.types)
    return explain_min_values(pool, *short) if short else None


def _unclaimable(pod: PodUse, pool: Pool) -> Exclusion | None:
    """What keeps a pod with resource claims out: Karpenter buys no node for it (provisioner.go, Validate)."""
    return explain_claims(pool) if pod.spec.get("resourceClaims") and not pool.replicas else None


def avoids_karpenter(pod: PodUse) -> bool:
    """Whether a pod says that it runs on nodes that Karpenter does not manage."""
    return any(
        (NODE_POOL in term and term[NODE_POOL].operator == "DoesNotExist")
        or (COMPUTE_TYPE in term and term[COMPUTE_TYPE].operator == "In" and term[COMPUTE_TYPE].values == {"hybrid"})
        for term in required_terms(pod)
    )


def ignored_because(pod: PodUse) -> str:
    """Why Karpenter ignores a pod altogether (provisioner.go, Validate; scheduler.go, add); empty when it does not."""
    for term in required_terms(pod):
        for key, each in term.items():
            domain = key.rpartition("/")[0]
            restricted = any(domain == name or domain.endswith(f".{name}") for name in RESTRICTED_DOMAINS)
            if key == HOSTNAME or (restricted and key not in well_known()):
                return f"selects nodes by {key}, which Karpenter reserves for itself and so ignores the pod"
            unknown = each.values - {"on-demand", "spot", "reserved"}
            if key == CAPACITY_TYPE and each.operator == "In" and unknown == each.values:
                return f"selects {key} {', '.join(sorted(unknown))}: there are on-demand, spot and reserved"
    return ""


def _types_for(
    pod: PodUse, pool: Pool, term: Requirements, volume: Requirements, daemons: Sequence[Daemon]
) -> frozenset[str] | Exclusion:
    """Instance types of the pool for one alternative of what the pod and its volumes require, or what excludes it."""
    requirements = _together(pool, term, volume)
    if isinstance(requirements, Exclusion):
        return requirements
    buyable = _buyable(pool, requirements, {**term, **volume})
    if isinstance(buyable, Exclusion):
        return buyable
    groups = groups_beside(pod, buyable, daemons)
    fitting = frozenset[str]().union(*(pool.roomy(group.types, add(pod.requests, group.overhead)) for group in groups))
    if not fitting:
        return explain_resources(pool, pod, groups)
    within = fitting & pool.types_within_limits
    if not within:
        return explain_limits(pool, fitting)
    short = missing_min_values(pool, requirements, within)
    return explain_min_values(pool, *short) if short else within


def _together(pool: Pool, term: Requirements, volume: Requirements) -> Requirements | Exclusion:
    found = conflicts(pool.requirements, term, pool.well_known)
    if found:
        return explain_conflict(pool, found[0])
    requirements = merged(pool.requirements.values(), term.values())
    found = conflicts(requirements, volume, pool.well_known)
    if found:
        return explain_conflict(pool, found[0], of_volume=True)
    return merged(requirements.values(), volume.values())


def _buyable(pool: Pool, requirements: Requirements, wanted: Requirements) -> frozenset[str] | Exclusion:
    matching = pool.matching(pool.types, requirements)
    if not matching:
        return explain_matching(pool, wanted)
    return pool.buyable(matching, requirements) or explain_offerings(pool, requirements, matching)


def missing_min_values(pool: Pool, requirements: Requirements, types: frozenset[str]) -> tuple[Requirement, int] | None:
    """A `minValues` that the types do not cover, with the number of values that they do."""
    for key, each in requirements.items():
        if each.min_values is not None:
            covered = frozenset[str]().union(*(pool.values(name, key) for name in types))
            if len(covered) < each.min_values:
                return each, len(covered)
    return None
