"""Fields that an object states although another program writes them."""

import json
from typing import Any

import pytest

from tests.checks.helpers import findings

CHECK = "field-owner"
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "model"},
    "spec": {"replicas": 2, "template": {"metadata": {}, "spec": {"containers": [{"name": "a", "image": "a:1"}]}}},
}
RAY = {
    "apiVersion": "ray.io/v1",
    "kind": "RayCluster",
    "metadata": {"name": "research"},
    "spec": {
        "enableInTreeAutoscaling": True,
        "workerGroupSpecs": [
            {"groupName": "a", "minReplicas": 1},
            {"groupName": "b", "replicas": 1, "scaleStrategy": {"workersToDelete": ["c"]}},
        ],
    },
}
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "ClusterRole",
    "metadata": {"name": "view"},
    "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
}
INJECTED = "cert-manager.io/inject-ca-from"
WEBHOOK = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "ValidatingWebhookConfiguration",
    "metadata": {"name": "hook", "annotations": {INJECTED: "a/b"}},
    "webhooks": [{"name": "a.example.com", "clientConfig": {"caBundle": "QQ=="}}],
}


def scaler(kind: str, target: str, name: str) -> dict[str, Any]:
    version = {"HorizontalPodAutoscaler": "autoscaling/v2", "ScaledObject": "keda.sh/v1alpha1"}[kind]
    return {
        "apiVersion": version,
        "kind": kind,
        "metadata": {"name": "own"},
        "spec": {"scaleTargetRef": {"kind": target, "name": name}},
    }


def paths(*contents: dict[str, Any]) -> list[str]:
    """Paths of the fields that have another writer."""
    return [finding.path for finding in findings("\n---\n".join(map(json.dumps, contents)), CHECK)]


@pytest.mark.parametrize(
    "autoscaler",
    [
        scaler("HorizontalPodAutoscaler", "Deployment", "model"),
        scaler("ScaledObject", "Deployment", "model"),
    ],
)
def test_replicas_are_the_autoscalers(autoscaler: dict[str, Any]) -> None:
    (finding,) = findings("\n---\n".join(map(json.dumps, (DEPLOYMENT, autoscaler))), CHECK)
    assert (finding.object, finding.path, str(finding.severity)) == ("Deployment/model", "spec.replicas", "error")
    assert "own writes spec.replicas as well" in finding.reason
    assert finding.remedy.startswith("Leave spec.replicas out of the object.")
    without = {**DEPLOYMENT, "spec": {**DEPLOYMENT["spec"], "replicas": None}}  # type: ignore[dict-item]
    assert not paths(without, autoscaler)


@pytest.mark.parametrize(
    "autoscaler",
    [
        scaler("HorizontalPodAutoscaler", "Deployment", "other"),
        scaler("HorizontalPodAutoscaler", "StatefulSet", "model"),
        {**scaler("ScaledObject", "Deployment", "model"), "metadata": {"name": "own", "namespace": "elsewhere"}},
    ],
)
def test_replicas_of_what_nothing_scales_are_the_releases(autoscaler: dict[str, Any]) -> None:
    assert not paths(DEPLOYMENT, autoscaler)


def test_workers_are_rays_autoscalers_where_it_is_on() -> None:
    assert paths(RAY) == ["spec.workerGroupSpecs.1.replicas", "spec.workerGroupSpecs.1.scaleStrategy"]
    assert not paths({**RAY, "spec": {**RAY["spec"], "enableInTreeAutoscaling": False}})  # type: ignore[dict-item]


def test_keys_of_controllers_are_theirs_on_objects_and_on_pods() -> None:
    annotations = {"kubectl.kubernetes.io/restartedAt": "2026-11-30", "example.com/own": "1"}
    spec: Any = DEPLOYMENT["spec"]
    template = {**spec["template"], "metadata": {"annotations": annotations}}
    tracked = {"name": "model", "annotations": {"argocd.argoproj.io/tracking-id": "a"}, "labels": None}
    assert paths({**DEPLOYMENT, "metadata": tracked, "spec": {**spec, "template": template}}) == [
        "metadata.annotations.argocd.argoproj.io/tracking-id",
        "spec.template.metadata.annotations.kubectl.kubernetes.io/restartedAt",
    ]


def test_rules_of_aggregated_roles_and_authorities_that_are_injected() -> None:
    assert paths({**ROLE, "aggregationRule": {"clusterRoleSelectors": []}}) == ["rules"]
    assert not paths(ROLE)
    assert paths(WEBHOOK) == ["webhooks.0.clientConfig.caBundle"]
    assert not paths({**WEBHOOK, "metadata": {"name": "hook"}})
