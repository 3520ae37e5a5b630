"""The library chart, seen through a chart that calls one helper."""

import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest
import yaml

from drydock.errors import RenderError
from drydock.suite.charts import AssembledCharts
from drydock.suite.render import render_chart

GPU = {"kind": "nvidia", "count": 2, "pool": "gpu"}
AUTO_MODE = {"global": {"autoMode": {"enabled": True}}}


class Evaluate(Protocol):
    """Evaluates one call of a helper."""

    def __call__(self, call: str, values: Mapping[str, Any] | None = None, *, chart: str = "try") -> Any:
        """What the call gives, read as YAML; RenderError when it fails."""


@pytest.fixture
def evaluate(tmp_path: Path, drydock_charts: AssembledCharts, drydock_tool: Callable[[str], Path]) -> Evaluate:
    def evaluated(call: str, values: Mapping[str, Any] | None = None, *, chart: str = "try") -> Any:
        folder = tmp_path / chart
        (folder / "templates").mkdir(parents=True, exist_ok=True)
        shutil.copytree(drydock_charts.chart("common"), folder / "charts" / "common", dirs_exist_ok=True)
        metadata = {"apiVersion": "v2", "name": chart, "version": "1.2.3", "appVersion": "4.5.6"}
        (folder / "Chart.yaml").write_text(yaml.safe_dump(metadata))
        (folder / "values.yaml").write_text(yaml.safe_dump(dict(values or {})))
        (folder / "templates" / "one.yaml").write_text(
            f"kind: Result\nmetadata: {{name: one}}\nresult:\n  {{{{- {call} | nindent 2 }}}}\n"
        )
        (manifest,) = render_chart(drydock_tool("helm4"), folder)
        return manifest.content["result"]

    return evaluated


def test_names_hold_release_and_chart_once(evaluate: Evaluate) -> None:
    assert evaluate('include "common.fullname" .') == "genai-try"
    assert evaluate('include "common.fullname" .', chart="genai") == "genai"


def test_long_names_are_dns_labels_and_keep_their_ends_apart(evaluate: Evaluate) -> None:
    chart = "c" * 70
    assert len(evaluate('include "common.fullname" .', chart=chart)) == 63
    names = {evaluate(f'include "common.componentName" (tuple . "{end}")', chart=chart) for end in ("one", "two")}
    assert {name[-4:] for name in names} == {"-one", "-two"}
    assert {len(name) for name in names} == {63}
    with pytest.raises(RenderError, match="longer than an object's name may be"):
        evaluate(f'include "common.componentName" (tuple . "{"s" * 62}")')


def test_selectors_hold_nothing_that_changes(evaluate: Evaluate) -> None:
    assert evaluate('include "common.selectorLabels" (dict "root" . "component" "engine")') == {
        "app.kubernetes.io/name": "try",
        "app.kubernetes.io/instance": "genai",
        "app.kubernetes.io/component": "engine",
    }


def test_labels_of_a_user_are_added_and_replace_none(evaluate: Evaluate) -> None:
    call = 'include "common.labels" (dict "root" . "component" "engine" "labels" .Values.labels)'
    own = {"team": "search", "app.kubernetes.io/instance": "stolen"}
    assert evaluate(call, {"labels": own}) == {
        "app.kubernetes.io/name": "try",
        "app.kubernetes.io/instance": "genai",
        "app.kubernetes.io/component": "engine",
        "app.kubernetes.io/part-of": "genai-platform",
        "app.kubernetes.io/managed-by": "Helm",
        "app.kubernetes.io/version": "4.5.6",
        "helm.sh/chart": "try-1.2.3",
        "team": "search",
    }


@pytest.mark.parametrize(
    ("image", "registry", "reference"),
    [
        ({"registry": "docker.io", "repository": "a/b", "tag": "v1"}, "", "docker.io/a/b:v1"),
        ({"repository": "a/b", "tag": "v1"}, "", "a/b:v1"),
        (
            {"registry": "docker.io", "repository": "a/b", "tag": "v1"},
            "own.example/mirror",
            "own.example/mirror/a/b:v1",
        ),
        ({"repository": "a/b", "tag": "v1", "digest": "sha256:12"}, "", "a/b:v1@sha256:12"),
        ({"repository": "a/b", "digest": "sha256:12"}, "", "a/b@sha256:12"),
        ({"repository": "a/b", "tag": "latest", "digest": "sha256:12"}, "", "a/b:latest@sha256:12"),
        ({"repository": "a/b", "tag": 1}, "", "a/b:1"),
    ],
)
def test_images(evaluate: Evaluate, image: Any, registry: str, reference: str) -> None:
    values = {"image": image, "global": {"imageRegistry": registry}}
    assert evaluate('include "common.image" (dict "root" . "image" .Values.image)', values) == reference


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ({"repository": "a/b", "tag": "latest"}, "a/b:latest can change under a running release"),
        ({"repository": "a/b"}, "a/b has neither tag nor digest"),
        ({"tag": "v1"}, "an image has no repository"),
    ],
)
def test_images_that_can_change_are_refused(evaluate: Evaluate, image: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        evaluate('include "common.image" (dict "root" . "image" .Values.image)', {"image": image})


def test_pull_secrets_come_from_the_globals(evaluate: Evaluate) -> None:
    secrets = {"global": {"imagePullSecrets": ["one", "two"]}}
    assert evaluate('include "common.imagePullSecrets" .', secrets) == {
        "imagePullSecrets": [{"name": "one"}, {"name": "two"}]
    }
    assert evaluate('include "common.imagePullSecrets" .') is None


def test_security_contexts_satisfy_restricted_pod_security(evaluate: Evaluate) -> None:
    pod = evaluate('include "common.podSecurityContext" (dict "uid" 2000 "gid" 3000)')
    assert pod["runAsNonRoot"] is True
    assert (pod["runAsUser"], pod["runAsGroup"], pod["fsGroup"]) == (2000, 3000, 3000)
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    assert evaluate('include "common.podSecurityContext" dict')["runAsUser"] == 65534
    assert evaluate('include "common.containerSecurityContext" .') == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    with pytest.raises(RenderError, match="uid 0 is root"):
        evaluate('include "common.podSecurityContext" (dict "uid" 0)')


@pytest.mark.parametrize(
    ("kind", "resource"), [("nvidia", "nvidia.com/gpu"), ("neuron", "aws.amazon.com/neuron"), ("none", None)]
)
def test_an_accelerator_is_resource_toleration_and_pool(evaluate: Evaluate, kind: str, resource: str | None) -> None:
    values = {"accelerator": {"kind": kind, "count": 2, "pool": "mine"}, "resources": {"requests": {"cpu": "3"}}}
    call = (
        'include "common.accelerator" (dict "root" . "accelerator" .Values.accelerator "resources" .Values.resources)'
    )
    result = evaluate(call, values)
    assert result["nodeSelector"] == {"karpenter.sh/nodepool": "mine"}
    if resource is None:
        assert result["resources"] == {"requests": {"cpu": "3"}}
        assert "tolerations" not in result
    else:
        assert result["resources"] == {"requests": {"cpu": "3", resource: "2"}, "limits": {resource: "2"}}
        assert result["tolerations"] == [{"key": resource, "operator": "Exists", "effect": "NoSchedule"}]


def test_adapters_and_huge_pages_are_requested_as_they_are_limited(evaluate: Evaluate) -> None:
    call = 'include "common.accelerator.resources" (dict "root" . "accelerator" .Values.it)'
    efa, pages = {"vpc.amazonaws.com/efa": "32"}, {"hugepages-2Mi": "5120Mi"}
    both = evaluate(call, {"it": {**GPU, "efa": 32, "hugepages": "5120Mi"}})
    assert both["requests"] == both["limits"] == {"nvidia.com/gpu": "2", **efa, **pages}
    none = evaluate(call, {"it": {**GPU, "efa": 0, "hugepages": ""}})
    assert none["requests"] == none["limits"] == {"nvidia.com/gpu": "2"}
    assert evaluate(call, {"it": {"kind": "none", "efa": 1}})["limits"] == {"vpc.amazonaws.com/efa": "1"}


def test_an_accelerator_may_name_models_and_types_of_instance(evaluate: Evaluate) -> None:
    accelerator = {**GPU, "gpuNames": ["l4", "a10g"], "instanceTypes": ["g6.xlarge"]}
    call = 'include "common.accelerator.scheduling" (dict "root" . "accelerator" .Values.accelerator)'
    for values, prefix in ({}, "karpenter.k8s.aws"), (AUTO_MODE, "eks.amazonaws.com"):
        affinity = evaluate(call, {"accelerator": accelerator, **values})["affinity"]["nodeAffinity"]
        (term,) = affinity["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        assert term["matchExpressions"] == [
            {"key": f"{prefix}/instance-gpu-name", "operator": "In", "values": ["l4", "a10g"]},
            {"key": "node.kubernetes.io/instance-type", "operator": "In", "values": ["g6.xlarge"]},
        ]


def test_hybrid_nodes_have_no_labels_of_ec2(evaluate: Evaluate) -> None:
    accelerator = {"kind": "nvidia", "count": 1, "gpuNames": ["l4"], "instanceTypes": ["g6.xlarge"]}
    selector = {"eks.amazonaws.com/compute-type": "hybrid"}
    found = evaluate(
        'include "common.accelerator.scheduling" (dict "root" . "accelerator" .Values.a "nodeSelector" .Values.own)',
        {"a": accelerator, "own": selector},
    )
    assert (found["nodeSelector"], "affinity" in found) == (selector, False)


def test_scheduling_of_a_user_is_kept_and_narrowed(evaluate: Evaluate) -> None:
    own = {"key": "disk", "operator": "Exists"}
    other = {"key": "rack", "operator": "Exists"}
    terms = [{"matchExpressions": [own]}, {"matchExpressions": [other]}]
    preferred = [{"weight": 1, "preference": {"matchExpressions": [own]}}]
    values = {
        "accelerator": {**GPU, "gpuNames": ["l4"]},
        "nodeSelector": {"team": "search"},
        "tolerations": [{"key": "team", "operator": "Exists"}, {"key": "nvidia.com/gpu", "operator": "Exists"}],
        "affinity": {
            "podAntiAffinity": {"x": 1},
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms},
                "preferredDuringSchedulingIgnoredDuringExecution": preferred,
            },
        },
    }
    arguments = " ".join(f'"{key}" .Values.{key}' for key in values)
    result = evaluate(f'include "common.accelerator.scheduling" (dict "root" . {arguments})', values)
    assert result["nodeSelector"] == {"team": "search", "karpenter.sh/nodepool": "gpu"}
    assert result["affinity"]["podAntiAffinity"] == {"x": 1}
    node = result["affinity"]["nodeAffinity"]
    assert node["preferredDuringSchedulingIgnoredDuringExecution"] == preferred
    kept = node["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert [each["matchExpressions"][0] for each in kept] == [own, other]
    assert all(each["matchExpressions"][1]["key"].endswith("gpu-name") for each in kept)
    assert {"key": "team", "operator": "Exists"} in result["tolerations"]


def test_a_pod_without_wishes_gets_no_scheduling(evaluate: Evaluate) -> None:
    call = 'include "common.accelerator.scheduling" (dict "root" . "accelerator" (dict "kind" "none"))'
    assert evaluate(call) is None


@pytest.mark.parametrize(
    ("accelerator", "reason"),
    [
        ({"kind": "nvidia", "count": 0}, "needs accelerator.count of 1 or more, not 0"),
        ({"kind": "nvidia"}, "needs accelerator.count of 1 or more"),
        ({"kind": "amd", "count": 1}, "accelerator.kind 'amd' is unknown: set nvidia, neuron or none"),
    ],
)
def test_accelerators_that_make_no_sense(evaluate: Evaluate, accelerator: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        evaluate('include "common.accelerator" (dict "root" . "accelerator" .Values.it)', {"it": accelerator})


def test_node_labels_follow_who_runs_the_nodes(evaluate: Evaluate) -> None:
    karpenter = "karpenter.k8s.aws/instance-gpu-count"
    auto_mode = "eks.amazonaws.com/instance-gpu-count"
    for label in karpenter, auto_mode:
        call = f'include "common.nodeLabel" (tuple . "{label}")'
        assert evaluate(call) == karpenter
        assert evaluate(call, AUTO_MODE) == auto_mode
    assert evaluate('include "common.nodeLabel" (tuple . "kubernetes.io/arch")', AUTO_MODE) == "kubernetes.io/arch"


def test_merging_takes_every_value_as_it_is(evaluate: Evaluate) -> None:
    base = {"a": True, "b": 3, "c": [1], "d": {"e": "x", "f": "z"}, "g": "gone", "h": "kept"}
    overlay = {"a": False, "b": 0, "c": [], "d": {"e": ""}, "i": {"new": 1}}
    # Helm itself drops a null of values.yaml before any template sees it.
    call = 'include "common.merge" (tuple .Values.base (set .Values.overlay "g" nil))'
    merged = evaluate(call, {"base": base, "overlay": overlay})
    assert merged == {"a": False, "b": 0, "c": [], "d": {"e": "", "f": "z"}, "h": "kept", "i": {"new": 1}}
    assert evaluate('include "common.merge" (tuple .Values.base nil)', {"base": base}) == base
    assert evaluate('include "common.merge" (tuple nil .Values.base)', {"base": base}) == base


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ('include "common.image" .', r"common.image: the call lacks root"),
        ('include "common.image" "x"', r"call it with \(dict\) of root, image, not with a string"),
        ('include "common.labels" (dict "root" .)', "common.labels: the call lacks component"),
        ('include "common.accelerator" (dict "root" .)', "the call lacks accelerator"),
        ('include "common.componentName" .', r"call it with \(tuple ROOT SUFFIX\)"),
        ('include "common.merge" .', r"call it with \(tuple BASE OVERLAY\)"),
        ('include "common.global" .', r"call it with \(tuple ROOT KEY\)"),
        ('include "common.nodeLabel" .', r"call it with \(tuple ROOT LABEL\)"),
    ],
)
def test_a_wrong_call_says_so(evaluate: Evaluate, call: str, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        evaluate(call)


def test_null_takes_an_entry_away_and_false_does_not(evaluate: Evaluate) -> None:
    values = {"map": {"b": {"one": 1}, "a": 0, "c": None, "d": False, "e": True}}
    assert evaluate('include "common.entries" .Values.map', values) == {"a": 0, "b": {"one": 1}, "d": False, "e": True}
    assert evaluate('include "common.entryList" .Values.map', values) == [0, {"one": 1}, False, True]
    assert evaluate('include "common.enabledNames" .Values.map', values) == ["e"]
    assert evaluate('include "common.entryList" .Values.none') == []


def test_numbers_are_written_out(evaluate: Evaluate) -> None:
    values = {"large": 1000000, "share": 0.25, "flag": True, "text": "a"}
    written = {key: evaluate(f'include "common.scalar" .Values.{key} | quote', values) for key in values}
    assert written == {"large": "1000000", "share": "0.25", "flag": "true", "text": "a"}


def test_an_environment_takes_values_and_keys_of_secrets(evaluate: Evaluate) -> None:
    call = 'include "common.environment" (dict "key" "extraEnv" "variables" .Values.env "own" (list "HOME"))'
    env = {"LIMIT": 1000000, "API_KEY": {"secret": "keys", "key": "one"}, "GONE": None}
    assert evaluate(call, {"env": env}) == [
        {"name": "API_KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "one"}}},
        {"name": "LIMIT", "value": "1000000"},
    ]
    with pytest.raises(RenderError, match=r"extraEnv\.HOME: the chart sets this variable itself"):
        evaluate(call, {"env": {"HOME": "/"}})
    with pytest.raises(RenderError, match=r"extraEnv\.OWN_TOKEN: a credential in values is readable to all users"):
        evaluate(call, {"env": {"OWN_TOKEN": "abc"}})


def test_a_policy_lets_in_only_those_who_are_named(evaluate: Evaluate) -> None:
    frame = '(include "common.networkPolicy" (dict "root" . "name" "one" "component" "server") | fromYaml)'
    policy = evaluate(f"toYaml {frame}")
    assert policy["metadata"]["name"] == "one"
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "server"
    rules = '(list (dict "ports" (list 80 81) "from" .Values.peers) (dict "ports" (list 82) "from" list))'
    peers: list[dict[str, Any]] = [{"podSelector": {}}]
    assert evaluate(f'include "common.ingress" {rules}', {"peers": peers})["ingress"] == [
        {"ports": [{"port": 80, "protocol": "TCP"}, {"port": 81, "protocol": "TCP"}], "from": peers}
    ]
    assert evaluate(f'include "common.ingress" {rules}', {"peers": []}) == {"ingress": []}


def test_a_load_balancer_on_the_internet_needs_a_list_of_addresses(evaluate: Evaluate) -> None:
    arguments = '(dict "key" "service" "service" .Values.s "reaches" "hub")'
    check = f'include "common.loadBalancer.check" {arguments} | default "none"'
    balancer = {"scheme": "internet-facing", "sourceRanges": {"office": "203.0.113.0/24"}, "certificateArn": "arn"}
    service = {"type": "LoadBalancer", "port": 80, "annotations": {"own": "1"}, "loadBalancer": balancer}
    assert evaluate(check, {"s": service}) == "none"
    for ranges, reason in (({}, "needs the address ranges"), ({"all": "0.0.0.0/0"}, "is the whole internet")):
        with pytest.raises(RenderError, match=rf"service\.loadBalancer\.sourceRanges: .*{reason}"):
            evaluate(check, {"s": {**service, "loadBalancer": {**balancer, "sourceRanges": ranges}}})
    call = 'include "common.loadBalancer.annotations" (dict "root" . "service" .Values.s "healthPath" "/health")'
    prefix = "service.beta.kubernetes.io/aws-load-balancer"
    assert evaluate(call, {"s": service, "global": {"tags": {"team": "a"}}}) == {
        "own": "1",
        f"{prefix}-scheme": "internet-facing",
        f"{prefix}-nlb-target-type": "ip",
        f"{prefix}-healthcheck-protocol": "http",
        f"{prefix}-healthcheck-path": "/health",
        f"{prefix}-ssl-cert": "arn",
        f"{prefix}-ssl-ports": "80",
        f"{prefix}-additional-resource-tags": "team=a",
    }
    assert evaluate(call, {"s": {**service, "type": "ClusterIP"}}) == {"own": "1"}


def test_several_pods_have_a_budget(evaluate: Evaluate) -> None:
    budget = '"name" "one" "component" "server" "replicas"'
    call = f'include "common.podDisruptionBudget" (dict "root" . {budget} %d) | default "none"'
    assert evaluate(call % 2)["spec"]["maxUnavailable"] == 1
    assert evaluate(call % 1) == "none"


def test_another_chart_of_the_release_is_found_by_its_name(evaluate: Evaluate) -> None:
    assert evaluate('include "common.siblingName" (tuple . "vllm" "catalogue")') == "genai-vllm-catalogue"


def test_the_page_names_every_helper(drydock_charts: AssembledCharts) -> None:
    page = (drydock_charts.chart("common") / "README.md").read_text()
    for file in sorted((drydock_charts.chart("common") / "templates").glob("_*.tpl")):
        assert f"`{file.name}`" in page
        head = file.read_text().partition("*/")[0]
        for name in re.findall(r'define "([^"]+)"', file.read_text()):
            assert name in head, f"{file.name} does not list {name}"
            assert f"`{name}`" in page or name.startswith("common.accelerator."), name
