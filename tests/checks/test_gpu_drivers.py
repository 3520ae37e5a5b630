"""The driver that a node's AMI brings must run the CUDA of the images on it."""

import json
from typing import Any

import pytest

from drydock.checks.findings import Severity
from drydock.engines.nvidia_drivers import cuda_of, driver_of
from drydock.plan.planned_models import usable_types
from tests.checks.helpers import findings, judge
from tests.scheduling.builders import deployment, pod_spec, pool

CHECK = "gpu-driver"
FAMILY = "karpenter.k8s.aws/instance-family"
VLLM = "vllm/vllm-openai:v0.26.0"


def node_class(term: dict[str, str]) -> str:
    content = {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": "own"},
        "spec": {"amiFamily": "AL2023", "amiSelectorTerms": [term]},
    }
    return json.dumps(content) + "\n---\n"


def found_on(
    alias: str,
    image: str = VLLM,
    *,
    kubernetes: str = "1.33",
    families: tuple[str, ...] = ("g6",),
    device: str = "nvidia.com/gpu",
    env: dict[str, str] | None = None,
    term: dict[str, str] | None = None,
) -> list[Any]:
    spec = pod_spec({device: 1})
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    container = {**spec["containers"][0], "image": image, "env": variables}
    text = (
        node_class(term or {"alias": alias})
        + pool("gpu", [(FAMILY, "In", list(families))], node_class="own")
        + deployment({**spec, "containers": [container]})
    )
    return findings(text, CHECK, environment={"cluster": {"kubernetes": kubernetes}})


@pytest.mark.parametrize(
    ("alias", "kubernetes"),
    [("al2023@v20251016", "1.33"), ("al2023@v20251112", "1.30"), ("bottlerocket@1.50.0", "1.32")],
)
def test_cuda_13_on_a_driver_of_branch_570_is_an_error(alias: str, kubernetes: str) -> None:
    (found,) = found_on(alias, kubernetes=kubernetes)
    assert found.severity is Severity.ERROR
    assert "CUDA 13.0 of vllm/vllm-openai:v0.26.0 needs the NVIDIA driver 580" in found.reason
    assert "570." in found.reason
    assert "-cu129" in found.remedy


def test_the_remedy_names_the_first_release_for_the_clusters_kubernetes() -> None:
    (found,) = found_on("al2023@v20251016", kubernetes="1.30")
    assert "v20251120 or later" in found.remedy


@pytest.mark.parametrize(
    ("alias", "image", "kubernetes"),
    [
        ("al2023@v20251029", VLLM, "1.33"),
        ("al2023@latest", VLLM, "1.33"),
        ("bottlerocket@1.53.0", VLLM, "1.32"),
        ("al2023@v20251016", f"{VLLM}-cu129", "1.33"),  # any minor of CUDA 12 runs on 525 and later
        ("al2023@v20251016", "vllm/vllm-openai:v0.19.1", "1.33"),
        ("al2023@v20251016", "example.com/own:1", "1.33"),
    ],
)
def test_what_runs_or_is_not_known_is_no_finding(alias: str, image: str, kubernetes: str) -> None:
    assert found_on(alias, image, kubernetes=kubernetes) == []


def test_an_ami_by_id_is_not_known() -> None:
    assert found_on("", term={"id": "ami-0123456789abcdef0"}) == []


def test_libraries_of_forward_compatibility_make_it_a_warning() -> None:
    (found,) = found_on("al2023@v20251016", env={"VLLM_ENABLE_CUDA_COMPATIBILITY": "1"})
    assert found.severity is Severity.WARNING


def test_gpus_that_cuda_has_no_code_for_are_an_error_on_any_driver() -> None:
    (found,) = found_on("al2023@latest", families=("g6", "p3dn"))
    assert "no code for the GPUs of p3dn" in found.reason
    assert found_on("al2023@latest", f"{VLLM}-cu129", families=("g6", "p3dn")) == []


def test_gpus_that_are_newer_than_the_ami() -> None:
    (found,) = found_on("al2023@v20260714", "example.com/own:1", families=("g7",), kubernetes="1.35")
    assert found.severity is Severity.ERROR
    assert "g7 needs the NVIDIA driver 595" in found.reason
    (found,) = found_on("al2023@latest", families=("g7",), kubernetes="1.35")
    assert found.severity is Severity.WARNING  # the list may be older than the AMI


@pytest.mark.parametrize(
    ("image", "cuda"),
    [
        ("nvcr.io/nvidia/cuda:13.0.1-base-ubuntu24.04", "13.0"),
        ("nvcr.io/nvidia/vllm:25.10-py3", "13.0"),
        ("rayproject/ray-llm:2.49.0-py311-cu128", "12.8"),
        ("pytorch/pytorch:2.7.0-cuda12.8-cudnn9-runtime", "12.8"),
        ("registry.example.com:5000/mirror/vllm/vllm-openai:v0.11.0", "12.8"),
        ("vllm/vllm-openai:latest", ""),
        ("vllm/vllm-openai:v0.4.0", ""),
        ("vllm/vllm-openai@sha256:" + "0" * 64, ""),
        ("example.com/cuda-tools:cuda", ""),
    ],
)
def test_the_cuda_of_an_image(image: str, cuda: str) -> None:
    assert cuda_of(image) == cuda


@pytest.mark.parametrize("alias", ["al2023@v20240101", "al2@latest", "windows2022@latest", "", "al2023"])
def test_drivers_that_are_not_known(alias: str) -> None:
    assert driver_of(alias, "1.33") is None


def test_plans_leave_out_types_on_which_the_image_finds_no_gpu() -> None:
    spec = pod_spec({"nvidia.com/gpu": 1})
    container = {**spec["containers"][0], "image": VLLM}
    text = (
        node_class({"alias": "al2023@latest"})
        + pool("gpu", [(FAMILY, "In", ["g6", "p3dn"])], node_class="own")
        + deployment({**spec, "containers": [container]})
    )
    (verdict,) = judge(text)
    names, sentences = usable_types(verdict, "1.33")
    assert "g6.xlarge" in names
    assert not any(name.startswith("p3dn") for name in names)
    assert sentences == (
        f"Instance types left out: {VLLM} is built for CUDA 13.0, which has no code for the GPUs of p3dn.",
    )
