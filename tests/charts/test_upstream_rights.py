"""What operators may do, beside what their makers' manifests of the pinned release give them.

A pin that changes upstream's rights fails here: give the new right to the chart, or leave it out with a reason.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml

from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.testing.pytest_plugin import RenderChart
from drydock.tools.modules import fetch
from drydock.tools.pins import Toolchain
from tests.charts.objects import by_name

Right = tuple[str, str, str]
"""API group, resource, verb."""
ALL = ("create", "delete", "get", "list", "patch", "update", "watch")
OPENSHIFT_AND_INGRESS = "clusters have no Ingress and no Route: clients come through the gateway"
RAY: Mapping[str, Any] = {
    "cluster": {"workers": {"gpu": {}}},
    "upgrade": {"type": "NewClusterWithIncrementalUpgrade", "gatewayClassName": "alb"},
    "llm": {"llama": {"source": {"huggingFace": {"id": "org/llama"}}}},
}


@dataclass(frozen=True)
class Program:
    """A program whose rights are compared.

    Attributes:
        owner: of the CRDs in the toolchain, whose module holds the manifests.
        folder: of the manifests in the module.
        roles: names of the maker's roles.
        chart: that installs it.
        values: with which the chart gives it all the rights that it may ever have.
        name: of the chart's roles, or what they begin with.
        left_out: rights of the maker that the chart leaves out, by group and resource, each with the reason.
        beyond: rights that only the chart gives, likewise.
    """

    owner: str
    folder: str
    roles: Collection[str]
    chart: str
    values: Mapping[str, Any]
    name: str
    left_out: Mapping[tuple[str, str], tuple[Collection[str], str]]
    beyond: Mapping[tuple[str, str], tuple[Collection[str], str]] = field(default_factory=dict)


PROGRAMS = (
    Program(
        "kuberay",
        "config/rbac",
        ("kuberay-operator", "kuberay-operator-leader-election"),
        "kuberay",
        {"operator": {"clusterWide": True}, "rayServices": {"chat": RAY}},
        "genai-kuberay-operator",
        {
            ("", "events"): (("delete", "get", "list", "update", "watch"), "it writes events and reads none"),
            ("", "pods/proxy"): (("get", "patch", "update"), "only with --use-kubernetes-proxy"),
            ("", "services/proxy"): (("create", "get", "patch", "update"), "only with --use-kubernetes-proxy"),
            ("", "pods/status"): (ALL, "the kubelet's"),
            ("", "services/status"): (("get", "patch", "update"), "the load balancer controller's"),
            ("", "configmaps"): (ALL, "leases keep the leader"),
            ("coordination.k8s.io", "leases"): (("list",), "a lease by its name"),
            ("extensions", "ingresses"): (ALL, OPENSHIFT_AND_INGRESS),
            ("networking.k8s.io", "ingresses"): (ALL, OPENSHIFT_AND_INGRESS),
            ("networking.k8s.io", "ingressclasses"): (("get", "list", "watch"), OPENSHIFT_AND_INGRESS),
            ("route.openshift.io", "routes"): (ALL, OPENSHIFT_AND_INGRESS),
            ("ray.io", "raycronjobs"): (ALL, "behind a feature gate that the chart leaves off"),
            ("ray.io", "raycronjobs/finalizers"): (("update",), "behind a feature gate that the chart leaves off"),
            ("ray.io", "raycronjobs/status"): (("get", "patch", "update"), "behind a feature gate that is left off"),
        },
        {
            ("events.k8s.io", "events"): (("create", "patch"), "client-go writes events there"),
            ("rbac.authorization.k8s.io", "rolebindings"): (("update",), "an autoscaler's account that was replaced"),
        },
    ),
    Program(
        "argo",
        "manifests/cluster-install-no-crds/workflow-controller-rbac",
        ("argo-cluster-role", "argo-role"),
        "argo",
        {"controller": {"clusterWide": True}, "archive": {"enabled": True, "host": "db.example.com"}},
        "genai-argo-workflow-controller",
        {("", "pods/exec"): (("delete", "get", "list", "patch", "update", "watch"), "it only runs what ends a pod")},
    ),
    Program(
        "argo",
        "manifests/cluster-install-no-crds/argo-server-rbac",
        ("argo-server-cluster-role",),
        "argo",
        {
            "controller": {"clusterWide": True},
            "server": {
                "auth": {
                    "server": True,
                    "sso": {"enabled": True, "issuer": "https://a", "redirectUrl": "https://b", "rbac": False},
                }
            },
        },
        "genai-argo-server",
        {
            ("", "pods"): (("delete",), "people end workflows, and the controller their pods"),
            ("", "pods/exec"): (("delete", "get", "list", "watch"), "it runs nothing in pods"),
            ("", "pods/log"): (("delete",), "no such request"),
            ("argoproj.io", "eventsources"): (ALL, "Argo Events is not installed"),
            ("argoproj.io", "sensors"): (ALL, "Argo Events is not installed"),
        },
        {("", "events"): (("get", "list"), "its pages show the events of a workflow")},
    ),
    Program(
        "argo",
        "manifests/quick-start/base",
        ("agent", "artifactgc", "executor"),
        "argo",
        {"workflows": {"agent": True, "artifactGC": True}},
        "genai-argo-executor",
        {},
    ),
)


def test_heads_let_in_the_makers_operator(drydock_project: Project, render_chart: RenderChart) -> None:
    """With `operator.enabled: false`, by the labels that the maker's own manifests give its pods."""
    toolchain = Toolchain.load(drydock_project)
    source = replace(toolchain.crds["kuberay"], path="config/manager/manager.yaml")
    (operator,) = yaml.safe_load_all(fetch(drydock_project, toolchain, source, PlainProgress()).read_text())
    values = {"operator": {"enabled": False, "namespace": "ray-system"}, "rayClusters": {"research": {}}}
    policy = by_name(render_chart("kuberay", values), "NetworkPolicy")["genai-kuberay-research"]["spec"]
    (peer,) = next(rule["from"] for rule in policy["ingress"] if rule.get("ports"))
    assert peer["podSelector"]["matchLabels"].items() <= operator["spec"]["template"]["metadata"]["labels"].items()
    assert peer["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "ray-system"}}


def _rights(roles: Iterable[Mapping[str, Any]]) -> set[Right]:
    """Those of single names count as those of all."""
    return {
        (group, resource, verb)
        for role in roles
        for rule in role.get("rules") or ()
        for group in rule.get("apiGroups", ())
        for resource in rule.get("resources", ())
        for verb in rule["verbs"]
    }


def _listed(rights: Mapping[tuple[str, str], tuple[Collection[str], str]]) -> set[Right]:
    return {(*resource, verb) for resource, (verbs, _) in rights.items() for verb in verbs}


@pytest.mark.slow
@pytest.mark.parametrize(
    "program", PROGRAMS, ids=lambda program: f"{program.chart}-{program.folder.rpartition('/')[2]}"
)
def test_rights_are_the_makers_but_for_those_with_a_reason(
    drydock_project: Project, render_chart: RenderChart, program: Program
) -> None:
    toolchain = Toolchain.load(drydock_project)
    source = replace(toolchain.crds[program.owner], path=program.folder)
    files = fetch(drydock_project, toolchain, source, PlainProgress()).rglob("*.yaml")
    documents = [document for file in files for document in yaml.safe_load_all(file.read_text()) if document]
    theirs = [each for each in documents if each["kind"] in ("Role", "ClusterRole")]
    named = [each for each in theirs if each["metadata"]["name"] in program.roles]
    assert {each["metadata"]["name"] for each in named} == set(program.roles)
    manifests = render_chart(program.chart, {"global": {"region": "us-west-2"}, **program.values})
    ours = [
        each.content
        for each in manifests
        if each.kind in ("Role", "ClusterRole") and each.name.startswith(program.name)
    ]
    assert _rights(named) - _rights(ours) == _listed(program.left_out)
    assert _rights(ours) - _rights(named) == _listed(program.beyond)
