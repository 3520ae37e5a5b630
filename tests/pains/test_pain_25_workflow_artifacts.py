"""Pain 25: workflows cannot store their artifacts."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from drydock.checks.findings import Finding
from drydock.errors import RenderError
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.objects import by_name
from tests.checks import helpers
from tests.pains.suite import MODEL, findings, platform

CHECKS = ("workflow-artifacts", "workflow-service-account")
PIPELINE = {"data": "s3://data/a", "baseModel": "org/a", "models": "s3://models/a", "deployment": {"model": "small"}}
ARGO: dict[str, Any] = {
    "enabled": True,
    "artifactRepository": {"bucket": "artifacts"},
    "pipelines": {"tune": PIPELINE},
}


def test_the_chart_gives_every_namespace_what_its_workflows_need(render_chart: RenderChart) -> None:
    more = {"controller": {"clusterWide": True}, "workflows": {"namespaces": {"team-a": True}}}
    pipelines = {"tune": PIPELINE, "theirs": {**PIPELINE, "namespace": "team-a"}}
    source = {"size": "15Gi", "huggingFace": {"id": ""}, "s3": {"uri": "s3://models/small"}}
    served = {"models": {"small": {**MODEL, "source": source}}}
    subject = platform(render_chart, charts={"argo": {**ARGO, **more, "pipelines": pipelines}, "vllm": served})
    assert {each.namespace for each in subject.manifests if each.kind == "WorkflowTemplate"} == {"genai", "team-a"}
    assert not findings(subject, *CHECKS)


def test_repository_takes_the_credentials_of_the_service_account(render_chart: RenderChart) -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/training"}
    pipelines = {"tune": {**PIPELINE, "deployment": {"enabled": False}}}
    values = {**ARGO, "pipelines": pipelines, "workflows": {"serviceAccounts": {"training": {"annotations": role}}}}
    manifests = render_chart(
        "genai-platform", {"global": {"clusterName": "dev", "region": "us-west-2"}, "argo": values}
    )
    assert by_name(manifests, "ServiceAccount")["genai-argo-training"]["metadata"]["annotations"] == role
    repository = by_name(manifests, "ConfigMap")["genai-argo-artifact-repository"]["data"]["s3"]
    assert "useSDKCreds: true" in repository
    assert "region: us-west-2" in repository
    assert "Secret" not in repository


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"artifactRepository": {"bucket": ""}}, r"artifactRepository\.bucket"),
        ({"pipelines": {"tune": {**PIPELINE, "namespace": "team-a"}}}, r"add it to workflows\.namespaces"),
        ({"workflows": {"namespaces": {"team-a": True}}}, r"set controller\.clusterWide"),
    ],
)
def test_what_could_not_work_does_not_render(render_chart: RenderChart, values: Any, reason: str) -> None:
    with pytest.raises(RenderError, match=reason):
        platform(render_chart, charts={"argo": {**ARGO, **values}})


def test_a_repository_without_a_region_does_not_render(render_chart: RenderChart) -> None:
    with pytest.raises(RenderError, match=r"artifactRepository\.region"):
        render_chart("argo", {key: value for key, value in ARGO.items() if key != "enabled"})


REPOSITORY = {"s3": {"bucket": "b", "region": "us-west-2", "useSDKCreds": True}}


def workflow(**spec: Any) -> dict[str, Any]:
    """A workflow with one artifact, as the ServiceAccount `runner`."""
    template = {
        "name": "main",
        "container": {"image": "example.com/a:1"},
        "outputs": {"artifacts": [{"name": "result", "path": "/tmp/result"}]},
    }
    fixed = {"entrypoint": "main", "serviceAccountName": "runner", "templates": [template]}
    return _object("WorkflowTemplate", "own", {"spec": {**fixed, **spec}}, "argoproj.io/v1alpha1")


def around(
    repository: Mapping[str, Any] | None = REPOSITORY, verbs: Sequence[str] = ("create", "patch"), namespace: str = ""
) -> list[dict[str, Any]]:
    """What a workflow needs: the controller's configuration, a ServiceAccount and its rights."""
    rule = {"apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": list(verbs)}
    subject = {"kind": "ServiceAccount", "name": "runner", "namespace": namespace or "genai"}
    binding = {"roleRef": {"kind": "Role", "name": "runner"}, "subjects": [subject]}
    config = {"data": {"config": json.dumps({"artifactRepository": repository} if repository else {"parallelism": 1})}}
    return [
        _object("ConfigMap", "workflow-controller-configmap", config),
        _object("ServiceAccount", "runner", {}, namespace=namespace),
        _object("Role", "runner", {"rules": [rule]}, namespace=namespace),
        _object("RoleBinding", "runner", binding, namespace=namespace),
    ]


def _object(
    kind: str, name: str, content: Mapping[str, Any], api_version: str = "v1", namespace: str = ""
) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def found(*objects: Mapping[str, Any]) -> list[Finding]:
    return findings(helpers.subject("\n---\n".join(json.dumps(each) for each in objects)), *CHECKS)


def test_a_whole_setup_has_nothing_to_say() -> None:
    assert not found(workflow(), *around())
    without = workflow(templates=[{"name": "main", "container": {"image": "example.com/a:1"}}])
    assert not found(without, *around(None)), "no artifact, no repository"


@pytest.mark.parametrize(
    ("repository", "reason"),
    [
        (None, "have no repository"),
        ({"archiveLogs": True}, "names no store"),
        ({"s3": {"region": "us-west-2", "useSDKCreds": True}}, "names no bucket"),
        ({"s3": {"bucket": "b", "useSDKCreds": True}}, "names no region"),
        ({"s3": {"bucket": "b", "region": "us-west-2"}}, "names no credentials"),
    ],
)
def test_what_a_repository_lacks_is_found(repository: Any, reason: str) -> None:
    (finding,) = found(workflow(), *around(repository))
    assert finding.check == "workflow-artifacts"
    assert reason in finding.reason
    assert finding.path == "spec.templates.0.outputs.artifacts.result"


def test_keys_in_secrets_are_credentials_too() -> None:
    keys = {"accessKeySecret": {"name": "s3", "key": "a"}, "secretKeySecret": {"name": "s3", "key": "b"}}
    assert not found(workflow(), *around({"s3": {"bucket": "b", "region": "us-west-2", **keys}}))


def test_a_repository_by_name_has_to_be_in_the_namespace() -> None:
    named = workflow(artifactRepositoryRef={"configMap": "own", "key": "s3"})
    (finding,) = found(named, *around())
    assert finding.path == "spec.artifactRepositoryRef"
    data = {"data": {"s3": json.dumps(REPOSITORY)}}
    assert not found(named, *around(None), _object("ConfigMap", "own", data))
    assert found(named, *around(None), _object("ConfigMap", "own", data, namespace="elsewhere"))


@pytest.mark.parametrize(
    ("spec", "surroundings", "reason"),
    [
        ({"serviceAccountName": None}, around(), "default"),
        ({"serviceAccountName": "other"}, around(), "does not have"),
        ({}, around(namespace="team-a"), "does not have"),
        ({}, around(verbs=["create"]), "may not create and patch"),
    ],
)
def test_a_service_account_that_cannot_report_is_found(spec: Any, surroundings: Any, reason: str) -> None:
    (finding,) = found(workflow(**spec), *surroundings)
    assert finding.check == "workflow-service-account"
    assert reason in finding.reason
