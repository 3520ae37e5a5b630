"""data/targets.yaml: one description, from which Terraform, deploy, kind and the rehearsal are made."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from drydock.errors import UsageError
from drydock.project import Project
from drydock.suite.cluster_description import ENVIRONMENT_TARGETS, describe, described, lacks, target_names
from drydock.suite.environments import Environment, environment_names, load_environment
from drydock.suite.feature_gates import environment_variable, helm_settings
from drydock.suite.render import KUBERNETES_VERSION
from drydock.testing.pytest_plugin import RenderEnvironment
from drydock.tools.pins import Toolchain
from tests.conftest import ROOT

OURS = Environment("ours", Path("values/environments/ours.yaml"), "", ())


@pytest.mark.parametrize("target", [*ENVIRONMENT_TARGETS, "rehearsal"])
def test_kubernetes_and_karpenter_are_those_that_are_rehearsed(target: str, drydock_project: Project) -> None:
    found = described(target)
    assert KUBERNETES_VERSION.startswith(f"{found.kubernetes}.")
    assert found.karpenter in ("", Toolchain.load(drydock_project).tools["karpenter"].version)


def test_the_node_of_kind_is_of_its_kubernetes() -> None:
    (node,) = yaml.safe_load((ROOT / "ci/kind/cluster.yaml").read_text())["nodes"]
    assert f"kindest/node:v{described('kind').kubernetes}." in node["image"]


def test_an_environment_says_what_differs() -> None:
    classes = {"fast": {"provisioner": "ebs.csi.aws.com"}, "gp2": None}
    differs = {"kubernetes": "1.35", "efs": True, "storageClasses": classes, "ingressClasses": ["nginx"]}
    found = describe(replace(OURS, cluster={**differs, "featureGates": {"nodeRepair": False}}))
    assert found.kubernetes == "1.35"
    assert [each.name for each in found.storage_classes] == ["ebs-csi-default-sc", "efs", "fast"]
    assert "efs.csi.aws.com" in found.drivers
    assert found.ingress_classes == ("nginx",)
    assert found.feature_gates == {**described("eks").feature_gates, "nodeRepair": False}
    assert found.terraform_variables() == {
        "kubernetes_version": "1.35",
        "auto_mode": False,
        "efs": True,
        "fsx": False,
        "default_storage_class": True,
    }
    none = {"ebs-csi-default-sc": None}
    assert not described("eks", {"storageClasses": none}).terraform_variables()["default_storage_class"]


def test_an_option_that_the_target_has_not_is_named_with_its_file() -> None:
    with pytest.raises(UsageError, match=r"values/environments/ours.yaml: cluster.fsx: target existing") as refused:
        describe(replace(OURS, target="existing", cluster={"fsx": True}))
    assert "Known there: efs" in str(refused.value)


def test_only_what_eks_really_has_is_a_default_class() -> None:
    assert {target: described(target).default_class for target in ENVIRONMENT_TARGETS} == {
        "eks": next(each for each in described("eks").storage_classes if each.provisioner == "ebs.csi.aws.com"),
        "eks-auto-mode": next(
            each for each in described("eks-auto-mode").storage_classes if each.provisioner.startswith("ebs.csi.eks")
        ),
        "existing": None,
    }


@pytest.mark.parametrize("name", environment_names(Project(ROOT, ROOT)))
def test_gates_for_overlays_are_on_only_where_there_are_any(
    name: str, drydock_project: Project, render_environment: RenderEnvironment
) -> None:
    target = describe(load_environment(drydock_project, name))
    gates = target.gates_for(render_environment(name).manifests)
    assert gates == {**target.feature_gates, "nodeOverlay": False}


def test_gates_have_the_forms_of_chart_and_program() -> None:
    gates = {"nodeRepair": True, "staticCapacity": False}
    assert helm_settings(gates) == "settings.featureGates.nodeRepair=true,settings.featureGates.staticCapacity=false"
    assert environment_variable(gates) == "NodeRepair=true,StaticCapacity=false"


def test_every_target_says_what_integration_tests_cannot_do_there() -> None:
    assert {"eks", "existing", "kind", "rehearsal"} <= set(target_names())
    assert lacks("eks") == {}
    assert set(lacks("rehearsal")) == {"accelerator", "load_balancer", "real_pods"}
