"""Container Insights: where its programs run, what is sent, what logs become, and alarms and dashboard as data."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

from drydock.checks.promql import metric_names
from drydock.errors import RenderError
from drydock.project import Project
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart, RenderEnvironment
from tests.charts.objects import POD_IDENTITY, by_name

CHART = "container-insights"
NAME = f"genai-{CHART}"
CLUSTER: dict[str, Any] = {"global": {"clusterName": "dev", "region": "us-west-2"}}
EVERYTHING = {**CLUSTER, "prometheus": {"enabled": True}, "grafana": {"enabled": True}}
PARTS = ("agent", "dcgmExporter", "neuronMonitor", "collector", "logs", "cloudFormation")
RUNTIME = {"agent": "agent", "dcgmExporter": "dcgm-exporter", "neuronMonitor": "neuron-monitor", "logs": "fluent-bit"}


def _pod(manifests: Iterable[Manifest], kind: str, component: str) -> Any:
    return by_name(manifests, kind)[f"{NAME}-{component}"]["spec"]["template"]["spec"]


def _collector(manifests: Iterable[Manifest]) -> Any:
    return yaml.safe_load(by_name(manifests, "ConfigMap")[f"{NAME}-collector"]["data"]["collector.yaml"])


def _sent(manifests: Iterable[Manifest]) -> dict[str, list[list[str]]]:
    """Dimension sets of each metric that the collector sends."""
    declarations = _collector(manifests)["exporters"]["awsemf"]["metric_declarations"]
    return {
        selector.removeprefix("^").removesuffix("$$"): each["dimensions"]
        for each in declarations
        for selector in each["metric_name_selectors"]
    }


def _template(manifests: Iterable[Manifest]) -> str:
    text: str = by_name(manifests, "ConfigMap")[f"{NAME}-cloudformation"]["data"]["template.json"]
    return text


def _alarms(manifests: Iterable[Manifest]) -> dict[str, Any]:
    resources = json.loads(_template(manifests))["Resources"]
    return {
        each["Properties"]["AlarmName"]: each["Properties"]
        for each in resources.values()
        if each["Type"] == "AWS::CloudWatch::Alarm"
    }


def test_each_part_has_a_switch_that_leaves_nothing_of_it(render_chart: RenderChart) -> None:
    off = {**CLUSTER, **{part: {"enabled": False} for part in PARTS}}
    assert render_chart(CHART, off) == ()
    for part, component in RUNTIME.items():
        names = {each.name for each in render_chart(CHART, {**off, part: {"enabled": True}})}
        assert names == {f"{NAME}-{component}"}


def test_cluster_and_region_are_needed(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match=r"set global\.clusterName"):
        render_chart(CHART, {"global": {"region": "us-west-2"}})
    with pytest.raises(RenderError, match=r"set global\.region"):
        render_chart(CHART, {"global": {"clusterName": "dev"}})


def test_exporters_find_their_nodes_by_labels_and_not_by_instance_types(render_chart: RenderChart) -> None:
    def keys(values: Mapping[str, Any], component: str) -> set[str]:
        affinity = _pod(render_chart(CHART, values), "DaemonSet", component)["affinity"]["nodeAffinity"]
        terms = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        return {each["key"] for term in terms for each in term["matchExpressions"]}

    auto_mode = {"global": {**CLUSTER["global"], "autoMode": {"enabled": True}}}
    assert keys(CLUSTER, "dcgm-exporter") == {
        "drydock.dev/nvidia-device-plugin",
        "karpenter.k8s.aws/instance-gpu-manufacturer",
    }
    assert "eks.amazonaws.com/instance-gpu-manufacturer" in keys(auto_mode, "dcgm-exporter")
    assert "drydock.dev/neuron-device-plugin" in keys(CLUSTER, "neuron-monitor")


def test_the_gpu_exporter_works_on_bottlerocket_and_has_no_more_rights_than_its_counters_need(
    render_chart: RenderChart,
) -> None:
    (container,) = _pod(render_chart(CHART, CLUSTER), "DaemonSet", "dcgm-exporter")["containers"]
    assert "/var/run/nvidia-container-devices/all" in {each["mountPath"] for each in container["volumeMounts"]}
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    profiling = {**CLUSTER, "dcgmExporter": {"counters": {"DCGM_FI_PROF_SM_ACTIVE": "gauge"}}}
    (container,) = _pod(render_chart(CHART, profiling), "DaemonSet", "dcgm-exporter")["containers"]
    assert container["securityContext"]["capabilities"]["add"] == ["SYS_ADMIN"]


def test_counters_that_the_collector_sends_are_read(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, CLUSTER)
    lines = by_name(manifests, "ConfigMap")[f"{NAME}-dcgm-exporter"]["data"]["counters.csv"].splitlines()
    assert all(len(line.split(", ")) == 3 for line in lines)
    read = {line.partition(",")[0] for line in lines}
    assert {each for each in _sent(manifests) if each.startswith("DCGM_")} <= read


def test_the_host_is_mounted_read_only_but_for_the_places_in_files(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, CLUSTER)
    for component in RUNTIME.values():
        pod = _pod(manifests, "DaemonSet", component)
        on_host = {each["name"] for each in pod.get("volumes", []) if "hostPath" in each}
        (container,) = pod["containers"]
        writable = {
            each["name"]
            for each in container.get("volumeMounts", [])
            if each["name"] in on_host and not each.get("readOnly")
        }
        assert writable == ({"state"} if component == "fluent-bit" else set())


def test_no_right_is_a_wildcard_and_only_the_agent_looks_at_kubelets(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, CLUSTER)
    rules = {each.name: each.content["rules"] for each in manifests if each.kind in ("ClusterRole", "Role")}
    assert "*" not in json.dumps(rules)
    assert {name for name, of in rules.items() if "nodes/" in json.dumps(of)} <= {f"{NAME}-agent"}
    assert "nodes/proxy" not in json.dumps(rules), "by it any container can be entered"
    assert not any(each.kind == "Secret" for each in manifests)


def test_what_sends_to_aws_gets_its_role(render_chart: RenderChart) -> None:
    policies = by_name(render_chart(CHART, CLUSTER), "NetworkPolicy")
    roles = {name for name, policy in policies.items() if POD_IDENTITY in policy["spec"]["egress"]}
    assert roles == {f"{NAME}-collector", f"{NAME}-fluent-bit"}


def test_only_what_is_allowed_is_read_and_sent(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {**CLUSTER, "collector": {"sources": {"ray": None}}})
    configuration = _collector(manifests)
    sent = _sent(manifests)
    jobs = configuration["receivers"]["prometheus"]["config"]["scrape_configs"]
    assert "ray" not in {each["job_name"] for each in jobs}
    kept = [re.compile(each["metric_relabel_configs"][0]["regex"]) for each in jobs]
    assert all(any(each.fullmatch(name) for each in kept) for name in sent)
    assert not any(each.fullmatch("vllm:cache_config_info") for each in kept)
    assert any(each.fullmatch("vllm:time_to_first_token_seconds_bucket") for each in kept)
    assert sent["vllm:num_requests_waiting"] == [["ClusterName"], ["ClusterName", "model_name"]]
    assert {name for sets in sent.values() for dimensions in sets for name in dimensions}.isdisjoint(
        {"pod", "scraped_pod", "instance", "uid"}
    )
    assert configuration["exporters"]["awsemf"]["dimension_rollup_option"] == "NoDimensionRollup"
    pipeline = configuration["service"]["pipelines"]["metrics"]
    assert "cumulativetodelta" in pipeline["processors"]
    assert {*pipeline["receivers"]} == {*configuration["receivers"]}
    assert {*pipeline["processors"]} == {*configuration["processors"]}


def test_a_pod_says_where_its_metrics_are_unless_its_source_does(render_chart: RenderChart) -> None:
    """A NIM has those of vLLM at a path of its own."""
    sources = {"sources": {"karpenter": {"path": "/own"}}}
    manifests = render_chart(CHART, {**EVERYTHING, "collector": sources})
    annotation = "__meta_kubernetes_pod_annotation_prometheus_io_path"
    jobs = {
        each["job_name"]: (
            each["metrics_path"],
            [rule["target_label"] for rule in each["relabel_configs"] if annotation in rule.get("source_labels", ())],
        )
        for each in _collector(manifests)["receivers"]["prometheus"]["config"]["scrape_configs"]
    }
    assert (jobs["vllm"], jobs["karpenter"]) == (("/metrics", ["__metrics_path__"]), ("/own", []))
    endpoints = {
        name: each["spec"]["podMetricsEndpoints"][0] for name, each in by_name(manifests, "PodMonitor").items()
    }
    (relabeling,) = endpoints[f"{NAME}-vllm"]["relabelings"]
    assert relabeling == {"sourceLabels": [annotation], "regex": "(.+)", "targetLabel": "__metrics_path__"}
    assert "relabelings" not in endpoints[f"{NAME}-karpenter"]


def test_a_dollar_of_a_regular_expression_is_no_variable_of_the_collector(render_chart: RenderChart) -> None:
    text = by_name(render_chart(CHART, CLUSTER), "ConfigMap")[f"{NAME}-collector"]["data"]["collector.yaml"]
    assert "$" in text
    assert "$" not in text.replace("$$", "")


def test_an_alarm_or_panel_of_a_metric_that_is_not_sent_is_left_out(render_chart: RenderChart) -> None:
    without = {**CLUSTER, "collector": {"sources": {"dcgm": {"enabled": False}}}}
    assert "DCGM_" in _template(render_chart(CHART, CLUSTER))
    manifests = render_chart(CHART, without)
    assert "DCGM_" not in _template(manifests)
    assert {"dev-gpu-errors", "dev-gpu-idle"}.isdisjoint(_alarms(manifests))
    with pytest.raises(RenderError, match=r"alarms\.entries\.typo is no alarm"):
        render_chart(
            CHART, {**CLUSTER, "alarms": {"entries": {"typo": {"enabled": True, "threshold": 1, "minutes": 1}}}}
        )


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterable[None]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield


@pytest.mark.usefixtures("account")
def test_cloudwatch_takes_the_dashboard_and_every_alarm(render_chart: RenderChart) -> None:
    topic = boto3.client("sns", "us-west-2").create_topic(Name="alarms")["TopicArn"]
    manifests = render_chart(CHART, {**CLUSTER, "alarms": {"topicArn": topic}})
    assert _template(render_chart(CHART, {**CLUSTER, "alarms": {"topicArn": topic}})) == _template(manifests)
    stacks = boto3.client("cloudformation", "us-west-2")
    stacks.validate_template(TemplateBody=_template(manifests))
    template = json.loads(_template(manifests))
    # Moto makes alarms by the API of CloudWatch alone, whose arguments are the properties.
    drawn = {name: each for name, each in template["Resources"].items() if each["Type"].endswith("::Dashboard")}
    stacks.create_stack(StackName="dev", TemplateBody=json.dumps({**template, "Resources": drawn}))
    cloudwatch = boto3.client("cloudwatch", "us-west-2")
    body = json.loads(cloudwatch.get_dashboard(DashboardName="dev-models")["DashboardBody"])
    assert {each["properties"]["title"] for each in body["widgets"]} >= {"Tokens per minute", "Use of GPUs (percent)"}
    places = [(each["x"], each["y"]) for each in body["widgets"]]
    assert len(set(places)) == len(places)
    alarms = _alarms(manifests)
    for properties in alarms.values():
        cloudwatch.put_metric_alarm(**properties)
    made = {each["AlarmName"]: each for each in cloudwatch.describe_alarms()["MetricAlarms"]}
    assert set(made) == set(alarms)
    assert made["dev-queue"]["AlarmActions"] == [topic]
    assert len(made["dev-cost-per-million-tokens"]["Metrics"]) == 3


def test_alarms_look_at_what_the_collector_sends_over_a_time_that_cloudwatch_allows(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, CLUSTER)
    sent = _sent(manifests)
    for name, alarm in _alarms(manifests).items():
        stats = [each["MetricStat"] for each in alarm["Metrics"] if "MetricStat" in each]
        for each in stats:
            assert each["Metric"]["MetricName"] in sent, name
            assert each["Metric"]["Namespace"] == "Drydock"
            assert [pair["Name"] for pair in each["Metric"]["Dimensions"]] in sent[each["Metric"]["MetricName"]]
            assert each["Period"] * alarm["EvaluationPeriods"] <= 86400
        assert [each["ReturnData"] for each in alarm["Metrics"]].count(True) == 1


def _math(expression: str, values: Mapping[str, float]) -> float:
    """Metric math of one point in time."""
    text = expression.replace("PERIOD(tokens)", "3600")
    assert re.fullmatch(r"[\w\s*/+().-]+", text)
    return float(eval(text, {"__builtins__": {}}, dict(values)))


def test_cost_of_a_million_tokens(render_chart: RenderChart) -> None:
    """Three pools of 10, 20 and 30 dollars an hour, read every 30 seconds, and six million tokens in an hour."""
    values = {**CLUSTER, "collector": {"intervalSeconds": 30}}
    by_karpenter = _alarms(render_chart(CHART, values))["dev-cost-per-million-tokens"]["Metrics"][-1]["Expression"]
    sums = {"dollars": 120 * (10 + 20 + 30), "tokens": 6_000_000}
    assert _math(by_karpenter, sums) == pytest.approx(10)
    fixed = _alarms(render_chart(CHART, {**CLUSTER, "alarms": {"dollarsPerHour": 60}}))["dev-cost-per-million-tokens"]
    assert [each["Id"] for each in fixed["Metrics"]] == ["tokens", "result"]
    assert _math(fixed["Metrics"][-1]["Expression"], {"tokens": 6_000_000}) == pytest.approx(10)


def test_prometheus_and_grafana_get_the_same(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, EVERYTHING)
    (rules,) = by_name(manifests, "PrometheusRule").values()
    ruled = rules["spec"]["groups"][0]["rules"]
    assert len(ruled) == len(_alarms(manifests))
    dashboard = by_name(manifests, "ConfigMap")[f"{NAME}-grafana"]
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    panels = json.loads(dashboard["data"]["drydock-models.json"])["panels"]
    widgets = json.loads(json.loads(_template(manifests))["Resources"]["Dashboard"]["Properties"]["DashboardBody"])
    assert [each["title"] for each in panels] == [each["properties"]["title"] for each in widgets["widgets"]]
    monitors = by_name(manifests, "PodMonitor")
    kept = [
        re.compile(each["spec"]["podMetricsEndpoints"][0]["metricRelabelings"][0]["regex"])
        for each in monitors.values()
    ]
    expressions = [each["expr"] for each in ruled] + [each["targets"][0]["expr"] for each in panels]
    named = {name for each in expressions for name in metric_names(each)}
    assert all(any(each.fullmatch(name) for each in kept) for name in named)
    assert not any(each.kind in ("PrometheusRule", "PodMonitor") for each in render_chart(CHART, CLUSTER))


LINES = {
    "vllm": [
        (
            "(APIServer pid=1) INFO 11-21 03:10:11 [api_server.py:1] Started.",
            {"process": "APIServer", "level": "INFO", "where": "api_server.py:1", "message": "Started."},
        ),
        (
            "ERROR 11-21 03:10:11 [core.py:700] EngineCore failed\nTraceback (most recent call last):\n  File x",
            {"level": "ERROR", "message": "EngineCore failed\nTraceback (most recent call last):\n  File x"},
        ),
    ],
    "uvicorn": [
        (
            '(APIServer pid=1) INFO:     10.0.0.1:41000 - "POST /v1/completions HTTP/1.1" 200 OK',
            {"method": "POST", "path": "/v1/completions", "status": "200", "client": "10.0.0.1:41000"},
        ),
        ("INFO:     Application startup complete.", {"level": "INFO", "message": "Application startup complete."}),
    ],
    "ray": [
        (
            "2026-01-31 12:00:00,123\tINFO worker.py:1879 -- Connected to Ray cluster.",
            {"level": "INFO", "where": "worker.py:1879", "message": "Connected to Ray cluster."},
        ),
    ],
    "klog": [
        (
            "E1121 03:10:11.123456       1 controller.go:12] Failed.",
            {"level": "E", "where": "controller.go:12", "message": "Failed."},
        ),
    ],
}


@pytest.fixture
def parsers(render_chart: RenderChart) -> dict[str, re.Pattern[str]]:
    """Regular expressions of the parsers, in the order in which they are tried."""
    data = by_name(render_chart(CHART, CLUSTER), "ConfigMap")[f"{NAME}-fluent-bit"]["data"]
    known = dict(re.findall(r"Name +(\w+)\n +Format +regex\n +Regex +(.*)", data["parsers.conf"]))
    tried = re.findall(r"^ +Parser +(\w+)$", data["fluent-bit.conf"], re.MULTILINE)
    # Onigmo lets a dot stand for anything but a line's end, as Python does; its groups lack the P.
    return {name: re.compile(re.sub(r"\(\?<(?=\w)", "(?P<", known[name])) for name in tried}


def _parse(parsers: Mapping[str, re.Pattern[str]], line: str) -> tuple[str, dict[str, str]]:
    for name, parser in parsers.items():
        if found := parser.match(line):
            return name, {key: value for key, value in found.groupdict().items() if value is not None}
    return "", {}


def test_lines_of_logs_become_fields(parsers: dict[str, re.Pattern[str]]) -> None:
    assert list(parsers) == list(LINES)
    for name, examples in LINES.items():
        for line, fields in examples:
            by, found = _parse(parsers, line)
            assert by == name, line
            assert fields.items() <= found.items()
    assert _parse(parsers, "something else altogether") == ("", {})
    audit = json.dumps({"log": "audit", "model": "llama"})
    assert _parse(parsers, audit) == ("", {})


def test_logs_of_excluded_namespaces_are_not_read(render_chart: RenderChart) -> None:
    def excluded(**namespaces: Any) -> str:
        values = {**CLUSTER, "logs": {"excludedNamespaces": namespaces}}
        text = by_name(render_chart(CHART, values), "ConfigMap")[f"{NAME}-fluent-bit"]["data"]["fluent-bit.conf"]
        (found,) = re.findall(r"Exclude_Path +(.*)", text)
        return str(found)

    assert "*_kube-node-lease_*" in excluded()
    assert "*_ours_*" in excluded(ours=True)
    assert "kube-node-lease" not in excluded(**{"kube-node-lease": None})


def test_the_log_groups_are_those_that_terraform_makes(render_chart: RenderChart, drydock_project: Project) -> None:
    manifests = render_chart(CHART, CLUSTER)
    text = (drydock_project.root / "ci/eks/storage.tf").read_text()
    (made,) = re.findall(r'for_each = toset\((\["application".*\])\)', text)
    assert "/aws/containerinsights/${local.name}/${each.value}" in text
    groups = {
        _collector(manifests)["exporters"]["awsemf"]["log_group_name"],
        *re.findall(
            r"log_group_name +(\S+)",
            by_name(manifests, "ConfigMap")[f"{NAME}-fluent-bit"]["data"]["fluent-bit.conf"],
        ),
    }
    assert groups == {f"/aws/containerinsights/dev/{name}" for name in ("application", "prometheus")}
    assert {group.rpartition("/")[2] for group in groups} <= set(json.loads(made))


def test_prod_sends_metrics_of_pods_that_it_has_and_is_let_in(render_environment: RenderEnvironment) -> None:
    rendered = render_environment("prod")
    jobs = _collector(rendered.manifests)["receivers"]["prometheus"]["config"]["scrape_configs"]
    selectors = {
        each["job_name"]: dict(
            pair.split("=") for pair in each["kubernetes_sd_configs"][0]["selectors"][0]["label"].split(",")
        )
        for each in jobs
    }
    pods = [
        each.content["spec"]["template"]["metadata"]["labels"]
        for each in rendered.manifests
        if each.kind in ("Deployment", "DaemonSet")
    ]
    for job in ("vllm", "gateway", "activator", "dcgm", "neuron", "argo"):
        assert any(selectors[job].items() <= labels.items() for labels in pods), job
    argo = by_name(rendered.manifests, "NetworkPolicy")["genai-argo-workflow-controller"]["spec"]["ingress"]
    collector = by_name(rendered.manifests, "Deployment")[f"{NAME}-collector"]["spec"]["template"]["metadata"]["labels"]
    peers = [peer["podSelector"]["matchLabels"] for rule in argo for peer in rule["from"]]
    assert any(peer.items() <= collector.items() for peer in peers)


def test_the_page_counts_the_metrics_as_the_values_do(render_chart: RenderChart, drydock_project: Project) -> None:
    sent = _sent(render_chart(CHART, CLUSTER))
    text = (drydock_project.charts_dir / CHART / "README.md").read_text()
    counts = {
        what: int(number) for number, what in re.findall(r"(\d+) (?:of the|for each) (cluster|model \+|GPU node)", text)
    }
    assert counts["cluster"] == len(sent)
    assert counts["model +"] == sum(["ClusterName", "model_name"] in sets for sets in sent.values())
    assert counts["GPU node"] == sum(["ClusterName", "hostname"] in sets for sets in sent.values())
