"""Engines of which nothing but the size of the weights is judged: other programs than vLLM, and other devices."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from drydock.engines.container_commands import command_words, engine_arguments, literal_variables
from drydock.engines.engine_args import parse_known
from drydock.scheduling.instance_types.resources import NVIDIA_GPU
from drydock.scheduling.pods import PodUse, container_requests

_NEURON = "aws.amazon.com/neuron"


@dataclass(frozen=True)
class OtherEngine:
    """One engine.

    Attributes:
        pod: in which it runs.
        container: name of its container.
        name: of the model, as requests or the command line name it; the container's where neither is known.
        reason: why it is not judged.
        gpus: NVIDIA GPUs that it asks for; 0 for other devices.
    """

    pod: PodUse
    container: str
    name: str
    reason: str
    gpus: int


def other_engines(pods: Iterable[PodUse]) -> Iterator[OtherEngine]:
    """Every one among the pods."""
    for pod in pods:
        for container in pod.spec.get("containers") or ():
            asked = container_requests(container)
            name = str(container["name"])
            if gpus := asked.get(NVIDIA_GPU):
                program = None if engine_arguments(container) is not None else _program(container)
                if program:
                    model = _model(container, _data()[program]) or name
                    yield OtherEngine(pod, name, model, f"{program} is not modelled", gpus)
                continue
            device = next((resource for resource in asked if resource.startswith(_NEURON) and asked[resource]), None)
            arguments = engine_arguments(container) if device else None
            if arguments is not None:
                args = parse_known(arguments)
                model = (args.values["served_model_name"] or [args.model])[0]
                yield OtherEngine(pod, name, model, f"{device} is not modelled", 0)


def _program(container: Mapping[str, Any]) -> str | None:
    line = " ".join(command_words(container))
    image = re.split(r"[:@]", str(container.get("image", "")).rpartition("/")[2])[0]
    path = str(container.get("image", "")).rpartition("/")[0]
    for name, facts in _data().items():
        if any(re.search(rf"(?:^|[\s/]){re.escape(words)}(?:\s|$)", line) for words in facts["programs"]):
            return name
        if not container.get("command") and any(f"{path}/{image}".endswith(end) for end in facts.get("images", ())):
            return name
    return None


def _model(container: Mapping[str, Any], facts: Mapping[str, Any]) -> str:
    """What an argument or a variable names; empty where none does."""
    words: Sequence[str] = command_words(container)
    literal = literal_variables(container)
    for name in facts.get("model", ()):
        if name in literal:
            return literal[name]
        for word, following in zip(words, [*words[1:], ""], strict=False):
            if word == name:
                return following
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
    return ""


@cache
def _data() -> dict[str, dict[str, Any]]:
    import yaml

    data: dict[str, dict[str, Any]] = yaml.safe_load((files("drydock") / "data" / "other-engines.yaml").read_text())
    return data
