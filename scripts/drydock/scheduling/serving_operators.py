"""Pods that operators of model serving make from resources of their own, which hold no pod's spec as Kubernetes has it.

KServe's InferenceService with a model (pkg/controller/v1beta1/inferenceservice/utils, MergeRuntimeContainers: the
runtime's arguments come first), its LLMInferenceService, NVIDIA's NIMService (k8s-nim-operator, api/apps/v1alpha1) and
DynamoGraphDeployment (ai-dynamo/dynamo, deploy/operator/api/v1alpha1).
What an operator adds by itself (probes, volumes, init containers) is left out.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Fields = Mapping[str, Any]

_RUNTIMES = ("ServingRuntime", "ClusterServingRuntime")
TEMPLATES = frozenset({*_RUNTIMES, "LLMInferenceServiceConfig"})
"""Kinds that hold containers for other objects, and lead to no pod themselves."""
_MODELS_FOLDER = "/mnt/models"
_SERVER = "kserve-container"
_MAIN = "main"
_DEVICES = {"gpu": "nvidia.com/gpu"}
_PLACEMENT = ("nodeSelector", "tolerations", "affinity", "volumes", "imagePullSecrets")
_HUB = "hf://"
_HUGGING_FACE = "huggingface"


@dataclass(frozen=True)
class OperatorPod:
    """A pod: where its source stands in the object, its spec, and how many there are at least."""

    path: str
    spec: Fields
    replicas: int


def operator_pods(content: Fields, others: Sequence[Fields]) -> Iterator[OperatorPod]:
    """Pods of one object.

    Args:
        content: of the object.
        others: contents of all objects, among which runtimes of KServe are looked up.
    """
    spec = content.get("spec")
    if not isinstance(spec, Mapping):
        return
    group = str(content.get("apiVersion", "")).partition("/")[0]
    match group, content.get("kind"):
        case "serving.kserve.io", "InferenceService":
            yield from _inference_service(content, spec, others)
        case "serving.kserve.io", "LLMInferenceService":
            yield from _llm_inference_service(content, spec)
        case "nvidia.com", "DynamoGraphDeployment":
            yield from _dynamo_graph(spec)
        case "apps.nvidia.com", "NIMService":
            yield OperatorPod("spec", _nim_service(content, spec), _number(spec.get("replicas"), 1))


def _inference_service(content: Fields, spec: Fields, others: Sequence[Fields]) -> Iterator[OperatorPod]:
    predictor = _fields(spec.get("predictor"))
    model = _fields(predictor.get("model"))
    if not model:
        return
    form = _fields(model.get("modelFormat")).get("name")
    runtime = _runtime(model, form, others)
    containers = _items(runtime.get("containers"))
    base = next((one for one in containers if one.get("name") == _SERVER), {"name": _SERVER})
    name = _name(content)
    words = [*_words(base), *_words(model)]
    words = [str(word).replace("{{.Name}}", name) for word in words]
    source = str(model.get("storageUri") or "")
    if source.startswith(_HUB):
        words = [word.replace(_MODELS_FOLDER, _hub_id(source)) for word in words]
        if form == _HUGGING_FACE and not any(_hub_id(source) in word for word in words):
            words.append(f"--model_id={_hub_id(source)}")
    fields = {key: model[key] for key in ("image", "command", "resources", "volumeMounts") if key in model}
    container = {**base, **fields, "args": words, "env": [*_items(base.get("env")), *_items(model.get("env"))]}
    beside = [one for one in containers if one.get("name") != _SERVER]
    placed = {key: value for key, value in predictor.items() if key not in ("model", "minReplicas", "maxReplicas")}
    pod = {**{key: runtime[key] for key in _PLACEMENT if key in runtime}, **placed}
    pod["containers"] = [container, *beside]
    yield OperatorPod("spec.predictor", pod, max(1, _number(predictor.get("minReplicas"), 1)))


def _runtime(model: Fields, form: str | None, others: Sequence[Fields]) -> Fields:
    """Spec of the runtime that a model names, or that takes its format; empty where the objects have none."""
    wanted = model.get("runtime")
    for other in others:
        if other.get("kind") not in _RUNTIMES:
            continue
        spec = _fields(other.get("spec"))
        formats = {one.get("name") for one in _items(spec.get("supportedModelFormats")) if one.get("autoSelect")}
        if wanted == _name(other) or (not wanted and form in formats):
            return spec
    if form == _HUGGING_FACE and not wanted:
        # the runtime that KServe installs for it, config/runtimes/kserve-huggingfaceserver.yaml
        words = ["python3", "-m", "huggingfaceserver", "--model_name={{.Name}}"]
        return {"containers": [{"name": _SERVER, "args": words}]}
    return {}


def _llm_inference_service(content: Fields, spec: Fields) -> Iterator[OperatorPod]:
    model = _fields(spec.get("model"))
    name = str(model.get("name") or _name(content))
    source = _hub_id(str(model.get("uri") or ""))
    for path, part in (("spec", spec), ("spec.prefill", _fields(spec.get("prefill")))):
        template, parallelism = _fields(part.get("template")), _fields(part.get("parallelism"))
        words = ["serve", source, "--served-model-name", name]
        for key, argument in (("tensor", "--tensor-parallel-size"), ("pipeline", "--pipeline-parallel-size")):
            words += [argument, str(parallelism[key])] if key in parallelism else []
        containers = [
            _with_server(container, words) if container.get("name") == _MAIN else container
            for container in _items(template.get("containers"))
        ]
        if containers:
            pod = {**template, "containers": containers}
            yield OperatorPod(f"{path}.template", pod, _number(part.get("replicas"), 1))


def _with_server(container: Fields, words: Sequence[str]) -> Fields:
    """The container with the command that the operator's preset gives it, unless it has its own."""
    if container.get("command") or container.get("args"):
        return container
    env = {one.get("name"): str(one.get("value", "")) for one in _items(container.get("env"))}
    try:
        more = shlex.split(env.get("VLLM_ADDITIONAL_ARGS", ""))
    except ValueError:
        more = []
    return {**container, "command": ["vllm"], "args": [*words, *more]}


def _nim_service(content: Fields, spec: Fields) -> Fields:
    image = _fields(spec.get("image"))
    name = f"{image.get('repository', '')}:{image.get('tag', 'latest')}" if image.get("repository") else ""
    kept = {key: spec[key] for key in ("env", "args", "command", "resources") if key in spec}
    container = {"name": f"{_name(content)}-ctr", "image": name, **kept}
    placed = {key: spec[key] for key in ("nodeSelector", "tolerations", "affinity", "runtimeClassName") if key in spec}
    return {**placed, "containers": [container]}


def _dynamo_graph(spec: Fields) -> Iterator[OperatorPod]:
    for name, service in _fields(spec.get("services")).items():
        pod = dict(_fields(_fields(service).get("extraPodSpec")))
        main = _fields(pod.pop("mainContainer", None))
        if not main:
            continue
        amounts = _fields(service.get("resources"))
        named = {
            kind: {_DEVICES.get(resource, resource): amount for resource, amount in _fields(amounts[kind]).items()}
            for kind in ("limits", "requests")
            if kind in amounts
        }
        container = {"name": _MAIN, "resources": named, **main}
        replicas = _number(service.get("replicas"), 1)
        yield OperatorPod(f"spec.services.{name}", {**pod, "containers": [container]}, replicas)


def _hub_id(uri: str) -> str:
    """Of the Hub; other addresses as the folder to which they are downloaded."""
    return uri.removeprefix(_HUB).partition(":")[0] if uri.startswith(_HUB) else _MODELS_FOLDER


def _fields(value: Any) -> Fields:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Fields]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _words(container: Fields) -> list[Any]:
    args = container.get("args")
    return args if isinstance(args, list) else []


def _name(content: Fields) -> str:
    return str(_fields(content.get("metadata")).get("name") or "")


def _number(value: object, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise
