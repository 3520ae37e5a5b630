"""What each environment is for."""

from typing import Any

import pytest

from drydock.documents import load_yaml_file
from drydock.project import Project
from drydock.suite.render import RenderedEnvironment
from drydock.testing.pytest_plugin import RenderEnvironment


def pods(environment: RenderedEnvironment) -> list[Any]:
    workloads = environment.of_kind("Deployment", "DaemonSet", "StatefulSet")
    return [each.content["spec"]["template"]["spec"] for each in workloads]


def containers(environment: RenderedEnvironment) -> list[Any]:
    return [each for spec in pods(environment) for each in (*spec.get("initContainers", []), *spec["containers"])]


def pools(environment: RenderedEnvironment) -> dict[str, Any]:
    return {each.name: each.content["spec"] for each in environment.of_kind("NodePool")}


def values_of(pool: Any, label: str) -> list[str]:
    for each in pool["template"]["spec"]["requirements"]:
        if each["key"] == label:
            found: list[str] = each.get("values", [])
            return found
    return []


def test_dev_is_one_model_on_one_gpu(render_environment: RenderEnvironment) -> None:
    dev = render_environment("dev")
    (model,) = dev.of_kind("Deployment")
    (server,) = model.content["spec"]["template"]["spec"]["containers"]
    assert model.content["spec"]["replicas"] == 1
    assert server["args"][0] == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert server["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert set(pools(dev)) == {"system-cpu", "general-cpu", "gpu"}
    gpu = pools(dev)["gpu"]
    assert values_of(gpu, "karpenter.k8s.aws/instance-family") == ["g5", "g6"]
    assert values_of(gpu, "karpenter.k8s.aws/instance-gpu-count") == ["1"]


def test_prod_has_zones_reservations_and_three_models(render_environment: RenderEnvironment) -> None:
    prod = render_environment("prod")
    models = [each for each in prod.of_kind("Deployment") if each.chart == "vllm"]
    assert len(models) == 3
    assert all(each.content["spec"]["replicas"] >= 2 for each in models)
    assert {each.name for each in models} <= {each.name for each in prod.of_kind("PodDisruptionBudget")}
    for pool in pools(prod).values():
        assert len(values_of(pool, "topology.kubernetes.io/zone")) >= 2
    types = {name: values_of(pool, "karpenter.sh/capacity-type") for name, pool in pools(prod).items()}
    assert types["gpu"] == ["reserved", "on-demand"]
    assert types["gpu-reserved"] == ["reserved"]
    assert {each.kind for each in prod.environment.capacity_reservations} == {"default", "capacity-block"}


def test_prod_installs_every_chart(render_environment: RenderEnvironment, drydock_project: Project) -> None:
    installed = {each.chart for each in render_environment("prod").manifests}
    umbrella = load_yaml_file(drydock_project.charts_dir / "genai-platform" / "Chart.yaml")
    installs_none_itself = {"common", "crds"}
    assert {each["name"] for each in umbrella["dependencies"]} - installs_none_itself <= installed


def test_the_reservations_of_prod_are_those_that_its_pools_take(render_environment: RenderEnvironment) -> None:
    prod = render_environment("prod")
    taken = {
        reservation.id
        for node_class in prod.of_kind("EC2NodeClass")
        for term in node_class.content["spec"].get("capacityReservationSelectorTerms", [])
        for reservation in prod.environment.capacity_reservations
        if term.get("id") == reservation.id or (term.get("tags") and term["tags"].items() <= reservation.tags.items())
    }
    assert taken == {each.id for each in prod.environment.capacity_reservations}


def test_models_of_prod_ask_for_a_key(render_environment: RenderEnvironment) -> None:
    for server in containers(render_environment("prod")):
        if server["name"] == "vllm":
            assert "VLLM_API_KEY" in {each["name"] for each in server["env"]}


def test_auto_mode_brings_its_own_nodes_and_device_plugins(render_environment: RenderEnvironment) -> None:
    auto_mode = render_environment("auto-mode")
    assert {each.content["apiVersion"] for each in auto_mode.of_kind("NodeClass")} == {"eks.amazonaws.com/v1"}
    for pool in pools(auto_mode).values():
        assert pool["template"]["spec"]["nodeClassRef"]["group"] == "eks.amazonaws.com"
    assert not auto_mode.of_kind("EC2NodeClass", "DaemonSet")
    assert auto_mode.of_kind("Deployment")


def test_airgap_takes_every_image_from_one_registry_and_no_weights_from_the_internet(
    render_environment: RenderEnvironment,
) -> None:
    airgap = render_environment("airgap")
    found = containers(airgap)
    assert {each["name"] for each in found} >= {"vllm"}
    assert len(found) > 1, "the device plugin is among them"
    assert {each["image"].split("/")[0] for each in found} == {"111122223333.dkr.ecr.us-west-2.amazonaws.com"}
    for server in found:
        assert "HF_TOKEN" not in {each["name"] for each in server.get("env", [])}
    ports = [
        port["port"]
        for policy in airgap.of_kind("NetworkPolicy")
        for rule in policy.content["spec"]["egress"]
        for port in rule["ports"]
    ]
    assert set(ports) == {53}


@pytest.mark.parametrize("name", ["dev", "prod", "auto-mode", "airgap"])
def test_secrets_that_pods_need_are_those_that_the_environment_names(
    render_environment: RenderEnvironment, name: str
) -> None:
    environment = render_environment(name)
    needed: dict[str, set[str]] = {}
    for container in containers(environment):
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference and not reference.get("optional"):
                needed.setdefault(reference["name"], set()).add(reference["key"])
    for volume in (volume for pod in pods(environment) for volume in pod.get("volumes", [])):
        if "secret" in volume:
            keys = {each["key"] for each in volume["secret"]["items"]}
            needed.setdefault(volume["secret"]["secretName"], set()).update(keys)
    assert needed == {secret: set(keys) for secret, keys in environment.environment.secrets.items()}
