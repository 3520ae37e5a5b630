"""What never becomes healthy in its sync wave, because it needs an object of a later one.

Argo CD (gitops-engine of v3.5, sync_context.go) begins a wave when every Application before it is Healthy: an object
that waits for a later wave keeps everything back indefinitely.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.checks.subject import load_subject
from drydock.clusters.crds import crd_owners
from drydock.deploy.argo_cd import WAVE, Repository, applications
from drydock.project import Project
from drydock.scheduling.feasibility import PodVerdict
from drydock.scheduling.instance_types.labels import NODE_POOL
from drydock.scheduling.pods import PodUse, is_extended
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import Environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import RenderedEnvironment, render

_IGNORED = "argocd.argoproj.io/ignore-healthcheck"
_AWAITED = ("Deployment", "StatefulSet", "ReplicaSet", "Pod", "Job")
"""Kinds whose pods decide on their health (gitops-engine, pkg/health); a DaemonSet without a node is healthy."""
_THERE = -sys.maxsize
"""Wave of what no Application brings: it is there already."""
_KARPENTER = ("karpenter.sh/", "karpenter.k8s.aws/", "eks.amazonaws.com/")

Fields = Mapping[str, Any]


@dataclass(frozen=True, order=True)
class Late:
    """An object that waits for a later wave.

    Attributes:
        object: `Kind/name` or `Kind/namespace/name`.
        chart: its Application.
        wave: of its Application.
        needs: the objects of which it needs one, in the same form.
        needed_wave: the earliest wave that brings one of them.
    """

    object: str
    chart: str
    wave: int
    needs: tuple[str, ...]
    needed_wave: int

    def __str__(self) -> str:
        """As a line for people."""
        needs = " or ".join(self.needs)
        return f"{self.object} (wave {self.wave}) waits for {needs} (wave {self.needed_wave})"


def late_objects(
    project: Project, helm: Path, charts: AssembledCharts, environment: Environment, repository: Repository
) -> tuple[Late, ...]:
    """What of an environment waits for a later wave of its Applications.

    Raises:
        RenderError: the environment does not render.
    """
    brought = [
        manifest for manifest in applications(helm, charts, environment, repository) if manifest.kind == "Application"
    ]
    prefix = f"{environment.name}-"
    waves = {
        application.name.removeprefix(prefix): int(application.content["metadata"]["annotations"][WAVE])
        for application in brought
    }
    rendered = render(helm, charts, environment)
    return find_late(project, rendered, waves)


def find_late(project: Project, rendered: RenderedEnvironment, waves: Mapping[str, int]) -> tuple[Late, ...]:
    """What of rendered objects waits for a later wave.

    Args:
        project: whose cache holds the catalogue of instance types.
        rendered: the objects, each of a chart.
        waves: of Applications by chart, and by `crds-OWNER` for CRDs. What has none is taken to be there already.
    """
    finder = _Finder(project, rendered, waves)
    return tuple(sorted(set(finder.find())))


class _Finder:
    def __init__(self, project: Project, rendered: RenderedEnvironment, waves: Mapping[str, int]) -> None:
        self._owners = crd_owners(project)
        self._subject = load_subject(project.cache_dir, rendered)
        self._waves = waves
        self._namespace = rendered.environment.namespace
        self._objects = {
            (manifest.kind, self._place(manifest.kind, manifest.namespace), manifest.name): manifest
            for manifest in rendered.manifests
        }

    def find(self) -> Iterator[Late]:
        pods = [pod for pod in self._subject.pods if self._awaited(pod.manifest)]
        for pod in pods:
            for kind, name in _references(pod):
                yield from self._needs(pod.manifest, [(kind, name)])
        for verdict in self._subject.verdicts:
            if self._awaited(verdict.pod.manifest) and self._needs_pool(verdict.pod):
                yield from self._needs(verdict.pod.manifest, [("NodePool", name) for name in _hosts(verdict)])
        for manifest in self._subject.manifests:
            if manifest.namespace:
                yield from self._needs(manifest, [("Namespace", manifest.namespace)])
            owner = self._owners.get((manifest.api_version.partition("/")[0], manifest.kind))
            brought = self._waves.get(f"crds-{owner}", self._wave_of(manifest))
            if brought > self._wave_of(manifest) > _THERE:
                yield self._late(manifest, (f"CRDs of {owner}",), brought)

    def _needs(self, manifest: Manifest, alternatives: Sequence[tuple[str, str]]) -> Iterator[Late]:
        """One of several objects, unless none of them is of the release."""
        found = [
            self._objects[key]
            for kind, name in alternatives
            if (key := (kind, self._place(kind, manifest.namespace), name)) in self._objects
        ]
        first = min((self._wave_of(needed) for needed in found), default=_THERE)
        if first > self._wave_of(manifest) > _THERE:
            yield self._late(manifest, tuple(needed.identity for needed in found), first)

    def _late(self, manifest: Manifest, needs: tuple[str, ...], wave: int) -> Late:
        return Late(manifest.identity, manifest.chart, self._wave_of(manifest), needs, wave)

    def _wave_of(self, manifest: Manifest) -> int:
        return self._waves.get(manifest.chart, _THERE)

    def _place(self, kind: str, namespace: str) -> str:
        return "" if kind in ("NodePool", "PriorityClass", "Namespace") else namespace or self._namespace

    def _awaited(self, manifest: Manifest) -> bool:
        ignored = (manifest.content["metadata"].get("annotations") or {}).get(_IGNORED) == "true"
        return manifest.kind in _AWAITED and not ignored

    def _needs_pool(self, pod: PodUse) -> bool:
        """Whether it cannot run on nodes that are there before any pool, such as those of a managed group."""
        labels = {key for pool in self._subject.pools for key in pool.labels}
        keys = {*(pod.spec.get("nodeSelector") or {}), *_required_keys(pod.spec)}
        own = any(key == NODE_POOL or key.startswith(_KARPENTER) or key in labels for key in keys)
        return own or any(is_extended(name) for name in pod.requests)


def _hosts(verdict: PodVerdict) -> Iterator[str]:
    return (pool.pool.name for pool in verdict.pools if pool.hosts)


def _required_keys(spec: Fields) -> Iterator[str]:
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    ) or {}
    for term in affinity.get("nodeSelectorTerms") or ():
        yield from (str(expression.get("key")) for expression in term.get("matchExpressions") or ())


def _references(pod: PodUse) -> Iterator[tuple[str, str]]:
    """What a pod cannot be made or started without, by kind and name."""
    yield "PriorityClass", str(pod.spec.get("priorityClassName") or "")
    yield "ServiceAccount", str(pod.spec.get("serviceAccountName") or "")
    for volume in pod.spec.get("volumes") or ():
        yield "PersistentVolumeClaim", str((volume.get("persistentVolumeClaim") or {}).get("claimName") or "")
        for source in (volume, *((volume.get("projected") or {}).get("sources") or ())):
            for kind, part, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
                content = source.get(part) or {}
                if not content.get("optional"):
                    yield kind, str(content.get(name) or content.get("name") or "")
    for container in pod.containers:
        sources = [variable.get("valueFrom") or {} for variable in container.get("env") or ()]
        for source in (*sources, *(container.get("envFrom") or ())):
            for kind, parts in (
                ("ConfigMap", ("configMapKeyRef", "configMapRef")),
                ("Secret", ("secretKeyRef", "secretRef")),
            ):
                for part in parts:
                    content = source.get(part) or {}
                    if not content.get("optional"):
                        yield kind, str(content.get("name") or "")
