"""The engines of an environment: containers that run `vllm serve`, in any pod, and what is known of their models."""

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from drydock.engines.catalogue import Gpu, Model, checkpoint_of, gpus, recognized
from drydock.engines.engine_args import EngineArgs, Weights, parse_known
from drydock.engines.ray_serve import llm_configs
from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.instance_types.resources import NVIDIA_GPU
from drydock.scheduling.pods import PodUse, container_requests
from drydock.suite.manifests import Manifest

_PROGRAMS = (("vllm", "serve"), ("-m", "vllm.entrypoints.openai.api_server"))
_ENDS = frozenset({";", "&&", "||", "|", "&"})
_IMAGE = re.compile(r"(?:^|/)vllm/vllm-openai(?:[:@]|$)")
_NIM = re.compile(r"(?:^|/)nim/")
_VARIABLE = re.compile(r"\$\((\w+)\)")
_CONFIG = re.compile(r"--config(=|$)")
_UNKNOWN = re.compile(r"--[\w-]+=.*\$\(\w+\)")
"""An argument whose value a controller sets in the pod, such as LeaderWorkerSet's index of a worker."""


@dataclass(frozen=True)
class ServedModel:
    """One engine of an environment.

    Attributes:
        pod: in which it runs.
        container: name of its container.
        args: what it is started with.
        model: its shape, None where the catalogue does not know it.
        assumed: whether the shape follows from the name in requests, because weights come from a folder.
        unknown: arguments of Ray Serve LLM's `engine_kwargs` that vLLM does not have.
    """

    pod: PodUse
    container: str
    args: EngineArgs
    model: Model | None
    assumed: bool
    unknown: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """Where its container stands in the object."""
        return f"{self.pod.path}.containers.{self.container}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names in requests, that of the model where none was given."""
        return tuple(self.args.values["served_model_name"] or (self.args.model,))


def served_models(pods: Sequence[PodUse], manifests: Iterable[Manifest] = ()) -> Iterator[ServedModel]:
    """Every engine on NVIDIA GPUs among the pods: of `vllm serve`, and of Ray Serve LLM's `llm_configs`.

    Arguments that vLLM 0.26 does not have are passed over: another release may have them.

    Args:
        pods: to search.
        manifests: objects among which a ConfigMap may hold the file of `--config`.

    Raises:
        UsageError: an argument has a value of the wrong kind.
    """
    for pod in pods:
        for container in pod.spec.get("containers") or ():
            arguments = engine_arguments(container)
            headless = arguments is not None and "--headless" in arguments  # a part of an engine on another node
            gpus_asked = container_requests(container).get(NVIDIA_GPU)
            if arguments is not None and not headless and gpus_asked:
                yield _served_model(pod, container, arguments, mounted_config(pod, container, arguments, manifests))
            elif gpus_asked:
                for config in llm_configs(pod):
                    yield replace(_served_model(pod, container, config.arguments), unknown=config.unknown)


def other_engines(pods: Iterable[PodUse]) -> Iterator[tuple[str, str]]:
    """Engines of which nothing is computed, by their name in requests, with the reason."""
    for pod in pods:
        for container in pod.spec.get("containers") or ():
            literal = {str(variable["name"]): str(variable.get("value", "")) for variable in container.get("env") or ()}
            asked = container_requests(container)
            image = str(container.get("image", ""))
            if asked.get(NVIDIA_GPU) and not container.get("command") and _NIM.search(image):
                yield literal.get("NIM_SERVED_MODEL_NAME") or image, "a NIM chooses its engine when it starts"
                continue
            device = next((name for name in asked if name.startswith("aws.amazon.com/neuron") and asked[name]), None)
            arguments = engine_arguments(container) if device else None
            if arguments is not None:
                args = parse_known([argument for argument in arguments if not _UNKNOWN.match(argument)])
                yield (args.values["served_model_name"] or [args.model])[0], f"{device} is not modelled"


def engine_arguments(container: Mapping[str, Any]) -> list[str] | None:
    """What follows `vllm serve` in a container's command, also inside a shell's; None when it runs something else."""
    if not container.get("command") and _IMAGE.search(str(container.get("image", ""))):
        container = {**container, "command": ["vllm", "serve"]}  # the image's own entry point
    literal = {each["name"]: str(each["value"]) for each in container.get("env") or () if "value" in each}
    words = [
        _VARIABLE.sub(lambda found: literal.get(found[1], found[0]), str(each))
        for each in (*(container.get("command") or ()), *(container.get("args") or ()))
    ]
    scripts = [_split(each) for each in words if re.search(r"\bvllm\b", each) and len(each.split()) > 1]
    return next((found for each in (words, *scripts) if (found := _after_program(each)) is not None), None)


def gpu_of(facts: InstanceFacts) -> Gpu | None:
    """The GPU of an instance type; None where it has none, or one that the catalogue does not know."""
    family = facts.name.partition(".")[0]
    return next((gpu for gpu in gpus().values() if gpu.nvidia and family in gpu.instances), None)


def mounted_config(
    pod: PodUse, container: Mapping[str, Any], arguments: Sequence[str], manifests: Iterable[Manifest]
) -> str | None:
    """The file of `--config`, where a ConfigMap among the objects holds it; None for what cannot be read."""
    following = pairwise((*arguments, ""))
    named = (
        after if word == "--config" else word.partition("=")[2] for word, after in following if _CONFIG.match(word)
    )
    path = PurePosixPath(next(named, ""))
    volumes = {volume["name"]: volume.get("configMap") for volume in pod.spec.get("volumes") or () if "name" in volume}
    for mount in container.get("volumeMounts") or ():
        source, place = volumes.get(mount.get("name")), PurePosixPath(str(mount.get("mountPath", "")))
        if not source or (path != place and place not in path.parents):
            continue
        key = str(mount.get("subPath") or path.relative_to(place))
        items = {str(item["path"]): str(item["key"]) for item in source.get("items") or ()}
        wanted = ("ConfigMap", pod.manifest.namespace, str(source.get("name")))
        for manifest in manifests:
            if (manifest.kind, manifest.namespace, manifest.name) == wanted:
                data = manifest.content.get("data") or {}
                return data.get(items.get(key, key))
    return None


def _served_model(
    pod: PodUse, container: Mapping[str, Any], arguments: Sequence[str], config: str | None = None
) -> ServedModel:
    args = parse_known([argument for argument in arguments if not _UNKNOWN.match(argument)], config)
    exact = recognized(args.model)
    folder = args.model.startswith(("/", ".", "~")) or "/" not in args.model or "://" in args.model
    names = (args.values["served_model_name"] or ()) if folder else ()  # an id of the Hub says which model it is
    candidates = (recognized(name) for name in names)
    found = exact or next((each for each in candidates if each), None)
    model, quantization = found or (None, None)
    literal = {str(each["name"]): str(each.get("value", "")) for each in container.get("env") or ()}
    weights = Weights(
        checkpoint=checkpoint_of(args.model) if exact else None,
        known=exact is not None and not args.model.startswith((".", "/")),
        long_allowed=literal.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "0") not in ("0", "", "false"),
    )
    args = args.changed(weights=weights)
    if quantization and args.quantization is None:
        args = args.changed(quantization=quantization)
    return ServedModel(pod, str(container["name"]), args, model, assumed=exact is None)


def _split(script: str) -> list[str]:
    reader = shlex.shlex(script.replace("\\\n", " ").replace("\n", " ; "), posix=True, punctuation_chars=";&|")
    reader.whitespace_split = True
    try:
        return list(reader)
    except ValueError:  # quotes that the shell itself would refuse
        return []


def _after_program(words: Sequence[str]) -> list[str] | None:
    for position, pair in enumerate(pairwise(words)):
        if pair in _PROGRAMS or (pair[0].endswith("/vllm") and pair[1] == "serve"):
            following = words[position + 2 :]
            end = next((at for at, word in enumerate(following) if word in _ENDS), len(following))
            return list(following[:end])
    return None
