"""Which CRDs `deploy` brings, and which of a shared cluster it leaves alone."""

import copy
from typing import Any

import pytest

from drydock.clusters.crds import owners_of, read_crds, reason_to_leave
from drydock.project import Project
from drydock.testing.pytest_plugin import RenderEnvironment


@pytest.mark.parametrize(
    ("environment", "owners"),
    [("dev", ("karpenter",)), ("auto-mode", ()), ("prod", ("argo", "karpenter", "kuberay"))],
)
def test_only_owners_that_an_environment_needs(
    drydock_project: Project, render_environment: RenderEnvironment, environment: str, owners: tuple[str, ...]
) -> None:
    assert owners_of(drydock_project, render_environment(environment).manifests) == owners


@pytest.fixture(scope="module")
def pinned(drydock_project: Project) -> Any:
    return next(each for each in read_crds(drydock_project, ["karpenter"]) if "nodepools" in each["metadata"]["name"])


def kept_by(crd: Any, manager: str) -> Any:
    found = copy.deepcopy(crd)
    found["metadata"]["managedFields"] = [{"manager": manager, "fieldsV1": {"f:spec": {}}}]
    return found


@pytest.mark.parametrize("manager", ["argocd-controller", "eks", "kustomize-controller"])
def test_what_a_controller_keeps_is_left_to_it(pinned: Any, manager: str) -> None:
    assert reason_to_leave(pinned, kept_by(pinned, manager)) == f"{manager} keeps it"


@pytest.mark.parametrize("manager", ["drydock-crds", "helm", "kubectl-client-side-apply"])
def test_what_people_or_we_installed_is_brought_to_the_pinned_version(pinned: Any, manager: str) -> None:
    older = kept_by(pinned, manager)
    del older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert reason_to_leave(pinned, older) == ""


def test_a_newer_one_is_never_taken_back(pinned: Any) -> None:
    newer = kept_by(pinned, "helm")
    spec = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["fresh"] = {"type": "string"}
    assert reason_to_leave(pinned, newer) == "it has fields that the pinned one lacks, such as v1.spec.fresh"
