"""The chart vllm with NVIDIA NIM in place of vLLM."""

from typing import Any

import pytest
import yaml

from drydock.errors import RenderError
from drydock.project import Project
from drydock.testing.pytest_plugin import RenderChart
from tests.charts.vllm_models import container, environment, pod, render, the, volumes

NIM: dict[str, Any] = {
    "source": {"size": "15Gi"},
    "image": {
        "registry": "nvcr.io",
        "repository": "nim/meta/llama-3.1-8b-instruct",
        "tag": "2.0.8",
        "pullSecret": "ngc-secret",
    },
    "engine": {"kind": "nim", "servedModelName": "meta/llama-3.1-8b-instruct", "maxModelLen": 8192},
}


def test_a_nim_runs_what_its_image_starts_with_settings_as_variables(render_chart: RenderChart) -> None:
    nim = container(render_chart, NIM)
    assert nim["image"] == "nvcr.io/nim/meta/llama-3.1-8b-instruct:2.0.8"
    assert "command" not in nim
    assert "args" not in nim
    variables = environment(nim)
    assert variables["NIM_SERVED_MODEL_NAME"] == "meta/llama-3.1-8b-instruct"
    assert variables["NIM_MAX_MODEL_LEN"] == "8192"
    assert variables["NIM_SERVER_PORT"] == "8000"
    assert variables["NGC_API_KEY"] == {"secretKeyRef": {"name": "ngc-api-secret", "key": "NGC_API_KEY"}}
    assert not [name for name in variables if name.startswith(("VLLM", "HF_"))]


def test_the_image_is_pulled_with_its_own_secret_beside_those_of_the_platform(render_chart: RenderChart) -> None:
    spec = pod(render_chart, NIM, **{"global": {"imagePullSecrets": ["pull"]}})
    assert [each["name"] for each in spec["imagePullSecrets"]] == ["pull", "ngc-secret"]


def test_a_nim_keeps_its_weights_in_the_cache_and_may_fetch_them(render_chart: RenderChart) -> None:
    manifests = render(render_chart, NIM)
    spec = the(manifests, "Deployment")["spec"]["template"]["spec"]
    assert volumes(spec)["/opt/nim/.cache"]["emptyDir"] == {"sizeLimit": "27Gi"}
    ports = [port["port"] for rule in the(manifests, "NetworkPolicy")["spec"]["egress"] for port in rule["ports"]]
    assert 443 in ports


def test_a_nim_is_asked_where_it_answers(render_chart: RenderChart) -> None:
    autoscaling = {"enabled": True, "kind": "ScaledObject", "minReplicas": 1}
    manifests = render(render_chart, {**NIM, "autoscaling": autoscaling})
    template = the(manifests, "Deployment")["spec"]["template"]
    (nim,) = template["spec"]["containers"]
    paths = {kind: nim[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")}
    assert paths == {
        "startup": "/v1/health/ready",
        "liveness": "/v1/health/live",
        "readiness": "/v1/health/ready",
    }
    assert template["metadata"]["annotations"]["prometheus.io/path"] == "/v1/metrics"
    urls = {each["metadata"]["url"] for each in the(manifests, "ScaledObject")["spec"]["triggers"]}
    assert {url.rpartition(":8000")[2] for url in urls} == {"/v1/metrics"}
    probe = nim["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] >= 15 * 1024 / 50 + 600


def test_a_nim_stays_within_restricted_pod_security(render_chart: RenderChart) -> None:
    assert container(render_chart, NIM)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": False,
        "capabilities": {"drop": ["ALL"]},
    }


def test_a_nim_without_a_model_of_its_own_takes_one_of_the_hub(render_chart: RenderChart) -> None:
    image = {**NIM["image"], "repository": "nim/nvidia/model-free-nim"}
    source = {"size": "15Gi", "huggingFace": {"id": "some/model", "gated": True}}
    variables = environment(container(render_chart, {**NIM, "image": image, "source": source}))
    assert variables["NIM_MODEL_PATH"] == "hf://some/model"
    assert variables["HF_TOKEN"] == {"secretKeyRef": {"name": "hf-secret", "key": "hf_api_token"}}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": {"repository": "vllm/vllm-openai"}}, "image: engine.kind nim needs an image of a NIM"),
        ({"accelerator": {"kind": "none"}}, "accelerator.kind: a NIM runs on NVIDIA GPUs"),
        ({"apiKeySecret": {"name": "key"}}, "apiKeySecret: a NIM asks for no API key"),
        ({"extraArgs": {"seed": 1}}, "extraArgs: a NIM takes no arguments"),
        ({"engine": {"kind": "nim", "dtype": "bfloat16"}}, "engine.dtype: a NIM chooses"),
        ({"source": {"size": "1Gi", "s3": {"uri": "s3://weights/x"}}}, "source: a NIM takes its model from NGC"),
    ],
)
def test_what_a_nim_would_not_take_is_refused(render_chart: RenderChart, wrong: Any, said: str) -> None:
    with pytest.raises(RenderError, match=rf"models\.small\.{said}"):
        render(render_chart, {**NIM, **wrong})


def test_the_preset(render_chart: RenderChart, drydock_project: Project) -> None:
    values = yaml.safe_load((drydock_project.values_dir / "models" / "llama-3-1-8b-nim.yaml").read_text())["vllm"]
    deployment = the(render_chart("vllm", values), "Deployment")
    (nim,) = deployment["spec"]["template"]["spec"]["containers"]
    assert nim["image"] == "nvcr.io/nim/meta/llama-3.1-8b-instruct:2.0.8"
