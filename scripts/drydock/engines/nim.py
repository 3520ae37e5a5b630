"""NVIDIA NIM for LLMs: the arguments of vLLM that follow from a container's image, arguments and variables.

Names and precedence stand in `data/nim.yaml`. Precision and number of GPUs are those of a profile, which a NIM chooses
when it starts unless NIM_MODEL_PROFILE names one.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from drydock.engines.container_commands import command_words, literal_variables

_IMAGE = re.compile(r"(?:^|/)nim/(?:[\w.-]+/)?(?P<model>[\w.-]+)(?:[:@].*)?$")
_PROFILE = re.compile(r"-(?P<precision>[a-z]+\d+)-tp(?P<tensor>\d+)(?:-pp(?P<pipeline>\d+))?")
_FETCHED = re.compile(r"^(?:hf|ngc)://(?:nim/)?")
_SERVE = "nim-serve"


@dataclass(frozen=True)
class Nim:
    """One container.

    Attributes:
        arguments: of `vllm serve`, later ones win.
        quantization: method of the profile's weights; None where it is not known or they have 16 bits.
        assumed: what its profile is taken for; empty where that is known.
    """

    arguments: tuple[str, ...]
    quantization: str | None
    assumed: str


def nim_of(container: Mapping[str, Any], gpus: int) -> Nim | None:
    """What a container's NIM starts; None for other images."""
    image = _IMAGE.search(str(container.get("image", "")))
    if not image:
        return None
    literal = {name: value for name, value in literal_variables(container).items() if value}
    profile = _PROFILE.search(literal.get("NIM_MODEL_PROFILE", ""))
    sizes = (profile["tensor"], profile["pipeline"] or "1") if profile else (str(gpus), "1")
    arguments = ["--model", image["model"], "--tensor-parallel-size", sizes[0], "--pipeline-parallel-size", sizes[1]]
    for argument, names in _data()["variables"].items():
        value = next((literal[name] for name in names if name in literal), None)
        if value is not None:
            arguments += [f"--{argument}", _model_id(value) if argument == "model" else value]
    arguments += _words(literal.get("NIM_PASSTHROUGH_ARGS", ""))
    arguments += [word for word in command_words({**container, "command": None}) if word != _SERVE]
    quantization = _data()["precisions"].get(profile["precision"]) if profile else None
    assumed = "" if profile else f"16-bit weights on {gpus} GPU{'s' * (gpus != 1)}"
    return Nim(tuple(arguments), quantization or None, assumed)


def _model_id(path: str) -> str:
    """Of the Hub or of NGC, without the scheme and NGC's version."""
    found = _FETCHED.search(path)
    return path[found.end() :].partition(":")[0] if found else path


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # quotes that the NIM itself would refuse
        return []


@cache
def _data() -> dict[str, Any]:
    import yaml

    data: dict[str, Any] = yaml.safe_load((files("drydock") / "data" / "nim.yaml").read_text())
    return data
