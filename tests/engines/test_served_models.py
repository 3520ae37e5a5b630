"""Engines are found wherever they stand: in Deployments of other charts, and in resources of serving operators."""

import json
from typing import Any

import pytest

from drydock.engines.other_engines import other_engines
from drydock.engines.served_models import ServedModel, served_models
from drydock.errors import UsageError
from drydock.scheduling.pods import find_pods
from drydock.suite.manifests import Manifest

GPU = "nvidia.com/gpu"
LLM_D = "ghcr.io/llm-d/llm-d-cuda:v0.4"
KSERVE = "serving.kserve.io"


def found(*contents: dict[str, Any]) -> list[ServedModel]:
    manifests = [Manifest("t", content, "") for content in contents]
    return list(served_models(find_pods(manifests), manifests))


def limits(gpus: int) -> dict[str, Any]:
    return {"limits": {GPU: gpus}}


def resource(api_version: str, kind: str, name: str = "own", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "namespace": "ns"}, "spec": spec}


def deployment(gpus: int = 1, volumes: Any = (), **container: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "engine", "resources": limits(gpus), **container}], "volumes": list(volumes)}
    return resource("apps/v1", "Deployment", template={"spec": spec})


def variables(**values: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def shape(*contents: dict[str, Any]) -> tuple[str | None, int, int | None]:
    """Model, tensor parallelism and context of the only engine."""
    (engine,) = found(*contents)
    model = engine.model.name if engine.model else None
    return model, engine.args.tensor_parallel_size, engine.args.max_model_len


SCRIPT = "source /opt/vllm/bin/activate\nexec vllm serve \\\n  $MODEL -tp ${TP:-4} --max-model-len ${LENGTH}\n"


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        ({"image": LLM_D, "command": ["vllm", "serve"], "args": ["Qwen/Qwen3-32B"]}, ("qwen3-32b", 1, None)),
        (
            {
                "image": LLM_D,
                "command": ["/bin/bash", "-c"],
                "args": [SCRIPT],
                "env": variables(MODEL="Qwen/Qwen3-32B", LENGTH="8192"),
            },
            ("qwen3-32b", 4, 8192),
        ),
        (
            {"image": "lmcache/vllm-openai:latest", "command": ["/opt/venv/bin/vllm", "serve", "Qwen/Qwen3-8B"]},
            ("qwen3-8b", 1, None),
        ),
        ({"image": "mirror.example/own/vllm-openai:v1", "args": ["--model", "Qwen/Qwen3-8B"]}, ("qwen3-8b", 1, None)),
        (
            {"image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:0.11", "args": ["--model", "Qwen/Qwen3-8B"]},
            ("qwen3-8b", 1, None),
        ),
        (
            {"command": ["python3", "-m", "vllm.entrypoints.cli.main", "serve", "Qwen/Qwen3-8B"]},
            ("qwen3-8b", 1, None),
        ),
        (
            {"command": ["python3", "-m", "dynamo.vllm"], "args": ["--model=Qwen/Qwen3-8B"], "image": "x"},
            ("qwen3-8b", 1, None),
        ),
        (
            {"image": "nvcr.io/nim/meta/llama-3.1-70b-instruct:1", "env": variables(NIM_MAX_MODEL_LEN="32768")},
            ("llama-3.1-70b", 1, 32768),
        ),
        (
            {
                "image": "nvcr.io/nim/nvidia/llm-nim:2.0.1",
                "env": variables(
                    NIM_MODEL_PATH="hf://Qwen/Qwen3-32B",
                    NIM_MAX_MODEL_LEN="1024",
                    NIM_TENSOR_PARALLEL_SIZE="2",
                    NIM_PASSTHROUGH_ARGS="--max-model-len 2048 -tp 4",
                ),
                "args": ["nim-serve", "--max-model-len", "16384"],
            },
            ("qwen3-32b", 4, 16384),
        ),
    ],
)
def test_a_deployment_of_another_chart(container: dict[str, Any], expected: tuple[str, int, int | None]) -> None:
    assert shape(deployment(**container)) == expected


def test_arguments_are_judged_where_the_image_says_the_release() -> None:
    args = ["Qwen/Qwen3-8B", "--swap-space=4"]
    (known,) = found(deployment(image="vllm/vllm-openai:v0.26.0", args=args))
    (other,) = found(deployment(image="vllm/vllm-openai:v0.16.0", args=args))
    assert (known.unknown, other.unknown) == (("--swap-space",), ())
    assert (known.args.other_release, other.args.other_release) == (False, True)


@pytest.mark.parametrize(("tag", "gpus"), [("v0.26.0", 1), ("v0.9.0", 0)])
def test_a_group_of_pods_may_hold_an_engine_of_an_earlier_release(tag: str, gpus: int) -> None:
    container = {"name": "leader", "image": f"vllm/vllm-openai:{tag}", "args": ["m", "-pp=2"], "resources": limits(1)}
    template = {"leaderTemplate": {"spec": {"containers": [container]}}, "size": 2}
    (engine,) = found(resource("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", leaderWorkerTemplate=template))
    assert engine.args.gpus == gpus


def test_a_nim_takes_all_its_gpus_and_its_precision_is_assumed_unless_its_profile_says_it() -> None:
    image = "nvcr.io/nim/meta/llama-3.1-8b-instruct:1"
    (chosen,) = found(deployment(2, image=image))
    (named,) = found(deployment(2, image=image, env=variables(NIM_MODEL_PROFILE="vllm-fp8-tp1-pp1")))
    assert (chosen.args.tensor_parallel_size, chosen.guess.split(", ")[1]) == (2, "taken for 16-bit weights on 2 GPUs")
    assert (named.args.tensor_parallel_size, named.args.quantization, named.guess) == (1, "fp8", "")


def inference_service(**model: Any) -> dict[str, Any]:
    name = "qwen3-8b"
    return resource(
        f"{KSERVE}/v1beta1", "InferenceService", name, predictor={"model": {**model, "resources": limits(1)}}
    )


RUNTIME = resource(
    f"{KSERVE}/v1alpha1",
    "ServingRuntime",
    "vllm",
    supportedModelFormats=[{"name": "vLLM", "autoSelect": True}],
    containers=[
        {
            "name": "kserve-container",
            "image": "own/vllm:1",
            "command": ["python", "-m", "vllm.entrypoints.openai.api_server"],
            "args": ["--model=/mnt/models", "--served-model-name={{.Name}}"],
        }
    ],
)
MAIN = {"name": "main", "resources": limits(2), "env": variables(VLLM_ADDITIONAL_ARGS="--max-model-len 8192")}
LLM_SERVICE = resource(
    f"{KSERVE}/v1alpha1",
    "LLMInferenceService",
    model={"uri": "hf://Qwen/Qwen3-32B"},
    parallelism={"tensor": 2},
    template={"containers": [MAIN]},
)
NIM_SERVICE = resource(
    "apps.nvidia.com/v1alpha1",
    "NIMService",
    image={"repository": "nvcr.io/nim/meta/llama-3.1-8b-instruct", "tag": "1.8"},
    resources=limits(1),
)
DYNAMO = resource(
    "nvidia.com/v1alpha1",
    "DynamoGraphDeployment",
    services={
        "Worker": {
            "resources": {"limits": {"gpu": "2"}},
            "extraPodSpec": {
                "mainContainer": {"image": "x", "command": ["python3", "-m", "dynamo.vllm", "--model", "Qwen/Qwen3-8B"]}
            },
        },
        "Frontend": {"replicas": 1},
    },
)


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        (
            (inference_service(modelFormat={"name": "huggingface"}, args=["--model_id=Qwen/Qwen3-32B"]),),
            ("qwen3-32b", 1, None),
        ),
        (
            (inference_service(modelFormat={"name": "huggingface"}, storageUri="hf://Qwen/Qwen3-32B"),),
            ("qwen3-32b", 1, None),
        ),
        (
            (RUNTIME, inference_service(runtime="vllm", storageUri="s3://own/q", args=["--max-model-len=8192"])),
            ("qwen3-8b", 1, 8192),
        ),
        (
            (RUNTIME, inference_service(modelFormat={"name": "vLLM"}, storageUri="hf://Qwen/Qwen3-32B")),
            ("qwen3-32b", 1, None),
        ),
        ((LLM_SERVICE,), ("qwen3-32b", 2, 8192)),
        ((NIM_SERVICE,), ("llama-3.1-8b", 1, None)),
        ((DYNAMO,), ("qwen3-8b", 1, None)),
    ],
)
def test_a_resource_of_an_operator(contents: tuple[dict[str, Any], ...], expected: tuple[str, int, int | None]) -> None:
    assert shape(*contents) == expected


@pytest.mark.parametrize("kind", ["InferenceService", "LLMInferenceService", "NIMService", "DynamoGraphDeployment"])
@pytest.mark.parametrize("value", [None, [], "text", 7, {"model": [], "template": 1, "x": None}])
def test_a_resource_of_the_wrong_form_has_no_engine(kind: str, value: Any) -> None:
    keys = ("predictor", "template", "prefill", "services", "image", "model")
    for group in (KSERVE, "apps.nvidia.com", "nvidia.com"):
        assert found(resource(f"{group}/v1", kind, **dict.fromkeys(keys, value))) == []


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"llm_configs": [{"model_loading_config": {"model_id": "Qwen/Qwen3-8B"}}]}, ["qwen3-8b"]),
        ({"llm_config": {"model_loading_config": {"model_id": "Qwen/Qwen3-8B"}}}, ["qwen3-8b"]),
        (
            {
                "prefill_config": {"model_loading_config": {"model_id": "Qwen/Qwen3-8B"}},
                "decode_config": {"model_loading_config": {"model_id": "Qwen/Qwen3-32B"}},
            },
            ["qwen3-8b", "qwen3-32b"],
        ),
        ({"llm_configs": ["config.yaml"]}, [None]),
    ],
)
def test_ray_serve_llm_by_each_of_its_builders(arguments: dict[str, Any], expected: list[str | None]) -> None:
    head = {"containers": [{"name": "head", "image": "x", "resources": limits(1)}]}
    text = json.dumps({"applications": [{"name": "llms", "args": arguments}, "text"]})
    cluster = {"headGroupSpec": {"template": {"spec": head}}}
    service = resource("ray.io/v1", "RayService", serveConfigV2=text, rayClusterConfig=cluster)
    assert [engine.model and engine.model.name for engine in found(service)] == expected


def test_a_config_file_that_is_projected_is_read_and_one_that_is_nowhere_is_a_guess() -> None:
    mount = {"name": "settings", "mountPath": "/etc/vllm"}
    reads: dict[str, Any] = {"image": "vllm/vllm-openai:v1", "args": ["--config=/etc/vllm/own.yaml"]}
    projected = {"name": "settings", "projected": {"sources": [{"configMap": {"name": "settings"}}]}}
    data = {"own.yaml": "model: Qwen/Qwen3-8B\nmax-model-len: 2048\n"}
    config = {"kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "ns"}, "data": data}
    assert shape(deployment(volumes=[projected], volumeMounts=[mount], **reads), config) == ("qwen3-8b", 1, 2048)
    (engine,) = found(deployment(**reads))
    assert engine.names == ("engine",)
    assert "--config file is not among the objects" in engine.guess


@pytest.mark.parametrize(
    ("container", "name", "reason"),
    [
        (
            {"command": ["python3", "-m", "sglang.launch_server", "--model-path", "a/b-8b"], "image": "x"},
            "a/b-8b",
            "SGLang is not modelled",
        ),
        (
            {"image": "ghcr.io/huggingface/text-generation-inference:3", "env": variables(MODEL_ID="a/b-8b")},
            "a/b-8b",
            "Text Generation Inference is not modelled",
        ),
        ({"image": "ollama/ollama:0.1"}, "engine", "Ollama is not modelled"),
        (
            {"image": "x/djl-inference:0.33-lmi", "env": variables(HF_MODEL_ID="a/b-8b")},
            "a/b-8b",
            "DJL Serving is not modelled",
        ),
    ],
)
def test_other_programs_are_named(container: dict[str, Any], name: str, reason: str) -> None:
    pods = find_pods([Manifest("t", deployment(**container), "")])
    assert list(served_models(pods)) == []
    assert [(engine.name, engine.reason) for engine in other_engines(pods)] == [(name, reason)]


def test_other_programs_on_gpus_that_are_not_engines_are_left_alone() -> None:
    pods = find_pods([Manifest("t", deployment(image="own/train:1", command=["python", "train.py"]), "")])
    assert not [*served_models(pods), *other_engines(pods)]


@pytest.mark.parametrize("field", ["command", "args", "env"])
@pytest.mark.parametrize("value", ["vllm serve", 7, {"a": 1}, [None], [{}]])
def test_a_container_of_the_wrong_form_breaks_nothing(field: str, value: Any) -> None:
    fields: dict[str, Any] = {"image": "vllm/vllm-openai:v0.26.0", field: value}
    pods = find_pods([Manifest("t", deployment(**fields), "")])
    assert list(other_engines(pods)) == []
    assert all(engine.model is None for engine in served_models(pods))


def test_an_argument_without_its_value_is_refused_in_the_words_of_vllm() -> None:
    with pytest.raises(UsageError, match="expected one argument"):
        found(deployment(image="vllm/vllm-openai:v0.26.0", args=["--model"]))
