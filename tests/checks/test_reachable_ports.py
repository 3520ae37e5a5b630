"""Ports that code of users reaches, in charts of any author."""

import json
from typing import Any

import pytest

from tests.checks.helpers import findings
from tests.checks.test_checks import container, objects, service, workflow
from tests.scheduling.builders import deployment, pod_spec

CHECK = "port-within-reach"
METRICS = {"name": "metrics", "containerPort": 9090}
CLOSED: dict[str, Any] = {"policyTypes": ["Ingress"]}


def target(*ports: dict[str, Any], **fields: Any) -> str:
    return deployment(container(pod_spec(**fields), ports=list(ports)))


def network_policy(name: str = "own", **spec: Any) -> str:
    spec = {"podSelector": {"matchLabels": {"app": "model"}}, **spec}
    return objects(
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": name}, "spec": spec}
    )


def lets_in(*peers: dict[str, Any], **port: Any) -> str:
    ports = {"ports": [{"port": 9090, **port}]}
    return network_policy(policyTypes=["Ingress"], ingress=[{"from": list(peers), **ports}])


def ray(**spec: Any) -> str:
    head = {"template": {"metadata": {"labels": {"app": "ray"}}, "spec": pod_spec()}}
    content = {"metadata": {"name": "ray"}, "spec": {"headGroupSpec": head, **spec}}
    return objects({"apiVersion": "ray.io/v1", "kind": "RayCluster", **content})


def test_the_sentence_names_the_code_the_port_and_the_attack() -> None:
    (found,) = findings(target(METRICS) + workflow("runner"), CHECK)
    assert "Code of users (workflows) can connect to port 9090, a page of metrics, and read names" in found.reason
    assert "ingress.from which pods reach port 9090" in found.remedy
    assert found.object == "Deployment/model"


def test_without_code_of_users_a_port_is_within_no_reach() -> None:
    assert findings(target(METRICS), CHECK) == []


WORKFLOW = {"matchExpressions": [{"key": "workflows.argoproj.io/workflow", "operator": "Exists"}]}
OTHERS = {"podSelector": {"matchLabels": {"app": "prometheus"}}}


@pytest.mark.parametrize(
    ("policies", "reached"),
    [
        (network_policy(**CLOSED), False),
        (network_policy(podSelector={}, **CLOSED), False),
        (network_policy(podSelector={"matchLabels": {"app": "other"}}, **CLOSED), True),
        (network_policy(policyTypes=["Egress"]), True),
        (lets_in(OTHERS), False),
        (lets_in(), True),
        (lets_in({"podSelector": {}}), True),
        (lets_in({"podSelector": WORKFLOW}), True),
        (lets_in({"podSelector": {}}, port=8000), False),
        (lets_in({"podSelector": {}}, port="metrics"), True),
        (lets_in({"podSelector": {}}, port=9000, endPort=9100), True),
        (lets_in({"podSelector": {}}, protocol="UDP"), False),
        (lets_in({"namespaceSelector": {}, "podSelector": WORKFLOW}), True),
        (lets_in({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}), False),
        (lets_in({"ipBlock": {"cidr": "10.0.0.0/8"}}), True),
        (lets_in({"ipBlock": {"cidr": "203.0.113.0/24"}}), False),
        (lets_in({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "100.64.0.0/10"]}}), True),
        (lets_in({"ipBlock": {"cidr": "198.19.0.0/16"}}), True),
        # Policies add up: one that lets in is enough.
        (network_policy(**CLOSED) + lets_in({"podSelector": {}}).replace('"own"', '"more"'), True),
        # The way out of the code is closed.
        (network_policy(podSelector=WORKFLOW, policyTypes=["Egress"]), False),
        (network_policy(podSelector=WORKFLOW, policyTypes=["Egress"], egress=[{"ports": [{"port": 443}]}]), False),
        (network_policy(podSelector=WORKFLOW, policyTypes=["Egress"], egress=[{"to": [OTHERS]}]), False),
        (network_policy(podSelector=WORKFLOW, egress=[{"to": [{"podSelector": {}}]}]), True),
    ],
)
def test_policies_are_read_as_the_network_does(policies: str, reached: bool) -> None:
    assert bool(findings(target(METRICS) + workflow("runner") + policies, CHECK)) is reached


def test_no_policy_covers_a_pod_on_the_network_of_its_node() -> None:
    (found,) = findings(target(METRICS, hostNetwork=True) + workflow("runner") + network_policy(**CLOSED), CHECK)
    assert "network of a node" in found.reason
    assert "127.0.0.1" in found.remedy


def test_a_policy_for_a_pod_without_an_owner_is_not_enforced() -> None:
    """Pods that a hub makes have no owner: EKS user guide, cni-network-policy."""
    notebook = objects(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "hub", "annotations": {"drydock.dev/pod-templates": "profiles.json"}},
            "data": {
                "profiles.json": '{"cpu": {"template": {"metadata": {"labels": {"app": "notebook"}}, "spec": '
                '{"containers": [{"name": "notebook", "image": "example.com/notebook:1.0"}]}}}}'
            },
        }
    )
    closed = network_policy(podSelector={"matchLabels": {"app": "notebook"}}, policyTypes=["Egress"])
    (found,) = findings(target(METRICS) + notebook + closed, CHECK)
    assert "notebooks" in found.reason


def test_people_who_start_pods_in_a_namespace_choose_their_labels() -> None:
    tenant = objects({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}})
    labelled = lets_in({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus"}}})
    (found,) = findings(target(METRICS) + tenant + labelled, CHECK)
    assert "pods in namespace tenant" in found.reason
    named = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}
    assert findings(target(METRICS) + tenant + lets_in(named), CHECK) == []


def test_a_namespace_that_the_release_fills_holds_what_the_release_puts_there() -> None:
    """Its pods have the labels of the release; those of a tenant may have any."""
    labelled = lets_in({"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus"}}})
    profiles = (
        '{"namespace": "notebooks", "cpu": {"template": {"metadata": {"labels": {"app": "notebook"}}, "spec": '
        '{"containers": [{"name": "notebook", "image": "example.com/notebook:1.0"}]}}}}'
    )
    metadata = {"name": "hub", "annotations": {"drydock.dev/pod-templates": "profiles.json"}}
    hub = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"profiles.json": profiles}}
    for labels, found in ({}, 0), ({"drydock.dev/tenant": "search"}, 1):
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "notebooks", "labels": labels}}
        assert len(findings(target(METRICS) + objects(hub, namespace) + labelled, CHECK)) == found


@pytest.mark.parametrize(
    ("spec", "ports"),
    [({}, {"6379", "8265", "10001"}), ({"authOptions": {"mode": "token"}}, set())],
)
def test_rays_own_ports_ask_for_a_token_or_for_a_policy(spec: dict[str, Any], ports: set[str]) -> None:
    found = findings(ray(**spec) + workflow("runner"), CHECK)
    assert {finding.reason.partition("port ")[2].partition(",")[0] for finding in found} == ports
    closed = network_policy(podSelector={"matchLabels": {"app": "ray"}}, **CLOSED)
    assert findings(ray(**spec) + workflow("runner") + closed, CHECK) == []


@pytest.mark.parametrize(
    ("fields", "port", "what"),
    [
        ({"image": "rayproject/ray:2.56.1"}, {"containerPort": 8265}, "job server"),
        ({"image": "redis:8"}, {"containerPort": 6379}, "Redis"),
        ({"command": ["jupyter", "lab"]}, {"containerPort": 8888}, "notebook"),
        ({}, {"name": "pprof", "containerPort": 6060}, "administrators"),
        ({}, {"containerPort": 9901}, "Envoy"),
    ],
)
def test_ports_of_other_programs(fields: dict[str, Any], port: dict[str, Any], what: str) -> None:
    (found,) = findings(deployment(container(pod_spec(), ports=[port], **fields)) + workflow("runner"), CHECK)
    assert what in found.reason


def test_a_port_that_only_a_service_or_an_annotation_names() -> None:
    named = service(selector={"app": "model"}, ports=[{"name": "http-metrics", "port": 80, "targetPort": 9999}])
    assert findings(deployment(pod_spec()) + objects(named) + workflow("runner"), CHECK)
    other = service(selector={"app": "other"}, ports=[{"name": "http-metrics", "port": 80, "targetPort": 9999}])
    assert findings(deployment(pod_spec()) + objects(other) + workflow("runner"), CHECK) == []
    scraped = {"metadata": {"labels": {"app": "model"}, "annotations": {"prometheus.io/port": "9999"}}}
    assert findings(deployment(pod_spec(), template={**scraped, "spec": pod_spec()}) + workflow("runner"), CHECK)


RAY_JOB = {
    "apiVersion": "ray.io/v1",
    "kind": "RayJob",
    "metadata": {"name": "batch"},
    "spec": {"rayClusterSpec": {"headGroupSpec": {"template": {"spec": pod_spec()}}}},
}
SUBMITS = objects(
    {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "WorkflowTemplate",
        "metadata": {"name": "steps"},
        "spec": {"templates": [{"name": "main", "resource": {"action": "create", "manifest": json.dumps(RAY_JOB)}}]},
    }
)


def test_what_a_workflow_submits_has_the_labels_and_ports_of_its_own_kind() -> None:
    no_way_out = network_policy(podSelector=WORKFLOW, policyTypes=["Egress"])
    (found,) = findings(target(METRICS) + SUBMITS + no_way_out, CHECK)
    assert "Code of users (Ray)" in found.reason
    assert len(findings(SUBMITS + workflow("runner"), CHECK)) == 3


@pytest.mark.parametrize(
    ("own", "label"),
    [
        (ray(), {"ray.io/node-type": "head"}),
        (ray(), {"ray.io/is-ray-node": "yes", "ray.io/cluster": "ray"}),
        (
            objects(
                {
                    "apiVersion": "batch/v1",
                    "kind": "Job",
                    "metadata": {"name": "once"},
                    "spec": {"template": {"spec": container(pod_spec(), ports=[METRICS])}},
                }
            ),
            {"batch.kubernetes.io/job-name": "once"},
        ),
    ],
)
def test_policies_select_by_labels_that_controllers_give(own: str, label: dict[str, str]) -> None:
    text = own + workflow("runner")
    assert findings(text, CHECK)
    assert findings(text + network_policy(podSelector={"matchLabels": label}, **CLOSED), CHECK) == []


@pytest.mark.parametrize("port", [{"containerPort": 9999}, {"containerPort": 9999, "name": "web"}])
def test_a_service_names_a_port_that_its_container_calls_otherwise(port: dict[str, Any]) -> None:
    wanted = port.get("name", 9999)
    named = service(selector={"app": "model"}, ports=[{"name": "metrics", "port": 80, "targetPort": wanted}])
    text = target(port) + objects(named) + workflow("runner")
    assert findings(text, CHECK)
    # Policies do not know the name of the Service's port.
    by_name = lets_in({"podSelector": {}}, port="metrics")
    assert findings(text + by_name, CHECK) == []


@pytest.mark.parametrize(
    ("peer", "port", "reached"),
    [
        ({"podSelector": {}}, {"protocol": None}, True),
        ({"ipBlock": None, "podSelector": {}}, {}, True),
        ({"namespaceSelector": None, **OTHERS}, {}, False),
        ({"ipBlock": {"cidr": "no network"}}, {}, False),
        ({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["no network"]}}, {}, True),
    ],
)
def test_fields_that_are_null_or_wrong(peer: dict[str, Any], port: dict[str, Any], reached: bool) -> None:
    assert bool(findings(target(METRICS) + workflow("runner") + lets_in(peer, **port), CHECK)) is reached
