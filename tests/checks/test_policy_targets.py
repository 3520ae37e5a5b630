"""NetworkPolicies against the labels and ports of pods and Services, in charts of any author."""

from typing import Any

import pytest

from tests.checks.helpers import findings
from tests.checks.test_checks import container, objects, service
from tests.checks.test_reachable_ports import network_policy
from tests.scheduling.builders import deployment, pod_spec

CHECK = "policy-misses-target"
INSTANCE = "app.kubernetes.io/instance"
CLIENT = {"matchLabels": {"app": "client"}}
"""Of the pods that policies are for; the Service's own are `app: model, tier: serving`."""


def model(*, declared: bool = True) -> str:
    """A Deployment whose container listens to port 8000, called http."""
    ports = [{"name": "http", "containerPort": 8000}] if declared else []
    labels = {"app": "model", "tier": "serving", INSTANCE: "genai"}
    return deployment(pod_spec(), template={"metadata": {"labels": labels}, "spec": container(pod_spec(), ports=ports)})


def behind(port: int = 80, target: int | str = 8000, **spec: Any) -> str:
    ports = [{"name": "web", "port": port, "targetPort": target}]
    return objects(service(**{"selector": {"app": "model"}, "ports": ports, **spec}))


def lets_out(*peers: dict[str, str], port: int | str | None = 8000, **more: Any) -> str:
    ports = {} if port is None else {"ports": [{"port": port, "protocol": "TCP"}]}
    to = [{"podSelector": {"matchLabels": labels}} for labels in peers]
    return network_policy(podSelector=CLIENT, policyTypes=["Egress"], egress=[{"to": to, **ports}, *more.values()])


def lets_in(port: int | str, *others: int) -> str:
    ports = [{"port": number} for number in (port, *others)]
    return network_policy(policyTypes=["Ingress"], ingress=[{"from": [{"podSelector": {}}], "ports": ports}])


APP, TIER = {"app": "model"}, {"tier": "serving"}
ADDRESSES = {"to": [{"ipBlock": {"cidr": "172.16.0.0/12"}}], "ports": [{"port": 80}]}


@pytest.mark.parametrize(
    ("policy", "target", "missed"),
    [
        (lets_out(APP), behind(), False),
        # These labels are those of the pods, and the Service does not select by them.
        (lets_out(TIER), behind(), True),
        (lets_out(TIER, port=None), behind(), True),
        (lets_out({**APP, **TIER}), behind(), True),
        (lets_out(TIER), behind(selector={**APP, **TIER}), False),
        (lets_out({}), behind(), False),
        # The name of a headless Service leads to pods, and so does one of several.
        (lets_out(TIER), behind(clusterIP="None"), False),
        (lets_out(TIER), behind() + objects({**service("other", selector=TIER, ports=[{"port": 8000}])}), False),
        (lets_out(TIER, port=9090), behind(), False),
        (lets_out(TIER), "", False),
        # Another rule allows what this one does not.
        (lets_out(TIER, more={"to": [{"podSelector": {"matchLabels": APP}}]}), behind(), False),
        (lets_out(TIER, more=ADDRESSES), behind(), False),
        (lets_out(TIER, more={**ADDRESSES, "ports": [{"port": 443}]}), behind(), True),
    ],
)
def test_a_peer_of_egress_fits_the_selector_of_the_service(policy: str, target: str, missed: bool) -> None:
    found = findings(model() + target + policy, CHECK)
    assert ["Service's selector (app: model)" in finding.reason for finding in found] == [True] * missed


def test_pods_of_one_group_know_each_others_addresses() -> None:
    own = network_policy(podSelector={"matchLabels": TIER}, egress=[{"to": [{"podSelector": {"matchLabels": TIER}}]}])
    assert findings(model() + behind() + own, CHECK) == []


@pytest.mark.parametrize(("label", "missed"), [({"app": "ray"}, True), ({"ray.io/serve": "true"}, False)])
def test_the_service_of_ray_serve_that_only_its_operator_makes(label: dict[str, str], missed: bool) -> None:
    template = {"metadata": {"labels": {"app": "ray"}}, "spec": pod_spec()}
    cluster = {"headGroupSpec": {"template": template}}
    content = {"metadata": {"name": "drawing"}, "spec": {"rayClusterConfig": cluster}}
    ray = objects({"apiVersion": "ray.io/v1", "kind": "RayService", **content})
    found = findings(ray + lets_out(label), CHECK)
    assert ["drawing-serve-svc" in finding.reason for finding in found] == [True] * missed


@pytest.mark.parametrize(
    ("policy", "target", "reason"),
    [
        (lets_in(8000), behind(), ""),
        (lets_in("http"), behind(), ""),
        (lets_in(80), behind(), "connections on port 8000"),
        (lets_in(80), behind(target="http"), "connections on port 8000"),
        (lets_in(80, 8000), behind(), ""),
        (lets_in(80), behind(target=80), ""),
        (lets_in("web"), behind(), "no container of the pods declares"),
        (lets_in(9090), behind(), ""),
        (lets_out(APP, port=80), behind(), "connections on port 8000"),
        (lets_out(APP, port="http"), behind(), ""),
        (lets_out(APP, port="web"), behind(), "no container of the pods declares"),
        (lets_out({"app": "elsewhere"}, port=80), behind(), ""),
    ],
)
def test_ports_of_policies_are_those_of_pods(policy: str, target: str, reason: str) -> None:
    found = findings(model() + target + policy, CHECK)
    assert [reason in finding.reason for finding in found] == [True] * bool(reason)


def test_a_port_that_only_the_service_names_is_the_pods() -> None:
    assert findings(model(declared=False) + behind() + lets_in(8000), CHECK) == []


@pytest.mark.parametrize(
    ("peers", "missed"),
    [
        ([{INSTANCE: "genai", "app": "modle"}], True),
        ([{INSTANCE: "genai", "app": "model"}], False),
        # Parts that are turned off beside one that is on, and pods that another release makes.
        ([{INSTANCE: "genai", "app": "modle"}, {INSTANCE: "genai", "app": "model"}], False),
        ([{INSTANCE: "other", "app": "modle"}], False),
        ([{"app": "prometheus"}], False),
    ],
)
def test_labels_of_the_release_that_no_pod_has(peers: list[dict[str, str]], missed: bool) -> None:
    froms = [{"podSelector": {"matchLabels": labels}} for labels in peers]
    policies = [
        network_policy(policyTypes=["Ingress"], ingress=[{"from": froms}]),
        lets_out(*peers, port=None),
        *(network_policy(podSelector={"matchLabels": peers[0]}) for _ in range(len(peers) == 1)),
    ]
    for policy in policies:
        assert bool(findings(model() + policy, CHECK)) is missed


def test_pods_of_a_workflow_have_the_labels_that_it_gives_to_all() -> None:
    template = {"name": "main", "container": {"name": "", "image": "example.com/step:1.0"}}
    labels = {INSTANCE: "genai", "app": "step"}
    content = {"metadata": {"name": "steps"}, "spec": {"podMetadata": {"labels": labels}, "templates": [template]}}
    steps = objects({"apiVersion": "argoproj.io/v1alpha1", "kind": "WorkflowTemplate", **content})
    assert findings(model() + steps + network_policy(podSelector={"matchLabels": labels}), CHECK) == []


@pytest.mark.parametrize("label", ["statefulset.kubernetes.io/pod-name", "job-name", "ray.io/node-type"])
def test_labels_that_only_controllers_give(label: str) -> None:
    labels = {INSTANCE: "genai", label: "any"}
    assert findings(model() + network_policy(podSelector={"matchLabels": labels}), CHECK) == []
