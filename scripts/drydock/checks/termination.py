"""Nodes and pods that go away in good order (pain 21)."""

import re
from collections.abc import Iterator

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.scheduling.pods import PodUse, is_extended
from drydock.scheduling.pools import Pool

GRACE = "termination-grace"
CHURN = "consolidation-of-models"
DRAIN = "drain-longer-than-grace"
PAIN = 21

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|h|m|s)")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_SLEEP = re.compile(r"\bsleep\s+([0-9]+)")


def check(subject: Subject) -> Iterator[Finding]:
    """Pools that cut a pod's grace short or move models about, and pods whose drain outlasts their grace."""
    for pool in subject.pools:
        pods = [verdict.pod for verdict in subject.verdicts_on(pool)]
        yield from _cut_short(subject, pool, pods)
        yield from _moved_about(subject, pool, pods)
    for pod in subject.pods:
        yield from _drain(subject, pod)


def seconds_of(duration: str) -> float | None:
    """Seconds of a duration such as `1h30m`; None for `Never` and what is none."""
    parts = _DURATION.findall(duration)
    return sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else None


def _cut_short(subject: Subject, pool: Pool, pods: list[PodUse]) -> Iterator[Finding]:
    allowed = seconds_of(str(pool.template.get("terminationGracePeriod") or ""))
    if allowed is None:
        return
    for pod in pods:
        grace = int(pod.spec.get("terminationGracePeriodSeconds") or 30)
        if grace > allowed:
            yield subject.finding(
                GRACE,
                pod.manifest,
                f"The pod asks for {grace} s to finish its requests, and nodes of pool {pool.name} are taken down "
                f"after {allowed:.0f} s.",
                f"Raise terminationGracePeriod of pool {pool.name} above {grace} s, or lower the pod's.",
                path=f"{pod.path}.terminationGracePeriodSeconds",
                pain=PAIN,
            )


def _moved_about(subject: Subject, pool: Pool, pods: list[PodUse]) -> Iterator[Finding]:
    policy = (pool.spec.get("disruption") or {}).get("consolidationPolicy", "WhenEmptyOrUnderutilized")
    models = [pod for pod in pods if any(is_extended(name) for name in pod.requests) and not _stays(pod)]
    if policy == "WhenEmpty" or not models:
        return
    names = ", ".join(pod.name for pod in models[:3])
    yield subject.finding(
        CHURN,
        pool.manifest,
        f"Karpenter may move running models of pool {pool.name} to cheaper nodes at any time ({names}): each move "
        "loads the model again.",
        "Set disruption.consolidationPolicy: WhenEmpty, or annotate the pods karpenter.sh/do-not-disrupt.",
        path="spec.disruption.consolidationPolicy",
        pain=PAIN,
        severity=Severity.WARNING,
    )


def _stays(pod: PodUse) -> bool:
    return str(pod.annotations.get("karpenter.sh/do-not-disrupt", "")).lower() not in ("", "false")


def _drain(subject: Subject, pod: PodUse) -> Iterator[Finding]:
    grace = int(pod.spec.get("terminationGracePeriodSeconds") or 30)
    for container in pod.spec.get("containers") or ():
        hook = (container.get("lifecycle") or {}).get("preStop") or {}
        words = " ".join(str(word) for word in (hook.get("exec") or {}).get("command") or ())
        found = _SLEEP.search(words)
        seconds = int((hook.get("sleep") or {}).get("seconds") or (found[1] if found else 0))
        if seconds >= grace:
            yield subject.finding(
                DRAIN,
                pod.manifest,
                f"The preStop hook of container {container['name']} waits {seconds} s, and the pod is killed after "
                f"{grace} s: requests under way are cut off.",
                "Set terminationGracePeriodSeconds above the hook and the longest request together.",
                path=f"{pod.path}.terminationGracePeriodSeconds",
                pain=PAIN,
            )
