"""Fields that an object states although a controller or a pipeline writes them (data/field-writers.yaml)."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

from drydock.checks.findings import Finding
from drydock.checks.subject import Subject
from drydock.documents import load_yaml
from drydock.suite.manifests import Manifest

CHECK = "field-owner"

Fields = Mapping[str, Any]

_SCALERS = {
    ("autoscaling", "HorizontalPodAutoscaler"): "the HorizontalPodAutoscaler",
    ("keda.sh", "ScaledObject"): "KEDA, by the ScaledObject",
}


def check(subject: Subject) -> Iterator[Finding]:
    """Every object, one finding for each field that has another writer."""
    scaled = _scaled(subject)
    for manifest in subject.manifests:
        spec = manifest.content.get("spec")
        scaler = scaled.get((manifest.kind, manifest.name, _namespace(subject, manifest)))
        if scaler and isinstance(spec, dict) and spec.get("replicas") is not None:
            yield _finding(subject, manifest, "spec.replicas", scaler, f"{scaler} sets it from the start.")
        for entry in _writers()["fields"]:
            yield from _stated(subject, manifest, entry)
        for path, key in _keys(manifest.content, ""):
            yield _finding(subject, manifest, f"{path}.{key}", _writers()["metadata"][key])


def _finding(subject: Subject, manifest: Manifest, path: str, writer: str, instead: str = "") -> Finding:
    return subject.finding(
        CHECK,
        manifest,
        f"{writer[0].upper()}{writer[1:]} writes {path} as well: an upgrade conflicts with it or takes its value back.",
        f"Leave {path} out of the object. {instead}".rstrip(),
        path=path,
    )


@lru_cache(maxsize=1)
def _writers() -> Any:
    return load_yaml((files("drydock") / "data" / "field-writers.yaml").read_text())


def _scaled(subject: Subject) -> dict[tuple[str, str, str], str]:
    """What autoscalers scale, with the autoscaler."""
    found = {}
    for manifest in subject.manifests:
        who = _SCALERS.get((_group(manifest), manifest.kind))
        target = (manifest.content.get("spec") or {}).get("scaleTargetRef") or {}
        if who and target:
            key = str(target.get("kind", "Deployment")), str(target.get("name")), _namespace(subject, manifest)
            found[key] = f"{who} {manifest.name}"
    return found


def _namespace(subject: Subject, manifest: Manifest) -> str:
    return manifest.namespace or subject.rendered.environment.namespace


def _group(manifest: Manifest) -> str:
    return manifest.api_version.rpartition("/")[0]


def _stated(subject: Subject, manifest: Manifest, entry: Fields) -> Iterator[Finding]:
    if (_group(manifest), manifest.kind) != (entry["group"], entry["kind"]):
        return
    annotations = manifest.content["metadata"].get("annotations") or {}
    if "annotated" in entry and entry["annotated"] not in annotations:
        return
    if "where" in entry and not any(
        entry["where"]["value"] in (None, value) for _, value in _at(manifest.content, entry["where"]["path"])
    ):
        return
    for path, _ in _at(manifest.content, entry["path"]):
        yield _finding(subject, manifest, path, entry["writer"], entry.get("instead", ""))


def _at(node: Any, path: str, before: str = "") -> Iterator[tuple[str, Any]]:
    """What an object states at a path, each with its own path."""
    step, _, rest = path.partition(".")
    name = step.removesuffix("[]")
    if not isinstance(node, Mapping) or node.get(name) in (None, ""):
        return
    items = enumerate(node[name]) if step.endswith("[]") else ((None, node[name]),)
    for position, value in items:
        own = f"{before}{name}" + ("" if position is None else f".{position}")
        if rest:
            yield from _at(value, rest, f"{own}.")
        else:
            yield own, value


def _keys(node: Any, path: str) -> Iterator[tuple[str, str]]:
    """Labels and annotations that others write, of an object and of everything with metadata in it."""
    if isinstance(node, Mapping):
        metadata = node.get("metadata")
        if isinstance(metadata, Mapping):
            for part in ("labels", "annotations"):
                for key in metadata.get(part) or ():
                    if key in _writers()["metadata"]:
                        yield f"{path}metadata.{part}", key
        for name, value in node.items():
            yield from _keys(value, f"{path}{name}.")
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from _keys(value, f"{path}{position}.")
