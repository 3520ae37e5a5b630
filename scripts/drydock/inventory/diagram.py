"""A picture of what an environment installs, drawn from its rendered objects, in Mermaid's words."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from drydock.checks.subject import Subject
from drydock.scheduling.daemons import daemon_types
from drydock.scheduling.pods import PodUse
from drydock.suite.manifests import Manifest

_BUCKET = re.compile(r"s3://([a-z0-9.-]+)")


@dataclass(frozen=True)
class Arrow:
    """From one box to another, by their titles; a dotted one leads to the nodes that a pod gets."""

    source: str
    target: str
    dotted: bool = False


@dataclass(frozen=True)
class Diagram:
    """Boxes by the frame around them, and arrows between boxes.

    Attributes:
        frames: titles of boxes by chart, pools of nodes under `Nodes` and what lies outside of the cluster under `AWS`.
        arrows: who calls whom, and where pods run.
    """

    frames: Mapping[str, tuple[str, ...]]
    arrows: tuple[Arrow, ...]


def draw(subject: Subject) -> Diagram:
    """Workloads by chart, who names whose Service, which pools their pods can get, and which buckets they name.

    An arrow stands for a Service's name in the arguments, environment or mounted configuration of a pod.
    """
    pods = list(subject.pods)
    boxes = {_title(pod.manifest): pod.manifest for pod in pods}
    frames: dict[str, tuple[str, ...]] = {
        chart: tuple(sorted(title for title, _ in group))
        for chart, group in groupby(sorted(boxes.items(), key=lambda box: box[1].chart), key=lambda box: box[1].chart)
    }
    calls = set(_calls(subject, pods))
    buckets = {arrow.target for arrow in calls if arrow.target.startswith("s3://")}
    placed = set(_placements(subject))
    pools = {arrow.target for arrow in placed}
    frames["Nodes"] = tuple(sorted(pools))
    frames["AWS"] = tuple(sorted(buckets))
    arrows = sorted(calls, key=str) + sorted(placed, key=str)
    return Diagram({name: titles for name, titles in frames.items() if titles}, tuple(arrows))


def mermaid(diagram: Diagram) -> str:
    """A flowchart that GitHub, GitLab and Mermaid's own tools draw."""
    numbers = {title: f"b{number}" for number, title in enumerate(t for ts in diagram.frames.values() for t in ts)}
    lines = ["flowchart LR"]
    for position, (frame, titles) in enumerate(diagram.frames.items()):
        lines.append(f'  subgraph f{position}["{frame}"]')
        lines += [f'    {numbers[title]}["{title}"]' for title in titles]
        lines.append("  end")
    for arrow in diagram.arrows:
        line = "-.->" if arrow.dotted else "-->"
        lines.append(f"  {numbers[arrow.source]} {line} {numbers[arrow.target]}")
    return "\n".join(lines) + "\n"


def _title(manifest: Manifest) -> str:
    return f"{manifest.kind} {manifest.name}"


def _calls(subject: Subject, pods: Sequence[PodUse]) -> Iterator[Arrow]:
    targets = dict(_services(subject, pods))
    configurations = {
        manifest.name: json.dumps(manifest.content.get("data")) for manifest in subject.manifests if _holds(manifest)
    }
    for pod in pods:
        source = _title(pod.manifest)
        said = json.dumps(pod.spec)
        said += "".join(text for name, text in configurations.items() if f'"{name}"' in said)
        for service, titles in targets.items():
            if re.search(rf"(?<![\w.-]){re.escape(service)}(?![\w-])", said):
                yield from (Arrow(source, title) for title in titles if title != source)
        yield from (Arrow(source, f"s3://{bucket}") for bucket in _BUCKET.findall(said))


def _holds(manifest: Manifest) -> bool:
    return manifest.kind == "ConfigMap"


def _services(subject: Subject, pods: Sequence[PodUse]) -> Iterator[tuple[str, tuple[str, ...]]]:
    for service in subject.manifests:
        selector = (service.content.get("spec") or {}).get("selector") or {}
        if service.kind == "Service" and selector:
            chosen = {_title(pod.manifest) for pod in pods if selector.items() <= dict(pod.labels).items()}
            yield service.name, tuple(sorted(chosen))


def _placements(subject: Subject) -> Iterator[Arrow]:
    for verdict in subject.verdicts:
        for pool_verdict in verdict.pools:
            if pool_verdict.hosts:
                yield Arrow(_title(verdict.pod.manifest), f"node pool {pool_verdict.pool.name}", dotted=True)
    for pod in subject.pods:
        for pool in subject.pools:
            if pod.is_daemon and daemon_types(pod, pool):
                yield Arrow(_title(pod.manifest), f"node pool {pool.name}", dotted=True)
