"""Models of a gateway are processed in the regions that data may not leave."""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from drydock.checks.findings import Finding
from drydock.checks.gateways import configurations
from drydock.checks.subject import Subject

CHECK = "model-outside-regions"


def check(subject: Subject) -> Iterator[Finding]:
    """Models of a gateway's configuration whose regions are not among its `dataRegions`, or are not known."""
    for manifest in subject.manifests:
        if manifest.kind != "ConfigMap":
            continue
        for key, document in configurations(manifest):
            allowed, models = document.get("dataRegions"), document.get("models")
            if not isinstance(allowed, list) or not allowed or not isinstance(models, dict):
                continue
            for name, entry in models.items():
                if not isinstance(entry, dict) or entry.get("enabled") is False or not is_outside(entry, allowed):
                    continue
                regions = [str(region) for region in entry.get("regions") or ()]
                yield subject.finding(
                    CHECK,
                    manifest,
                    f"Requests for {name} may be processed in {_named(_outside(regions, allowed))}, and data may not "
                    f"leave {', '.join(allowed)}: the gateway does not serve the model.",
                    _remedy(name, entry, regions),
                    path=f"data.{key}",
                    keys=(str(name), "dataRegions"),
                )


def is_outside(entry: Mapping[str, Any], allowed: Sequence[str]) -> bool:
    """Whether a model of a gateway may be processed in a region that is not allowed, or in one that is not known."""
    regions = entry.get("regions") or ()
    return bool(allowed) and _is_elsewhere(entry) and (not regions or bool(_outside(regions, allowed)))


def _is_elsewhere(entry: Mapping[str, Any]) -> bool:
    host = urlsplit(str(entry.get("url") or "")).hostname or ""
    return bool(entry.get("hosted")) or ("." in host and not host.endswith((".svc", ".svc.cluster.local")))


def _outside(regions: Sequence[str], allowed: Sequence[Any]) -> list[str]:
    return [region for region in regions if not any(fnmatchcase(region, str(pattern)) for pattern in allowed)]


def _named(regions: Sequence[str]) -> str:
    if not regions:
        return "an unknown region"
    return "any region" if "*" in regions else ", ".join(regions)


def _remedy(name: str, entry: Mapping[str, Any], regions: Sequence[str]) -> str:
    if not regions:
        return f"Set models.{name}.regions (or those of its provider) to what your contract says, or remove the model."
    if (entry.get("hosted") or {}).get("kind") == "bedrock":
        return "Name the model by an inference profile of a geography that is allowed, or call an allowed region."
    return "Remove the model, or allow its regions in dataRegions."
