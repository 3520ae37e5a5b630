"""Every pod must have a node pool that can host it (pain 1)."""

import difflib
from collections.abc import Iterator, Sequence

from drydock.checks.devices import kind_of_plugin
from drydock.checks.findings import Finding, Severity
from drydock.checks.node_pools import EMPTY
from drydock.checks.subject import Subject
from drydock.checks.switches import presets_with, switched_off
from drydock.scheduling.daemons import admits, daemon_types
from drydock.scheduling.explain import Exclusion, Stage
from drydock.scheduling.feasibility import PodVerdict, unusable_because
from drydock.scheduling.instance_types.labels import NODE_POOL
from drydock.scheduling.pods import PodUse, is_extended
from drydock.scheduling.pools import Pool
from drydock.scheduling.relaxation import contradiction, required_terms

POD = "pod-feasibility"
DAEMON = "daemon-feasibility"
PAIN = 1

_KEYS = ("pool", "instanceTypes", "gpuNames", "nodeSelector", "affinity", "tolerations", "accelerator", "resources")
"""Values that say where a pod may run, as charts call them."""


def check(subject: Subject) -> Iterator[Finding]:
    """Pods that no pool can host, with the requirement that pools fail on; DaemonSets that land nowhere."""
    if not subject.pools:
        return  # nodes that are not of this release: nothing is known of them
    for verdict in subject.verdicts:
        excluded = contradiction(verdict.pod)
        if verdict.pod.replicas and (excluded or not verdict.is_feasible):
            yield _infeasible(subject, verdict, excluded)
    for pod in subject.pods:
        if pod.is_daemon and not any(daemon_types(pod, pool) for pool in subject.pools):
            yield _homeless(subject, pod, _cause_of_homelessness(subject, pod))


def _infeasible(subject: Subject, verdict: PodVerdict, excluded: str) -> Finding:
    pod = verdict.pod
    if verdict.problem:
        return _finding(subject, pod, f"The pod {verdict.problem}.", "Select nodes by labels that node pools set.")
    if excluded:
        reason = f"No node can host the pod: what it requires of {excluded} excludes itself."
        return _finding(
            subject, pod, reason, "Keep one of them in nodeSelector and node affinity.", keys=("nodeSelector",)
        )
    named = _named_pools(pod)
    known = {pool.name for pool in subject.pools}
    if named and not named & known:
        return _without_pool(subject, pod, sorted(named), sorted(known))
    relevant = [
        (pool_verdict.pool, pool_verdict.exclusion)
        for pool_verdict in verdict.pools
        if pool_verdict.exclusion and (not named or pool_verdict.pool.name in named)
    ]
    devices = [name for name in pod.requests if is_extended(name)]
    fitting = [(pool, each) for pool, each in relevant if _has(pool, devices)] or relevant
    fitting.sort(key=lambda each: (-each[1].stage, each[1].reason.startswith("the pod requires node pool")))
    reasons = "; ".join(f"{pool.name}: {exclusion.reason}" for pool, exclusion in fitting)
    if len(fitting) < len(relevant):
        reasons += f"; the other pools have no {', '.join(devices)}"
    exclusion = fitting[0][1]
    return _finding(
        subject,
        pod,
        f"No node pool can host the pod. {reasons}.",
        exclusion.remedy,
        keys=_keys(exclusion, devices),
        value=next((pod.requests[name] for name in devices if exclusion.stage is Stage.RESOURCES), None),
        cause=_cause(fitting),
    )


def _without_pool(subject: Subject, pod: PodUse, named: Sequence[str], known: Sequence[str]) -> Finding:
    """A pod that requires a pool which is not there."""
    wanted = named[0]
    environment = subject.rendered.environment
    off, presets = switched_off(subject.values, wanted), presets_with(environment, wanted)
    near = difflib.get_close_matches(wanted, known, 1)
    if off:
        remedy = f"Set {off}.enabled=true."
    elif presets:
        remedy = f"Stack {' or '.join(presets)}, which brings the pool."
    else:
        remedy = (f"Did you mean {near[0]}? " if near else "") + f"Node pools of the release: {', '.join(known)}."
    reason = f"The pod requires node pool {' or '.join(named)}, which the release does not have"
    if off:
        reason += " (it is turned off)"
    return _finding(subject, pod, f"{reason}.", remedy, keys=("pool",), value=wanted, cause=f"node pool {wanted}")


def _named_pools(pod: PodUse) -> frozenset[str]:
    """Pools of which the pod requires one, empty when it may run on any."""
    terms = [term.get(NODE_POOL) for term in required_terms(pod)]
    if not all(term is not None and term.operator == "In" for term in terms):
        return frozenset()
    return frozenset[str]().union(*(term.values for term in terms if term))


def _has(pool: Pool, devices: Sequence[str]) -> bool:
    return all(any(pool.capacity(name).get(device, 0) for name in pool.types) for device in devices)


def _keys(exclusion: Exclusion, devices: Sequence[str]) -> tuple[str, ...]:
    if exclusion.stage is Stage.RESOURCES:
        return ("count", "accelerator", "resources") if devices else ("resources", "requests")
    return _KEYS


def _cause(exclusions: Sequence[tuple[Pool, Exclusion]]) -> str:
    """The finding that says why the only pool that would do can never have a node."""
    unusable = [pool for pool, _ in exclusions if unusable_because(pool) and pool.replicas != 0]
    if unusable and len(unusable) == len(exclusions):
        return f"{EMPTY} {unusable[0].manifest.identity}"
    return ""


def _finding(
    subject: Subject,
    pod: PodUse,
    reason: str,
    remedy: str,
    *,
    keys: Sequence[str] = _KEYS,
    value: object = None,
    cause: str = "",
) -> Finding:
    return subject.finding(
        POD, pod.manifest, reason, remedy, path=pod.path, pain=PAIN, keys=keys, value=value, cause=cause
    )


def _cause_of_homelessness(subject: Subject, daemon: PodUse) -> str:
    """Why a DaemonSet has no nodes where that is reported already: a pool that can have none, or one that pods miss."""
    for pool in subject.pools:
        if unusable_because(pool) and pool.replicas != 0 and admits(daemon, pool):
            return f"{EMPTY} {pool.manifest.identity}"
    kind = kind_of_plugin(daemon)
    known = {pool.name for pool in subject.pools}
    for verdict in subject.verdicts:
        missing = _named_pools(verdict.pod) if kind and not verdict.is_feasible else frozenset()
        if kind and missing and not missing & known and any(name in kind.resources for name in verdict.pod.requests):
            return f"node pool {min(missing)}"
    return ""


def _homeless(subject: Subject, pod: PodUse, cause: str) -> Finding:
    return subject.finding(
        DAEMON,
        pod.manifest,
        "The DaemonSet runs on the nodes of no node pool: its node selector, affinity or tolerations match none.",
        "Match the labels and taints of a pool, or turn it off.",
        path=pod.path,
        pain=PAIN,
        severity=Severity.WARNING,
        keys=_KEYS,
        cause=cause,
    )
