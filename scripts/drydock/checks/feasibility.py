"""Every pod must have a node pool that can host it (pain 1)."""

from collections.abc import Iterator

from drydock.checks.scheduling.daemons import daemon_types
from drydock.checks.scheduling.feasibility import PodVerdict
from drydock.checks.scheduling.pods import PodUse
from drydock.checks.subject import Subject
from drydock.findings import Finding, Severity

POD = "pod-feasibility"
DAEMON = "daemon-feasibility"
PAIN = 1


def check(subject: Subject) -> Iterator[Finding]:
    """Pods that no pool can host, each with the requirement that every pool fails on; DaemonSets that land nowhere."""
    if not subject.pools:
        return  # nodes that are not of this release: nothing is known of them
    for verdict in subject.verdicts:
        if not verdict.is_feasible and verdict.pod.replicas:
            yield _infeasible(subject, verdict)
    for pod in subject.pods:
        if pod.is_daemon and not any(daemon_types(pod, pool) for pool in subject.pools):
            yield _homeless(subject, pod)


def _infeasible(subject: Subject, verdict: PodVerdict) -> Finding:
    pod = verdict.pod
    if verdict.problem:
        return subject.finding(
            POD,
            pod.manifest,
            f"The pod {verdict.problem}.",
            "Select nodes by labels that node pools set.",
            path=pod.path,
            pain=PAIN,
        )
    exclusions = [(each.pool.name, each.exclusion) for each in verdict.pools if each.exclusion]
    exclusions.sort(key=lambda each: -each[1].stage)  # what came closest first
    reasons = "; ".join(f"{name}: {exclusion.reason}" for name, exclusion in exclusions)
    remedy = exclusions[0][1].remedy
    return subject.finding(
        POD, pod.manifest, f"No node pool can host the pod. {reasons}.", remedy, path=pod.path, pain=PAIN
    )


def _homeless(subject: Subject, pod: PodUse) -> Finding:
    return subject.finding(
        DAEMON,
        pod.manifest,
        "The DaemonSet runs on the nodes of no node pool: its node selector, affinity or tolerations match none.",
        "Match the labels and taints of a pool, or turn it off.",
        path=pod.path,
        pain=PAIN,
        severity=Severity.WARNING,
    )
