"""The images of an environment: who uses them, where they come from, and for which architectures they are needed."""

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drydock.checks.subject import Subject, load_subject
from drydock.engines.image_facts import parse_reference
from drydock.inventory.image_support import supported_until
from drydock.project import Project
from drydock.scheduling.daemons import daemon_types
from drydock.scheduling.instance_types.labels import ARCHITECTURE
from drydock.scheduling.pods import PodUse
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import Environment
from drydock.suite.manifests import Manifest
from drydock.suite.render import render

ANNOTATION = "drydock.dev/images"
"""On an object whose controller starts pods of its own: the images of those, separated by spaces."""

_REGISTRY = "global.imageRegistry"
_DOCKER_HUB = "docker.io"


@dataclass(frozen=True)
class UsedImage:
    """An image that pods of an environment name.

    Attributes:
        image: as the pods name it.
        upstream: the same without `global.imageRegistry`, with its registry.
        charts: charts that use it.
        objects: `Kind/name` of the objects that use it.
        architectures: of the nodes that its pods can get, as Kubernetes spells them; empty when no node pool of the
            environment takes them.
        supported_until: last day, `YYYY-MM-DD`, on which its maker keeps the release up; empty where that is not known.
    """

    image: str
    upstream: str
    charts: tuple[str, ...]
    objects: tuple[str, ...]
    architectures: tuple[str, ...]
    supported_until: str = ""


@dataclass(frozen=True)
class _Use:
    """One place that names an image; it is in the same place in two renders of an environment."""

    place: str
    image: str
    manifest: Manifest
    architectures: frozenset[str]


def used_images(
    project: Project, helm: Path, charts: AssembledCharts, environment: Environment
) -> tuple[UsedImage, ...]:
    """Every image of an environment, sorted.

    Raises:
        RenderError: the environment does not render.
        DrydockError: its region is unknown.
    """
    upstream = environment.stacked((), [f"{_REGISTRY}="])
    sources = {use.place: use.image for use in _uses(load_subject(project.cache_dir, render(helm, charts, upstream)))}
    found: dict[str, list[_Use]] = {}
    for use in _uses(load_subject(project.cache_dir, render(helm, charts, environment))):
        found.setdefault(use.image, []).append(use)
    return tuple(
        UsedImage(
            image=image,
            upstream=with_registry(sources.get(uses[0].place, image)),
            charts=_sorted(use.manifest.chart for use in uses),
            objects=_sorted(use.manifest.identity for use in uses),
            architectures=_sorted(name for use in uses for name in use.architectures),
            supported_until=str(supported_until(image) or ""),
        )
        for image, uses in sorted(found.items())
    )


def with_registry(image: str) -> str:
    """An image reference with its registry spelt out, as container runtimes complete it."""
    first, slash, _ = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return image
    return f"{_DOCKER_HUB}/{image}" if slash else f"{_DOCKER_HUB}/library/{image}"


def skopeo_sync(images: Sequence[UsedImage]) -> Mapping[str, object]:
    """The upstream images as the YAML source file of `skopeo sync`: registry, repository, tags and digests.

    Source: skopeo-sync(1), section "YAML file content".
    """
    registries: dict[str, dict[str, set[str]]] = {}
    for image in images:
        reference = parse_reference(image.upstream)
        registry, _, repository = reference.name.partition("/")
        versions = registries.setdefault(registry, {}).setdefault(repository, set())
        versions.add(reference.digest or reference.tag)
    return {
        registry: {"images": {name: sorted(versions) for name, versions in sorted(repositories.items())}}
        for registry, repositories in sorted(registries.items())
    }


def skopeo_copies(images: Sequence[UsedImage]) -> tuple[str, ...]:
    """Shell commands that put each upstream image where the environment's pods look for it, all architectures of it."""
    return tuple(
        shlex.join(["skopeo", "copy", "--all", f"docker://{image.upstream}", f"docker://{_target(image.image)}"])
        for image in images
        if with_registry(image.image) != image.upstream
    )


def _target(image: str) -> str:
    """Where a copy goes to: Skopeo takes a tag or a digest, and a tag is what a registry needs."""
    reference = parse_reference(image)
    return f"{reference.name}:{reference.tag}" if reference.tag else image


def _uses(subject: Subject) -> Iterator[_Use]:
    verdicts = {id(pod_verdict.pod): pod_verdict for pod_verdict in subject.verdicts}
    for pod in subject.pods:
        verdict = verdicts.get(id(pod))
        hosts = {pool.pool.name: pool.types for pool in verdict.pools} if verdict else {}
        architectures = frozenset(_architectures(subject, pod, hosts))
        for container in pod.containers:
            if image := str(container.get("image") or ""):
                place = f"{pod.manifest.identity} {pod.path} {container['name']}"
                yield _Use(place, image, pod.manifest, architectures)
    for manifest in subject.manifests:
        named = str((manifest.content.get("metadata", {}).get("annotations") or {}).get(ANNOTATION, "")).split()
        for position, image in enumerate(named):
            yield _Use(f"{manifest.identity} {position}", image, manifest, frozenset())


def _architectures(subject: Subject, pod: PodUse, hosts: Mapping[str, frozenset[str]]) -> Iterator[str]:
    for pool in subject.pools:
        types = daemon_types(pod, pool) if pod.is_daemon else hosts.get(pool.name, frozenset())
        index = pool.catalogue.by_value(ARCHITECTURE) or {}
        yield from (name for name, members in index.items() if name and members & types)


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))
