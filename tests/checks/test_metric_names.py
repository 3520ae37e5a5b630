"""Metrics that scalers and dashboards name exist, and what wakes a model outlives its pods."""

import json
from typing import Any

import pytest

from drydock.checks.findings import Finding, Severity
from drydock.checks.metric_names import sources
from drydock.checks.promql import metric_names
from drydock.project import Project
from drydock.testing.pytest_plugin import RenderEnvironment
from tests.checks.helpers import findings
from tests.scheduling.builders import deployment, pod_spec

WAITING = 'vllm:num_requests_waiting{model_name="a"}'
HERE = {"metadata": {"name": "model", "namespace": "genai"}}


def scaled(*triggers: dict[str, Any], **spec: Any) -> str:
    content = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        **HERE,
        "spec": {"scaleTargetRef": {"name": "model"}, "triggers": list(triggers), **spec},
    }
    return json.dumps(content) + "\n---\n"


def asks(url: str, **metadata: str) -> dict[str, Any]:
    return {"type": "metrics-api", "metadata": {"url": url, "valueLocation": "requests", **metadata}}


def prometheus(query: str) -> dict[str, Any]:
    return {"type": "prometheus", "metadata": {"serverAddress": "http://p:9090", "query": query, "threshold": "1"}}


def service(name: str, selector: dict[str, str]) -> str:
    content = {"kind": "Service", "metadata": {"name": name, "namespace": "genai"}, "spec": {"selector": selector}}
    return json.dumps({"apiVersion": "v1", **content}) + "\n---\n"


MODEL = deployment(pod_spec()) + service("model", {"app": "model"})
ACTIVATOR = service("activator", {"app": "activator"})
COUNT = asks("http://activator.genai:8081/models/a")


def wake(text: str) -> list[Finding]:
    return findings(MODEL + text, "wake-up-signal")


def unknown(text: str) -> list[Finding]:
    return findings(text, "metric-unknown")


@pytest.mark.parametrize(
    "trigger",
    [
        prometheus(f"sum({WAITING})"),
        asks("http://model.genai:8000/metrics", format="prometheus", valueLocation=WAITING),
        asks("http://model.genai.svc.cluster.local:8000/count"),
        {"type": "cpu", "metadata": {"value": "60"}},
        COUNT,
    ],
)
def test_a_signal_that_goes_with_the_pods_wakes_nobody(trigger: dict[str, Any]) -> None:
    (found,) = wake(scaled(trigger, minReplicaCount=0))
    assert found.severity is Severity.ERROR
    assert "nothing wakes it again" in found.reason
    assert wake(scaled(trigger, minReplicaCount=1)) == []
    assert wake(scaled(trigger, minReplicaCount=1, idleReplicaCount=0)) != []


def test_the_one_that_is_to_count_must_be_there() -> None:
    (found,) = wake(scaled(COUNT))
    assert "no Service of the release answers at activator.genai" in found.reason
    assert wake(scaled(COUNT) + ACTIVATOR) == []


@pytest.mark.parametrize(
    "trigger",
    [
        asks("http://activator.other:8081/models/a"),
        prometheus("sum(activator_requests)"),
        prometheus("sum(rate(ingress_requests_total[1m]))"),
        {"type": "cron", "metadata": {"start": "0 8 * * *"}},
        {"type": "aws-sqs-queue", "metadata": {"queueLength": "5"}},
    ],
)
def test_a_signal_from_elsewhere_wakes_it(trigger: dict[str, Any]) -> None:
    assert wake(scaled(trigger)) == []
    assert wake(scaled(prometheus(f"sum({WAITING})"), trigger)) == []


def test_metrics_that_the_pinned_engine_does_not_have() -> None:
    (found,) = unknown(scaled(prometheus('avg(vllm:gpu_cache_usage_perc{a="b"})'), COUNT) + ACTIVATOR)
    assert found.severity is Severity.ERROR
    assert "Vllm exposes no metric vllm:gpu_cache_usage_perc" in found.reason
    (misspelt,) = unknown(scaled(prometheus("vlm:num_requests_waiting"), COUNT) + ACTIVATOR)
    assert "vllm:num_requests_waiting" in misspelt.remedy
    (foreign,) = unknown(scaled(prometheus("queue_depth_of_ours"), COUNT) + ACTIVATOR)
    assert foreign.severity is Severity.WARNING


def autoscaler(metric: str) -> str:
    spec = {"metrics": [{"type": "Pods", "pods": {"metric": {"name": metric}}}], "scaleTargetRef": {"name": "model"}}
    content = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        **HERE,
        "spec": {**spec, "maxReplicas": 2},
    }
    return json.dumps(content) + "\n---\n"


def test_adapters_write_an_underscore_for_a_colon() -> None:
    assert unknown(autoscaler("vllm_num_requests_waiting")) == []
    assert unknown(autoscaler("vllm_num_requests_wait")) != []


def rules(*entries: dict[str, Any]) -> str:
    spec = {"groups": [{"name": "models", "rules": list(entries)}]}
    return json.dumps({"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", **HERE, "spec": spec})


def test_rules_and_what_they_record() -> None:
    recorded = {"record": "model:queue", "expr": "sum by (model_name) (vllm:num_requests_waiting)"}
    assert unknown(rules(recorded, {"alert": "Queue", "expr": "model:queue > 10 and up == 1"})) == []
    (found,) = unknown(rules({"alert": "Slow", "expr": "rate(vllm:e2e_request_latency_seconds[5m]) > 1"}))
    assert found.path == "rule Slow"


def files(**data: str) -> str:
    named = {key.replace("_", "."): text for key, text in data.items()}
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", **HERE, "data": named}) + "\n---\n"


def cloudformation(metric: str, searched: str, drawn: str, namespace: str = "Drydock") -> str:
    search = f"SEARCH('{{{namespace},ClusterName}} MetricName=\"{searched}\"', 'Sum')"
    widgets = [{"properties": {"metrics": [[{"expression": search}], [namespace, drawn, "ClusterName", "dev"]]}}]
    stat = {"Metric": {"Namespace": namespace, "MetricName": metric}}
    alarm = {"Type": "AWS::CloudWatch::Alarm", "Properties": {"Metrics": [{"MetricStat": stat}]}}
    dashboard = {
        "Type": "AWS::CloudWatch::Dashboard",
        "Properties": {"DashboardBody": json.dumps({"widgets": widgets})},
    }
    return json.dumps({"AWSTemplateFormatVersion": "2010-09-09", "Resources": {"A": alarm, "D": dashboard}})


def test_alarms_and_dashboards_of_cloudformation() -> None:
    known = ("vllm:time_to_first_token_seconds", "DCGM_FI_DEV_GPU_UTIL", "karpenter_nodepools_cost_total")
    assert unknown(files(template_json=cloudformation(*known))) == []
    wrong = ("vllm:num_requests_run", "DCGM_FI_DEV_GPU_UTILS", "karpenter_nodepools_costs_total")
    assert {each.remedy.split()[1] for each in unknown(files(template_json=cloudformation(*wrong)))} == {
        "vllm:num_requests_running",
        *known[1:],
    }
    assert unknown(files(template_json=cloudformation("node_cpu", "pod_cpu", "x", "ContainerInsights"))) == []


def test_metrics_that_a_collector_sends() -> None:
    def collector(name: str) -> str:
        return f"exporters: {{awsemf: {{metric_declarations: [{{metric_name_selectors: ['^{name}$$', '.*']}}]}}}}"

    block = "metric_declarations:\n"
    assert unknown(files(collector_yaml=f"# {block}{collector('vllm:e2e_request_latency_seconds')}")) == []
    (found,) = unknown(files(collector_yaml=f"# {block}{collector('vllm:e2e_latency_seconds')}"))
    assert found.severity is Severity.ERROR


def test_dashboards() -> None:
    def dashboard(expression: str) -> str:
        panels = {"panels": [{"panels": [{"targets": [{"expr": expression}]}]}]}
        data = {"models.json": json.dumps(panels), "other.json": "{}"}
        return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", **HERE, "data": data})

    assert (
        unknown(
            dashboard(
                "histogram_quantile(0.9, sum by (le) (rate(vllm:time_to_first_token_seconds_bucket[$__rate_interval])))"
            )
        )
        == []
    )
    (found,) = unknown(dashboard("litellm_requests_total"))
    assert found.path == "data.models.json"


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ('sum(rate(a_total{b="c_total"}[5m])) by (d)', ["a_total"]),
        ("a / on(b) group_left(c) d", ["a", "d"]),
        ('{__name__="vllm:x", a="b"} > 1e3', ["vllm:x"]),
        ("label_replace(up, 'x', '$1', 'y', '(.*)') or vector(0)", ["up"]),
        ('a{job="$job"} offset 5m unless b[5m:1m] # c', ["a", "b"]),
        ("1.5 * 2", []),
    ],
)
def test_names_in_an_expression(expression: str, names: list[str]) -> None:
    assert list(metric_names(expression)) == names


def test_every_source_says_what_is_its_own() -> None:
    for source in sources():
        assert source.names
        assert not source.prefixes or any(name.startswith(source.prefixes) for name in source.names), source.name


KEDA = "vllm.modelDefaults.any.autoscaling"


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ((f"{KEDA}.minReplicas=1",), "valueLocation"),
        (
            (
                f"{KEDA}.keda.source=prometheus",
                f"{KEDA}.keda.prometheusAddress=http://prometheus:9090",
                "vllm.modelDefaults.any.networkPolicy.metrics.prometheus.namespaceSelector.matchLabels.team=watching",
            ),
            "query",
        ),
    ],
    ids=["of pods", "of Prometheus"],
)
def test_the_scalers_of_the_charts_name_metrics_that_exist(
    settings: tuple[str, ...], where: str, drydock_project: Project, render_environment: RenderEnvironment
) -> None:
    layer = drydock_project.root / "values/capacity/scale-to-zero.yaml"
    rendered = render_environment("dev", files=(layer,), set_values=settings)
    text = "\n---\n".join(json.dumps(each.content) for each in rendered.manifests)
    (scaler,) = rendered.of_kind("ScaledObject")
    named = [each["metadata"].get(where, "") for each in scaler.content["spec"]["triggers"]]
    assert {name for each in named for name in metric_names(each)} >= {"vllm:num_requests_waiting"}
    assert unknown(text) == []
    assert findings(text, "wake-up-signal") == []
