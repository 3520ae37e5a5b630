"""What `deploy` puts into an EKS cluster besides the suite, and what changes there from one deployment to the next."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from drydock.deploy.eks import contents
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.suite.cluster_description import describe, described
from drydock.suite.environments import environment_names, load_environment
from drydock.testing.pytest_plugin import RenderEnvironment
from drydock.tools.modules import fetch
from drydock.tools.pins import Toolchain
from tests.conftest import ROOT

OUTPUTS = {"cluster_name": "ours", "region": "eu-west-1", "zones": ["eu-west-1a"], "file_system": "fs-1", "vpc_id": "v"}


def settings(command: list[str]) -> dict[str, str]:
    (text,) = [command[at + 1] for at, each in enumerate(command) if each in ("--set", "--set-string")]
    return dict(each.split("=", 1) for each in text.split(","))


@pytest.mark.parametrize("name", environment_names(Project(ROOT, ROOT)))
def test_nodes_carry_no_tag_that_a_later_deployment_would_change(
    name: str, drydock_project: Project, render_environment: RenderEnvironment, tmp_path: Path
) -> None:
    environment = load_environment(drydock_project, name)
    values = contents.values_of(OUTPUTS, auto_mode=describe(environment).auto_mode)
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    classes = render_environment(name, [file]).of_kind("EC2NodeClass", "NodeClass")
    assert classes
    own = environment.name == "prod"
    for each in classes:
        tags = set(each.content["spec"]["tags"])
        assert tags == ({"drydock.dev/cluster", "cost-center"} if own else {"drydock.dev/cluster"})


def test_karpenter_runs_with_the_gates_of_the_target_and_with_resources() -> None:
    target = described("eks")
    command = contents.karpenter("ours", target.karpenter, target.gates_for(()))
    assert command[:6] == ["upgrade", "--install", "karpenter", contents.KARPENTER_CHART, "--version", "1.14.0"]
    told = settings(command)
    assert told["settings.clusterName"] == "ours"
    assert told["settings.interruptionQueue"] == "ours-interruptions"
    gates = {key.rpartition(".")[2]: value for key, value in told.items() if "featureGates" in key}
    assert gates == {
        "nodeRepair": "true",
        "nodeOverlay": "false",
        "reservedCapacity": "true",
        "spotToSpotConsolidation": "true",
        "staticCapacity": "true",
        "capacityBuffer": "false",
    }
    assert told["controller.resources.requests.memory"] == "1Gi"


def test_gates_are_those_of_the_pinned_chart(drydock_project: Project) -> None:
    toolchain = Toolchain.load(drydock_project)
    source = replace(toolchain.data["karpenter-prices"], path="charts/karpenter/values.yaml")
    chart = fetch(drydock_project, toolchain, source, SilentProgress())
    upstream = yaml.safe_load(chart.read_text())["settings"]["featureGates"]
    assert set(described("eks").feature_gates) == set(upstream)
    assert described("existing").feature_gates == upstream


def test_the_load_balancer_controller_is_installed_where_an_object_needs_it(
    render_environment: RenderEnvironment,
) -> None:
    eks, auto_mode = described("eks"), described("eks-auto-mode")
    prod = render_environment("prod").manifests
    assert contents.needs_load_balancers(prod, eks), "JupyterHub has an Ingress"
    assert not contents.needs_load_balancers(prod, auto_mode)
    assert not contents.needs_load_balancers(render_environment("dev").manifests, eks)
    public = ["vllm.models.llama-3-8b.service.type=LoadBalancer"]
    assert contents.needs_load_balancers(render_environment("dev", set_values=public).manifests, eks)
    command = contents.load_balancer_controller("ours", "eu-west-1", "vpc-1", {"drydock.dev/cluster": "ours"})
    told = settings(command)
    assert (told["clusterName"], told["region"], told["vpcId"]) == ("ours", "eu-west-1", "vpc-1")
    assert told["defaultTags.drydock\\.dev/cluster"] == "ours"
    assert told["serviceAccount.name"] == "aws-load-balancer-controller"
    assert command[command.index("--version") + 1] == contents.LOAD_BALANCER_CHART[1]


def test_auto_mode_gets_what_eks_does_not_make_for_it() -> None:
    made = {
        (each["kind"], each["metadata"]["name"]): each for each in contents.objects_of(described("eks-auto-mode"), {})
    }
    assert set(made) == {
        ("StorageClass", "ebs-auto"),
        ("ConfigMap", "amazon-vpc-cni"),
        ("IngressClass", "alb"),
    }
    assert made["ConfigMap", "amazon-vpc-cni"]["data"] == {"enable-network-policy-controller": "true"}
    storage = made["StorageClass", "ebs-auto"]
    assert storage["provisioner"] == "ebs.csi.eks.amazonaws.com"
    assert storage["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    assert made["IngressClass", "alb"]["spec"]["controller"] == "eks.amazonaws.com/alb"


def test_with_karpenter_only_the_class_of_the_file_system_is_left_to_make() -> None:
    assert list(contents.objects_of(described("eks"), OUTPUTS)) == []
    (efs,) = contents.objects_of(described("eks", {"efs": True}), OUTPUTS)
    assert efs["metadata"]["name"] == "efs"
    assert efs["parameters"]["fileSystemId"] == "fs-1"
