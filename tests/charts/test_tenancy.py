"""Priority classes, head-room and tenants."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from drydock.errors import RenderError
from drydock.project import UMBRELLA
from drydock.suite.manifests import Manifest
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name

CHART = "tenancy"
TENANT: dict[str, Any] = {"tenants": {"search": {}}}
SPARE = {"accelerator": {"kind": "nvidia", "count": 2, "pool": "gpu"}, "resources": {"cpu": "3", "memory": "11Gi"}}


def _the(manifests: Iterable[Manifest], kind: str) -> Any:
    (found,) = by_name(manifests, kind).values()
    return found


def test_controllers_precede_serving_batch_everything_else_and_headroom(
    render_chart: RenderChart,
) -> None:
    classes = by_name(render_chart(CHART), "PriorityClass")
    names = ("genai-controllers", "genai-serving", "genai-batch", "genai-headroom")
    values = [classes[name]["value"] for name in names]
    assert values == sorted(values, reverse=True)
    assert values[2] > 0 > values[3]
    preempting = {name for name, each in classes.items() if each["preemptionPolicy"] == "PreemptLowerPriority"}
    assert preempting == {"genai-controllers", "genai-serving"}
    assert not any(each.get("globalDefault") for each in classes.values())


def test_by_default_there_are_no_tenants_and_no_headroom_that_costs(render_chart: RenderChart) -> None:
    assert {each.kind for each in render_chart(CHART)} == {"PriorityClass"}


def test_a_tenants_namespace_is_closed_restricted_and_stays(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, TENANT)
    metadata = _the(manifests, "Namespace")["metadata"]
    assert metadata["name"] == "search"
    assert metadata["labels"]["drydock.dev/tenant"] == "search"
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert metadata["annotations"]["helm.sh/resource-policy"] == "keep"
    policy = _the(manifests, "NetworkPolicy")["spec"]
    assert policy["podSelector"] == {}
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    assert policy["ingress"] == [{"from": [{"podSelector": {}}]}]
    assert {port["port"] for rule in policy["egress"] for port in rule.get("ports", [])} == {53, 4000}
    assert {each.namespace for each in manifests if each.kind not in ("Namespace", "PriorityClass")} == {"search"}
    removable = _the(render_chart(CHART, {"tenants": {"search": {"keep": False}}}), "Namespace")["metadata"]
    assert "annotations" not in removable


def test_labels_of_a_tenant_do_not_replace_those_that_count(render_chart: RenderChart) -> None:
    labels = {"pod-security.kubernetes.io/enforce": "privileged", "drydock.dev/tenant": "other", "team": "search"}
    found = _the(render_chart(CHART, {"tenants": {"search": {"labels": labels}}}), "Namespace")["metadata"]["labels"]
    assert found["pod-security.kubernetes.io/enforce"] == "restricted"
    assert found["drydock.dev/tenant"] == "search"
    assert found["team"] == "search"


def test_quotas_give_no_shares_of_a_gpu_by_another_name(render_chart: RenderChart) -> None:
    share = "requests.nvidia.com/mig-1g.10gb"
    tenants = {"a": {}, "b": {"quota": {share: "3"}}, "c": {"quota": {share: None}}}
    manifests = render_chart(CHART, {"global": {"gpuSharing": {"small": "nvidia.com/mig-1g.10gb"}}, "tenants": tenants})
    found = {
        each.namespace: each.content["spec"]["hard"].get(share)
        for each in manifests
        if each.kind == "ResourceQuota" and each.name == "tenant"
    }
    assert found == {"a": "0", "b": "3", "c": None}


def test_quotas_give_no_accelerators_and_no_priority_of_serving(render_chart: RenderChart) -> None:
    tenants = {
        "a": {},
        "b": {"quota": {"requests.nvidia.com/gpu": "2", "pods": None}},
        "c": None,
        "d": {"enabled": False},
    }
    manifests = render_chart(CHART, {"tenants": tenants})
    assert set(by_name(manifests, "Namespace")) == {"a", "b"}
    hard = {
        each.namespace: each.content["spec"]["hard"]
        for each in manifests
        if each.kind == "ResourceQuota" and each.name == "tenant"
    }
    assert hard["a"]["requests.nvidia.com/gpu"] == "0"
    assert hard["b"]["requests.nvidia.com/gpu"] == "2"
    assert "pods" not in hard["b"]
    devices = [name for name in hard["a"] if "nvidia.com" in name or "aws" in name]
    assert len(devices) == 8, "whole devices, cores, shares, claims and network adapters"
    assert {hard["a"][name] for name in devices} == {"0"}
    denied = next(each.content["spec"] for each in manifests if each.name == "tenant-denied-priorities")
    assert denied["hard"] == {"pods": "0"}
    (expression,) = denied["scopeSelector"]["matchExpressions"]
    system = ["system-cluster-critical", "system-node-critical"]
    assert expression["values"] == ["genai-controllers", "genai-serving", *system]
    (limits,) = by_name(manifests, "LimitRange")["tenant"]["spec"]["limits"]
    assert limits["default"]["memory"]
    assert limits["defaultRequest"]["cpu"]
    assert "max" not in limits


def test_headroom_is_of_the_size_of_a_model_and_makes_way(render_chart: RenderChart) -> None:
    manifests = render_chart(CHART, {"headroom": {"spare": {**SPARE, "replicas": 2}}})
    deployment = _the(manifests, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    (container,) = pod["containers"]
    assert deployment["replicas"] == 2
    assert container["image"] == "registry.k8s.io/pause:3.10.2"
    assert container["resources"]["requests"] == {"cpu": "3", "memory": "11Gi", "nvidia.com/gpu": "2"}
    assert pod["nodeSelector"] == {"karpenter.sh/nodepool": "gpu"}
    assert {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"} in pod["tolerations"]
    assert by_name(manifests, "PriorityClass")[pod["priorityClassName"]]["value"] < 0
    assert pod["terminationGracePeriodSeconds"] == 0
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert _the(manifests, "NetworkPolicy")["spec"].keys() == {"podSelector", "policyTypes"}


def test_the_gateway_lets_tenants_in_and_their_namespaces_let_them_out(render_chart: RenderChart) -> None:
    values = {"global": {"clusterName": "dev"}, "model-gateway": {"enabled": True}, CHART: {"enabled": True, **TENANT}}
    manifests = render_chart(UMBRELLA, values)
    labels = by_name(manifests, "Namespace")["search"]["metadata"]["labels"]
    policies = by_name(manifests, "NetworkPolicy")
    clients = policies["genai-model-gateway"]["spec"]["ingress"][0]["from"]
    (expression,) = next(
        each["namespaceSelector"]["matchExpressions"] for each in clients if "namespaceSelector" in each
    )
    assert expression["key"] in labels
    (way,) = (each for each in policies["tenant"]["spec"]["egress"] if each.get("ports", [{}])[0].get("port") == 4000)
    gateway = by_name(manifests, "Deployment")["genai-model-gateway"]["spec"]["template"]["metadata"]["labels"]
    assert way["to"][0]["podSelector"]["matchLabels"].items() <= gateway.items()


def test_both_helms_give_the_same_objects(render_chart: RenderChart) -> None:
    values = {"tenants": {"b": {}, "a": {}}, "headroom": {"spare": SPARE}}
    assert render_chart(CHART, values, helm="helm3") == render_chart(CHART, values, helm="helm4")


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (
            {"headroom": {"spare": {"priorityClassName": "genai-batch"}}},
            r"headroom\.spare\.priorityClassName: pods of genai-batch would not make way \(value 1000\)",
        ),
        ({"tenants": {"search": {"qouta": {}}}}, "additional properties 'qouta' not allowed"),
        ({"tenants": {"Search": {}}}, "Search"),
        ({"tenants": {"search": {"podSecurity": "none"}}}, "podSecurity"),
    ],
)
def test_settings_that_cannot_work(render_chart: RenderChart, values: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(RenderError, match=f"(?s){reason}"):
        render_chart(CHART, values)
