"""What stops a kind cluster before it is made, and what is in it; on a real one in test_kind_cluster.py."""

import socket
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, dynamic

from drydock.clusters.kube import api_client
from drydock.deploy.deployments import Deployment, keep, list_deployments, now
from drydock.deploy.kind.docker import check_memory, check_ports
from drydock.deploy.kind.image import IMAGE, requirements
from drydock.deploy.kind.stand_ins import create_prerequisites
from drydock.errors import ClusterError
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.prerequisites import Prerequisites
from drydock.suite.cluster_description import described
from drydock.testing.pytest_plugin import RenderEnvironment
from drydock.tools import process
from tests.conftest import ROOT, Drydock

KIND = ROOT / "ci" / "kind"


def test_without_docker_nothing_is_begun(drydock: Drydock, tmp_path: Path) -> None:
    env = {"PATH": str(tmp_path), "DRYDOCK_CACHE": str(tmp_path / "cache")}
    done = drydock("deploy", "dev", "--target", "kind", env=env)
    assert done.returncode == 1
    assert "docker is not on PATH" in done.stderr
    assert "Install Docker Engine or Docker Desktop" in done.stderr
    assert list_deployments(Project(ROOT, tmp_path / "cache")) == ()


@pytest.mark.docker
def test_a_daemon_that_does_not_answer_is_told_with_what_docker_says(drydock: Drydock, tmp_path: Path) -> None:
    env = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "DRYDOCK_CACHE": str(tmp_path / "cache")}
    done = drydock("deploy", "dev", "--target", "kind", env=env)
    assert done.returncode == 1
    assert "Docker's daemon does not answer" in done.stderr
    assert "none.sock" in done.stderr
    assert "Start Docker" in done.stderr
    assert list_deployments(Project(ROOT, tmp_path / "cache")) == ()


def test_the_environment_is_valid_with_the_values_of_kind(drydock: Drydock) -> None:
    done = drydock("validate", "dev", "-f", ROOT / "values" / "kind" / "dev.yaml")
    assert done.returncode == 0, "`deploy dev --target kind` would be refused"


def test_too_little_memory_is_told_with_what_is_needed() -> None:
    check_memory({"MemTotal": 4 << 30}, 4)
    with pytest.raises(ClusterError, match=r"Docker has 2\.0 GiB of memory, and the cluster needs 4 GiB"):
        check_memory({"MemTotal": 2 << 30}, 4)


def test_a_port_in_use_is_named_with_the_file_that_asks_for_it(tmp_path: Path) -> None:
    check_ports(KIND / "cluster.yaml")
    configuration = tmp_path / "cluster.yaml"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        mapping = {"containerPort": 30080, "hostPort": port, "listenAddress": "127.0.0.1"}
        configuration.write_text(yaml.safe_dump({"nodes": [{"extraPortMappings": [mapping]}]}))
        with pytest.raises(ClusterError, match=f"port {port} of 127.0.0.1 cannot be had") as taken:
            check_ports(configuration)
        configuration.write_text(yaml.safe_dump({"networking": {"apiServerPort": port}}))
        with pytest.raises(ClusterError, match=f"port {port} of 127.0.0.1"):
            check_ports(configuration)
    assert str(configuration) in str(taken.value)


@pytest.mark.docker
def test_kind_itself_reads_our_configuration(drydock_tool: Callable[[str], Path], tmp_path: Path) -> None:
    def said(configuration: Path) -> str:
        command = [drydock_tool("kind"), "create", "cluster", "--name", "none", "--config", configuration]
        env = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}
        return process.run([str(each) for each in command], env=env, check=False).stderr

    assert "Cannot connect to the Docker daemon" in said(KIND / "cluster.yaml"), "it got past the configuration"
    wrong = tmp_path / "cluster.yaml"
    wrong.write_text((KIND / "cluster.yaml").read_text().replace("networking:", "networkings:"))
    assert "field networkings not found" in said(wrong)


def test_the_image_is_given_what_the_package_requires_and_no_more() -> None:
    names = [each.partition("==")[0] for each in requirements()]
    assert {"moto", "flask", "prometheus-client", "aiohttp", "kubernetes"} <= set(names)
    assert not {"ruff", "mypy", "hypothesis"} & set(names)
    assert len(names) == len(set(names))
    assert f"moto=={metadata.version('moto')}" in requirements()


def test_on_kind_the_endpoint_of_dev_is_the_simulator_without_an_accelerator(
    render_environment: RenderEnvironment,
) -> None:
    files = yaml.safe_load((ROOT / "values/environments/dev.yaml").read_text())["kind"]["values"]
    (engine,) = render_environment("dev", files=[ROOT / "values" / each for each in files]).of_kind("Deployment")
    spec = engine.content["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["image"] == IMAGE
    assert {"name": "DRYDOCK_VLLM_GPU", "value": "a10g"} in container["env"]
    assert "nvidia.com/gpu" not in str(spec)
    assert "karpenter" not in str(spec)
    assert float(container["resources"]["requests"]["cpu"].removesuffix("m")) <= 500


def test_an_api_server_takes_the_stand_ins_and_what_is_taken_for_granted(
    rehearsal_cluster: RehearsalCluster,
) -> None:
    rehearsal_cluster.await_api()
    kubeconfig = rehearsal_cluster.kubeconfig
    resources = dynamic.DynamicClient(api_client(kubeconfig)).resources
    objects: list[dict[str, Any]] = list(yaml.safe_load_all((KIND / "stand-ins.yaml").read_text()))
    for each in objects:
        if each["kind"] == "Deployment":
            each["spec"]["template"]["spec"]["containers"][0]["image"] = IMAGE
        kind = resources.get(api_version=each["apiVersion"], kind=each["kind"])
        kind.create(body=each, query_params=[("dryRun", "All"), ("fieldValidation", "Strict")])

    classes = {"fast": {"provisioner": "ebs.csi.aws.com"}}
    wanted = Prerequisites(("ours",), described("eks", {"storageClasses": classes}), {"token": ("key",)}, "ours")
    create_prerequisites(kubeconfig, wanted)
    core = client.CoreV1Api(api_client(kubeconfig))
    first = core.read_namespaced_secret("token", "ours").data["key"]
    create_prerequisites(kubeconfig, wanted)
    assert core.read_namespaced_secret("token", "ours").data["key"] == first
    storage = client.StorageV1Api(api_client(kubeconfig))
    assert storage.read_storage_class("fast").provisioner == "rancher.io/local-path"


def test_what_a_deployment_of_this_machine_outlived_is_found_without_an_account(
    drydock: Drydock, tmp_path: Path
) -> None:
    project = Project(ROOT, tmp_path / "cache")
    env = {"DRYDOCK_CACHE": str(project.cache_dir)}
    assert "nothing is expired" in drydock("destroy", "--expired", env=env).stdout
    keep(project, Deployment("kept", "dev", "kind", "genai", now(), "2999-01-01T00:00:00Z"))
    keep(project, Deployment("past", "dev", "kind", "genai", now(), "2020-01-01T00:00:00Z"))
    listed = drydock("destroy", "--expired", env=env)
    assert listed.stdout == "past: expired at 2020-01-01T00:00:00Z\n"
    assert "--yes removes them" in listed.stderr
    assert [each.name for each in list_deployments(project)] == ["kept", "past"]
