"""Models that a gateway falls back to are served by the release, or named with a URL or a provider."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from drydock.checks.findings import Finding
from drydock.checks.subject import Subject
from drydock.documents import load_yaml_leniently
from drydock.suite.manifests import Manifest

CHECK = "gateway-model-unknown"


def check(subject: Subject) -> Iterator[Finding]:
    """Fallbacks in a gateway's configuration (the suite's own form, and LiteLLM's) to a model that is not there."""
    documents = [
        (manifest, key, document)
        for manifest in subject.manifests
        if manifest.kind == "ConfigMap"
        for key, document in configurations(manifest)
    ]
    known = {name for _, _, document in documents for name in _models(document)}
    for manifest, key, document in documents:
        for name, others in _fallbacks(document):
            for other in others:
                if other not in known:
                    yield _finding(subject, manifest, key, name, str(other), known)


def configurations(manifest: Manifest) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Files of a ConfigMap that may configure a gateway, by their names."""
    for key, text in (manifest.content.get("data") or {}).items():
        if key.endswith((".json", ".yaml", ".yml")) and any(
            word in text for word in ("fallbacks", "model_list", "url")
        ):
            document = load_yaml_leniently(text)
            if isinstance(document, dict):
                yield key, document


def _models(document: Mapping[str, Any]) -> Iterator[str]:
    models = document.get("models")
    whole = document if all(isinstance(section, dict) and "url" in section for section in document.values()) else {}
    for name, entry in {**whole, **(models if isinstance(models, dict) else {})}.items():
        if isinstance(entry, dict) and (entry.get("url") or entry.get("hosted")):
            served = entry.get("names")
            yield from (str(model) for model in (served if isinstance(served, list) else [name]))
    listed = document.get("model_list")
    for item in listed if isinstance(listed, list) else ():
        if isinstance(item, dict):
            yield str(item.get("model_name"))


def _fallbacks(document: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    models = document.get("models")
    for name, entry in models.items() if isinstance(models, dict) else ():
        if isinstance(entry, dict) and isinstance(entry.get("fallbacks"), list):
            yield str(name), entry["fallbacks"]
    for part in ("router_settings", "litellm_settings"):
        settings = document.get(part)
        for fallback in (settings.get("fallbacks") or ()) if isinstance(settings, dict) else ():
            if isinstance(fallback, dict):
                yield from ((str(name), others) for name, others in fallback.items() if isinstance(others, list))


def _finding(subject: Subject, manifest: Manifest, key: str, name: str, other: str, known: set[str]) -> Finding:
    near = difflib.get_close_matches(other, sorted(known), 1)
    guess = f"Did you mean {near[0]}? " if near else ""
    return subject.finding(
        CHECK,
        manifest,
        f"Requests for {name} fall back to {other}, which no endpoint of the release serves: they fail twice.",
        f"{guess}Name one of {', '.join(sorted(known)) or 'none'}, or add the model.",
        path=f"data.{key}",
        keys=("fallbacks",),
        value=other,
    )
