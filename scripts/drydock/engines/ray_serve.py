"""Engines of Ray Serve LLM: what a RayService's `llm_configs` start (ray.serve.llm, LLMConfig)."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from drydock.documents import load_yaml
from drydock.engines.engine_args import known_arguments
from drydock.scheduling.pods import PodUse

_CONFIGS = ("llm_configs", "llm_config", "prefill_config", "decode_config")
"""Arguments of the builders of ray.serve.llm: one engine or several, data-parallel ones, and prefill beside decode."""


@dataclass(frozen=True)
class LlmConfig:
    """One entry.

    Attributes:
        arguments: of `vllm serve`, as its `engine_kwargs` mean them.
        unknown: keys of `engine_kwargs` that vLLM does not have.
    """

    arguments: tuple[str, ...]
    unknown: tuple[str, ...]


def llm_configs(pod: PodUse) -> Iterator[LlmConfig]:
    """Those whose engines may run in a pod of a RayService; none for other pods."""
    if pod.manifest.kind != "RayService":
        return
    text = pod.manifest.content.get("spec", {}).get("serveConfigV2")
    try:
        content = load_yaml(text) if isinstance(text, str) else text
    except yaml.YAMLError:
        return
    for application in _entries(content, "applications"):
        if not isinstance(application, Mapping):
            continue
        for name in _CONFIGS:
            for entry in _entries(application.get("args"), name):
                # a text is a file in the image, of which nothing is known
                yield LlmConfig(("--model", entry), ()) if isinstance(entry, str) else _config(entry)


def _entries(content: object, name: str) -> list[Any]:
    """What stands under a key that holds one entry, or a list."""
    value = content.get(name) if isinstance(content, Mapping) else None
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, Mapping | str)]


def _config(entry: Mapping[str, Any]) -> LlmConfig:
    loading = entry.get("model_loading_config")
    loading = loading if isinstance(loading, Mapping) else {}
    name = str(loading.get("model_id", ""))
    source = loading.get("model_source")
    arguments = ["--model", source if isinstance(source, str) else name, "--served-model-name", name]
    given = entry.get("engine_kwargs")
    unknown = []
    for key, value in given.items() if isinstance(given, Mapping) else ():
        flag = str(key).replace("_", "-")
        if flag not in known_arguments():
            unknown.append(str(key))
        elif value is not None:
            arguments += _argument(flag, value)
    return LlmConfig(tuple(arguments), tuple(unknown))


def _argument(flag: str, value: object) -> list[str]:
    if isinstance(value, bool):
        return [f"--{flag}" if value else f"--no-{flag}"]
    if isinstance(value, list):
        return [f"--{flag}", *(str(item) for item in value)]
    return [f"--{flag}", json.dumps(value) if isinstance(value, Mapping) else str(value)]
