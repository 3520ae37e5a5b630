"""Image references that may mean another image tomorrow (pain 19)."""

from collections.abc import Iterator

from drydock.checks.findings import Finding
from drydock.checks.subject import Subject
from drydock.engines.image_facts import parse_reference

MUTABLE = "mutable-image-tag"
PAIN = 19


def check(subject: Subject) -> Iterator[Finding]:
    """Images without a tag or digest, or with a tag that moves."""
    for pod in subject.pods:
        for container in pod.containers:
            image = str(container.get("image") or "")
            if image and not parse_reference(image).is_pinned:
                yield subject.finding(
                    MUTABLE,
                    pod.manifest,
                    f"The image {image} of container {container['name']} may be another one tomorrow.",
                    "Name a released version, best with its digest.",
                    path=f"{pod.path}.containers.{container['name']}.image",
                    pain=PAIN,
                )
