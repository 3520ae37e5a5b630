"""The engines of an environment: containers that run `vllm serve`, in any pod, and what is known of their models."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath
from typing import Any

from drydock.engines.catalogue import Gpu, Model, checkpoint_of, gpus, recognized
from drydock.engines.container_commands import engine_arguments, literal_variables
from drydock.engines.engine_args import EngineArgs, Weights, parse_known, unknown_arguments
from drydock.engines.nim import nim_of
from drydock.engines.ray_serve import llm_configs
from drydock.scheduling.instance_types.facts import InstanceFacts
from drydock.scheduling.instance_types.resources import NVIDIA_GPU
from drydock.scheduling.pods import PodUse, container_requests
from drydock.suite.manifests import Manifest

_CONFIG = re.compile(r"--config(=|$)")
_RELEASE = re.compile(r"(?:^|/)vllm-openai:v?0\.26\.")
"""An image of the release whose arguments are known."""


@dataclass(frozen=True)
class ServedModel:
    """One engine of an environment.

    Attributes:
        pod: in which it runs.
        container: name of its container.
        args: what it is started with.
        model: its shape, None where the catalogue does not know it.
        assumed: whether the shape follows from the name in requests, because weights come from a folder.
        unknown: arguments, or keys of Ray Serve LLM's `engine_kwargs`, that vLLM 0.26 does not have.
        guess: what of its arguments is assumed, because the engine chooses it when it starts; empty where all is known.
    """

    pod: PodUse
    container: str
    args: EngineArgs
    model: Model | None
    assumed: bool
    unknown: tuple[str, ...] = ()
    guess: str = ""

    @property
    def path(self) -> str:
        """Where its container stands in the object."""
        return f"{self.pod.path}.containers.{self.container}"

    @property
    def names(self) -> tuple[str, ...]:
        """Names in requests, that of the model (or else the container) where none was given."""
        return tuple(self.args.values["served_model_name"] or (self.args.model or self.container,))


def served_models(pods: Sequence[PodUse], manifests: Iterable[Manifest] = ()) -> Iterator[ServedModel]:
    """Every engine on NVIDIA GPUs among the pods: of `vllm serve`, Ray Serve LLM's `llm_configs`, and NIM.

    Arguments that vLLM 0.26 does not have are passed over: another release may have them.

    Args:
        pods: to search.
        manifests: objects among which a ConfigMap may hold the file of `--config`.

    Raises:
        UsageError: an argument has a value of the wrong kind.
    """
    for pod in pods:
        for container in pod.spec.get("containers") or ():
            gpus_asked = container_requests(container).get(NVIDIA_GPU)
            if not gpus_asked:
                continue
            arguments = engine_arguments(container)
            if arguments is None:
                yield from _of_other_kinds(pod, container, gpus_asked)
            elif "--headless" not in arguments:  # else a part of an engine on another node
                config = mounted_config(pod, container, arguments, manifests)
                unread = config is None and any(_CONFIG.match(word) for word in arguments)
                guess = "its --config file is not among the objects: vLLM's defaults are taken for what it sets"
                yield replace(_served_model(pod, container, arguments, config), guess=guess if unread else "")


def _of_other_kinds(pod: PodUse, container: Mapping[str, Any], gpus_asked: int) -> Iterator[ServedModel]:
    nim = nim_of(container, gpus_asked)
    if nim is None:
        for config in llm_configs(pod):
            engine = _served_model(pod, container, config.arguments)
            # Ray divides an engine among the GPUs of several pods
            yield replace(engine, args=replace(engine.args, gpus=0), unknown=config.unknown)
        return
    engine = _served_model(pod, container, nim.arguments)
    args = engine.args.changed(weights=replace(engine.args.weights, known=False))
    if nim.quantization and args.quantization is None:
        args = args.changed(quantization=nim.quantization)
    known = args.quantization is not None or not nim.assumed
    guess = "" if known else f"a NIM chooses its profile when it starts, taken for {nim.assumed}"
    yield replace(engine, args=args, guess=guess)


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
    volumes = {volume["name"]: volume for volume in pod.spec.get("volumes") or () if "name" in volume}
    for mount in container.get("volumeMounts") or ():
        place = PurePosixPath(str(mount.get("mountPath", "")))
        if path != place and place not in path.parents:
            continue
        key = str(mount.get("subPath") or path.relative_to(place))
        for source in _config_maps(volumes.get(mount.get("name"), {})):
            items = {str(item["path"]): str(item["key"]) for item in source.get("items") or ()}
            wanted = ("ConfigMap", pod.manifest.namespace, str(source.get("name")))
            for manifest in manifests:
                if (manifest.kind, manifest.namespace, manifest.name) == wanted:
                    data = manifest.content.get("data") or {}
                    if (text := data.get(items.get(key, key))) is not None:
                        return str(text)
    return None


def _config_maps(volume: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Of a volume: its own, or those that it projects."""
    projected = (volume.get("projected") or {}).get("sources") or ()
    return [source["configMap"] for source in (volume, *projected) if source.get("configMap")]


def _served_model(
    pod: PodUse, container: Mapping[str, Any], arguments: Sequence[str], config: str | None = None
) -> ServedModel:
    args = parse_known(arguments, config)
    exact = recognized(args.model)
    folder = args.model.startswith(("/", ".", "~")) or "/" not in args.model or "://" in args.model
    names = (args.values["served_model_name"] or ()) if folder else ()  # an id of the Hub says which model it is
    found = exact or next((known for name in names if (known := recognized(name))), None)
    model, quantization = found or (None, None)
    weights = Weights(
        checkpoint=checkpoint_of(args.model) if exact else None,
        known=exact is not None and not args.model.startswith((".", "/")),
        long_allowed=literal_variables(container).get("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "0") not in ("0", "", "false"),
    )
    pinned = _RELEASE.search(str(container.get("image", ""))) is not None
    # earlier releases found the GPUs of a group's other pods through Ray without being asked to
    several = pod.manifest.kind == "LeaderWorkerSet" and not pinned
    gpus_asked = 0 if several else container_requests(container).get(NVIDIA_GPU, 0)
    args = replace(args, weights=weights, gpus=gpus_asked, other_release=not pinned)
    if quantization and args.quantization is None:
        args = args.changed(quantization=quantization)
    unknown = unknown_arguments(arguments) if pinned else ()
    return ServedModel(pod, str(container["name"]), args, model, assumed=exact is None, unknown=unknown)
