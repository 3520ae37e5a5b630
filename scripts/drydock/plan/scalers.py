"""What scales the pods of a model, and how long a new one takes: read from what the charts render."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from drydock.engines.cold_start import cold_start

if TYPE_CHECKING:
    from drydock.scheduling.pods import PodUse
    from drydock.suite.manifests import Manifest

Look = Literal["waiting", "running", "requests", "kv_usage"]
_LOOKS: tuple[tuple[str, Look], ...] = (
    ("num_requests_waiting", "waiting"),
    ("num_requests_running", "running"),
    ("kv_cache_usage", "kv_usage"),
)
_IMAGE = "vllm/vllm-openai:any"
_THROUGHPUT = 50 * 1024**2
_COMPILE_SECONDS = 600.0


@dataclass(frozen=True)
class Metric:
    """What is looked at: a sum shared among the pods (`per_pod`), or an average compared as it is."""

    look: Look
    target: float
    per_pod: bool


@dataclass(frozen=True)
class Scaler:
    """Settings of an autoscaler; the defaults are those of the chart.

    Attributes:
        period: s between two looks.
        scale_down_seconds: of less load before pods go.
        cooldown_seconds: without a request until the last pod goes, where `least` is 0.
        ignored: metrics that are not simulated.
    """

    least: int = 1
    most: int = 2
    metrics: tuple[Metric, ...] = (Metric("waiting", 5.0, True), Metric("kv_usage", 0.8, False))
    period: float = 15.0
    scale_down_seconds: float = 600.0
    cooldown_seconds: float = 900.0
    ignored: tuple[str, ...] = ()


def find_scaler(manifests: Sequence["Manifest"], workload: str) -> Scaler | None:
    """The HorizontalPodAutoscaler or ScaledObject of a Deployment, None where it has neither."""
    for manifest in manifests:
        spec = manifest.content.get("spec") or {}
        if (spec.get("scaleTargetRef") or {}).get("name") != workload:
            continue
        if manifest.kind == "HorizontalPodAutoscaler":
            return _horizontal(spec)
        if manifest.kind == "ScaledObject":
            return _scaled_object(spec)
    return None


def start_seconds(pod: "PodUse | None", container: str, weights_bytes: float) -> tuple[float, str]:
    """From the wish for a pod to its readiness on a new node, s, and where that comes from, in words.

    Node and image as the check `progress-deadline` takes them; then what the startup probe allows, or for a model
    alone what the chart would allow: weights at 50 MiB/s and ten minutes.
    """
    specs = (
        ()
        if pod is None
        else (pod_container for pod_container in pod.spec.get("containers") or () if pod_container["name"] == container)
    )
    found: Mapping[str, Any] = next(iter(specs), {})
    start = cold_start(found or {"image": _IMAGE})
    load = start.startup or round(weights_bytes / _THROUGHPUT + _COMPILE_SECONDS)
    told = f"{start.node} s for the node, {start.pull or 0} s for the image, {load} s for weights and compilation"
    return start.node + (start.pull or 0) + load, f"{told}, the longest that the startup probe allows"


def _horizontal(spec: Mapping[str, Any]) -> Scaler:
    metrics, ignored = [], []
    for metric in spec.get("metrics") or ():
        body = metric.get(str(metric.get("type", "")).lower()) or {}
        name = str((body.get("metric") or body).get("name", ""))
        target = body.get("target") or {}
        look = _look(name)
        value = target.get("averageValue") or target.get("value")
        if look is None or value is None:
            ignored.append(name)
        else:
            metrics.append(Metric(look, _amount(value), per_pod="averageValue" in target))
    return Scaler(
        least=spec.get("minReplicas", 1),
        most=spec["maxReplicas"],
        metrics=tuple(metrics),
        scale_down_seconds=_window(spec.get("behavior") or {}),
        ignored=tuple(ignored),
    )


def _scaled_object(spec: Mapping[str, Any]) -> Scaler:
    metrics, ignored = [], []
    for trigger in spec.get("triggers") or ():
        told = trigger.get("metadata") or {}
        where = f"{told.get('valueLocation', '')} {told.get('query', '')}"
        look = _look(where) or ("requests" if told.get("valueLocation") == "requests" else None)
        value = told.get("targetValue") or told.get("threshold")
        if look is None or value is None:
            ignored.append(str(trigger.get("name") or trigger.get("type")))
        else:
            metrics.append(
                Metric(look, _amount(value), per_pod=trigger.get("metricType", "AverageValue") == "AverageValue")
            )
    advanced = (spec.get("advanced") or {}).get("horizontalPodAutoscalerConfig") or {}
    return Scaler(
        least=spec.get("minReplicaCount", 0),
        most=spec.get("maxReplicaCount", 100),
        metrics=tuple(metrics),
        scale_down_seconds=_window(advanced.get("behavior") or {}),
        cooldown_seconds=float(spec.get("cooldownPeriod", 300)),
        ignored=tuple(ignored),
    )


def _look(name: str) -> Look | None:
    return next((look for part, look in _LOOKS if part in name), None)


def _window(behavior: Mapping[str, Any]) -> float:
    return float((behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds", 300))


def _amount(value: object) -> float:
    text = str(value)
    thousandths = re.fullmatch(r"([0-9.]+)m", text)
    return float(thousandths[1]) / 1000 if thousandths else float(text)
