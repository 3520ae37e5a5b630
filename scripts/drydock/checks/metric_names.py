"""Scalers, alarms and dashboards name metrics that exist, and what wakes a model outlives its pods."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlsplit

from drydock.checks.cloudwatch import metrics_of_file
from drydock.checks.findings import Finding, Severity
from drydock.checks.promql import metric_names
from drydock.checks.subject import Subject
from drydock.documents import load_yaml, load_yaml_leniently
from drydock.suite.manifests import Manifest

UNKNOWN = "metric-unknown"
WAKE = "wake-up-signal"

_SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "summary": ("", "_sum", "_count", "_created"),
}
_EVERYWHERE = frozenset(("up", "ALERTS", "scrape_duration_seconds", "scrape_samples_scraped"))
"""Prometheus's own."""
_NEVER_FROM_ZERO = ("cpu", "memory")
"""Triggers of KEDA that look at pods."""


@dataclass(frozen=True)
class Source:
    """Who exposes metrics.

    Attributes:
        name: as data/metrics.yaml has it.
        prefixes: of names that are its own.
        of_pods: whether its metrics go with the pods of a model.
        names: as they are exposed.
    """

    name: str
    prefixes: tuple[str, ...]
    of_pods: bool
    names: frozenset[str]


@dataclass(frozen=True)
class Use:
    """A metric that an object names.

    Attributes:
        manifest: the object.
        path: where in it.
        metric: its name there.
    """

    manifest: Manifest
    path: str
    metric: str


def check(subject: Subject) -> Iterator[Finding]:
    """Metrics that no program exposes, and scalers to zero that nothing wakes."""
    recorded = {str(rule["record"]) for _, rule in _rules(subject.manifests) if "record" in rule}
    for use in _uses(subject.manifests):
        if use.metric not in recorded and use.metric not in _EVERYWHERE:
            yield from _judge(subject, use)
    for manifest in subject.manifests:
        if manifest.kind == "ScaledObject" and _sleeps(manifest.content["spec"]):
            yield from _wake(subject, manifest)


@lru_cache(maxsize=1)
def sources() -> tuple[Source, ...]:
    """Every program whose metrics are known."""
    data = files("drydock") / "data"
    listed = load_yaml((data / "metrics.yaml").read_text())
    found = []
    for name, entry in listed.items():
        if "file" in entry:
            typed = {each: row["type"] for each, row in load_yaml((data / entry["file"]).read_text()).items()}
        else:
            typed = {known_name: kind for kind, names in entry["names"].items() for known_name in names}
        names = frozenset(f"{each}{suffix}" for each, kind in typed.items() for suffix in _SUFFIXES[kind])
        found.append(Source(name, tuple(entry["prefixes"]), bool(entry.get("ofPods")), names))
    return tuple(found)


def source_of(metric: str) -> Source | None:
    """Who exposes a metric; adapters for HorizontalPodAutoscalers write `_` for `:`."""
    for source in sources():
        if metric in source.names or metric in {name.replace(":", "_") for name in source.names}:
            return source
    return None


def _owner(metric: str) -> Source | None:
    for source in sources():
        if metric.startswith((*source.prefixes, *(prefix.replace(":", "_") for prefix in source.prefixes))):
            return source
    return None


def _judge(subject: Subject, use: Use) -> Iterator[Finding]:
    if source_of(use.metric):
        return
    owner = _owner(use.metric)
    every = sorted({name for source in sources() for name in source.names})
    near = difflib.get_close_matches(use.metric, sorted(owner.names) if owner else every, 1, 0.6 if owner else 0.85)
    wrong = owner is not None or bool(near)
    yield subject.finding(
        UNKNOWN,
        use.manifest,
        f"{owner.name.capitalize() if owner else 'No program that Drydock knows'} exposes no metric {use.metric}"
        + (": it would never be there." if wrong else "."),
        f"Name {near[0]} in its place." if near else "See whether it is spelt right, and who exposes it.",
        path=use.path,
        severity=Severity.ERROR if wrong else Severity.WARNING,
    )


def _uses(manifests: Sequence[Manifest]) -> Iterator[Use]:
    for manifest in manifests:
        if manifest.kind == "ScaledObject":
            yield from _of_triggers(manifest)
        elif manifest.kind == "HorizontalPodAutoscaler":
            yield from _of_autoscaler(manifest)
        elif manifest.kind == "ConfigMap":
            yield from _of_dashboards(manifest)
            yield from _of_cloudwatch(manifest)
    for manifest, rule in _rules(manifests):
        for name in metric_names(str(rule.get("expr", ""))):
            yield Use(manifest, f"rule {rule.get('alert') or rule.get('record')}", name)


def _rules(manifests: Sequence[Manifest]) -> Iterator[tuple[Manifest, Mapping[str, Any]]]:
    for manifest in manifests:
        if manifest.kind == "PrometheusRule":
            for group in manifest.content["spec"].get("groups") or ():
                yield from ((manifest, rule) for rule in group.get("rules") or ())


def _of_triggers(manifest: Manifest) -> Iterator[Use]:
    for index, trigger in enumerate(manifest.content["spec"].get("triggers") or ()):
        for name in _named_by(trigger):
            yield Use(manifest, f"spec.triggers.{index}", name)


def _named_by(trigger: Mapping[str, Any]) -> tuple[str, ...]:
    metadata = trigger.get("metadata") or {}
    if trigger.get("type") == "prometheus":
        return metric_names(str(metadata.get("query", "")))
    if trigger.get("type") == "metrics-api" and metadata.get("format") == "prometheus":
        return metric_names(str(metadata.get("valueLocation", "")))
    return ()


def _of_autoscaler(manifest: Manifest) -> Iterator[Use]:
    for index, metric in enumerate(manifest.content["spec"].get("metrics") or ()):
        for kind in ("pods", "external", "object"):
            if kind in metric:
                yield Use(manifest, f"spec.metrics.{index}", str(metric[kind]["metric"]["name"]))


def _of_dashboards(manifest: Manifest) -> Iterator[Use]:
    for key, text in (manifest.content.get("data") or {}).items():
        if key.endswith(".json") and '"panels"' in text:
            for expression in _expressions(load_yaml_leniently(text)):
                for name in metric_names(expression):
                    yield Use(manifest, f"data.{key}", name)


def _of_cloudwatch(manifest: Manifest) -> Iterator[Use]:
    for key, text in (manifest.content.get("data") or {}).items():
        for name in metrics_of_file(key, text):
            yield Use(manifest, f"data.{key}", f"{name}_sum" if source_of(f"{name}_sum") else name)


def _expressions(node: Any) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        for value in node.values():
            yield from _expressions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _expressions(value)


def _sleeps(spec: Mapping[str, Any]) -> bool:
    return 0 in (int(spec.get("minReplicaCount", 0)), int(spec.get("idleReplicaCount", 1)))


def _wake(subject: Subject, manifest: Manifest) -> Iterator[Finding]:
    triggers = manifest.content["spec"].get("triggers") or ()
    absent = [host for host in map(_host, triggers) if host and _is_missing(subject, host)]
    if any(_outlives(subject, manifest, trigger) for trigger in triggers):
        return
    reason = (
        f"no Service of the release answers at {absent[0]}, whose metric reports waiting requests"
        if absent
        else "everything that it looks at goes with the last pod"
    )
    yield subject.finding(
        WAKE,
        manifest,
        f"It lets the last pod go, and nothing wakes it again: {reason}.",
        "Turn on the chart model-gateway, whose activator counts requests that wait, or set minReplicaCount 1.",
        path="spec.triggers",
    )


def _outlives(subject: Subject, manifest: Manifest, trigger: Mapping[str, Any]) -> bool:
    if trigger.get("type") in _NEVER_FROM_ZERO:
        return False
    if host := _host(trigger):
        return not _is_missing(subject, host) and not _selects_target(subject, manifest, host)
    named = [source_of(metric) for metric in _named_by(trigger)]
    return not named or any(metric is None or not metric.of_pods for metric in named)


def _host(trigger: Mapping[str, Any]) -> str:
    """Host that a trigger asks over HTTP, where it is a Service."""
    if trigger.get("type") != "metrics-api":
        return ""
    return urlsplit(str((trigger.get("metadata") or {}).get("url", ""))).hostname or ""


def _service(subject: Subject, host: str) -> Manifest | None:
    name, _, rest = host.partition(".")
    namespace = rest.partition(".")[0]
    for manifest in subject.manifests:
        if manifest.kind == "Service" and manifest.name == name and namespace in ("", manifest.namespace):
            return manifest
    return None


def _is_missing(subject: Subject, host: str) -> bool:
    """Whether a host is a Service of the release's namespace that the release does not have."""
    namespace = host.partition(".")[2].partition(".")[0]
    return namespace == subject.rendered.environment.namespace and _service(subject, host) is None


def _selects_target(subject: Subject, manifest: Manifest, host: str) -> bool:
    service = _service(subject, host)
    if service is None:
        return False
    selector = (service.content["spec"].get("selector") or {}).items()
    target = manifest.content["spec"]["scaleTargetRef"]
    for rendered_object in subject.manifests:
        if (rendered_object.kind, rendered_object.name) == (target.get("kind", "Deployment"), target["name"]):
            labels = rendered_object.content["spec"]["template"]["metadata"]["labels"].items()
            return bool(selector <= labels)
    return False
