"""What pods refer to must exist: Secrets (pain 16) and RuntimeClasses (pain 24)."""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.checks.findings import Finding
from drydock.checks.subject import Subject
from drydock.scheduling.pods import PodUse
from drydock.suite.manifests import Manifest

SECRET = "secret-reference"  # noqa: S105 (name of a check)
PLACEHOLDER = "placeholder-secret"
RUNTIME = "runtime-class"

_PLACEHOLDER = re.compile(r"(?i)\b(?:dummy|changeme|change-me|replace[-_ ]?(?:me|with)|your[-_ ]|todo|xxx+)|^<.*>$")


def check(subject: Subject) -> Iterator[Finding]:
    """Secrets that are never made or hold a placeholder, and RuntimeClasses that the cluster does not have."""
    secrets = {
        rendered_object.name: rendered_object
        for rendered_object in subject.manifests
        if rendered_object.kind == "Secret"
    }
    runtimes = {rendered_object.name for rendered_object in subject.manifests if rendered_object.kind == "RuntimeClass"}
    for pod in subject.pods:
        yield from _secrets(subject, pod, secrets)
        yield from _runtime(subject, pod, runtimes)
    for manifest in secrets.values():
        yield from _placeholders(subject, manifest)


def referenced_secrets(pod: PodUse) -> Iterator[tuple[str, str, str]]:
    """Name, key (empty for all) and path of every Secret that a pod cannot start without."""
    for container in pod.containers:
        where = f"{pod.path}.containers.{container.get('name')}"
        for variable in container.get("env") or ():
            reference = (variable.get("valueFrom") or {}).get("secretKeyRef") or {}
            if reference and not reference.get("optional"):
                yield str(reference.get("name")), str(reference.get("key")), f"{where}.env.{variable.get('name')}"
        for source in container.get("envFrom") or ():
            reference = source.get("secretRef") or {}
            if reference and not reference.get("optional"):
                yield str(reference.get("name")), "", f"{where}.envFrom"
    for volume in pod.spec.get("volumes") or ():
        for name, keys in _mounted(volume):
            for key in keys or ("",):
                yield name, key, f"{pod.path}.volumes.{volume.get('name')}"


def _mounted(volume: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
    for source in sources:
        secret = source.get("secret") or {}
        if secret and not secret.get("optional"):
            yield (
                str(secret.get("secretName") or secret.get("name")),
                [str(item["key"]) for item in secret.get("items") or ()],
            )


def _secrets(subject: Subject, pod: PodUse, secrets: Mapping[str, Manifest]) -> Iterator[Finding]:
    expected = subject.rendered.environment.secrets
    for name, key, path in dict.fromkeys(referenced_secrets(pod)):
        if name in secrets:
            content = secrets[name].content
            held = {*(content.get("data") or {}), *(content.get("stringData") or {})}
        elif name in expected:
            held = set(expected[name])
        else:
            yield subject.finding(
                SECRET,
                pod.manifest,
                f"The pod cannot start without the Secret {name}, which is neither in the release nor among the "
                "Secrets that the environment expects in its namespace.",
                f"List it under secrets in the environment's file once it is there, for example `{name}: "
                f"[{key or 'KEY'}]`.",
                path=path,
                pain=16,
            )
            continue
        if key and held and key not in held:
            yield subject.finding(
                SECRET,
                pod.manifest,
                f"The pod reads key {key} of the Secret {name}, which holds {', '.join(sorted(held))}.",
                "Name a key that the Secret has.",
                path=path,
                pain=16,
            )


def _placeholders(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    values = {key: str(value) for key, value in (manifest.content.get("stringData") or {}).items()}
    for key, value in (manifest.content.get("data") or {}).items():
        values[key] = base64.b64decode(str(value), validate=False).decode(errors="replace")
    for key, value in values.items():
        if _PLACEHOLDER.search(value):
            yield subject.finding(
                PLACEHOLDER,
                manifest,
                f"Key {key} holds what looks like a placeholder.",
                "Refer to an existing Secret instead; no credential belongs in values.",
                path=f"data.{key}",
                pain=16,
            )


def _runtime(subject: Subject, pod: PodUse, runtimes: set[str]) -> Iterator[Finding]:
    name = pod.spec.get("runtimeClassName")
    if name and name not in runtimes:
        yield subject.finding(
            RUNTIME,
            pod.manifest,
            f"The RuntimeClass {name} does not exist: the API server refuses the pod. EKS's accelerated AMIs need "
            "none.",
            "Drop runtimeClassName, or bring the RuntimeClass.",
            path=f"{pod.path}.runtimeClassName",
            pain=24,
        )
