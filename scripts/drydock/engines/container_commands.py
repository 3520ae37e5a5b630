"""What a container runs: its words with variables filled in, and what follows `vllm serve` among them."""

import re
import shlex
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

_PROGRAMS = (
    ("vllm", "serve"),
    ("-m", "vllm.entrypoints.openai.api_server"),
    ("vllm.entrypoints.cli.main", "serve"),
    ("-m", "dynamo.vllm"),
    ("-m", "huggingfaceserver"),
)
_RENAMED = {"model-id": "model", "model-dir": "model", "model-name": "served-model-name"}
"""Arguments of KServe's huggingfaceserver (python/huggingfaceserver/README.md) by vLLM's names."""
_ENDS = frozenset({";", "&&", "||", "|", "&"})
_IMAGES = (
    (re.compile(r"(?:^|/)vllm-openai(?:[:@]|$)"), ("vllm", "serve")),
    (re.compile(r"(?:\.amazonaws\.com|/deep-learning-containers)/vllm[:@]"), ("vllm", "serve")),
    (re.compile(r"(?:^|/)huggingfaceserver(?:[:@]|$)"), ("-m", "huggingfaceserver")),
)
"""Images whose own entry point is an engine."""
_VARIABLE = re.compile(r"\$\((\w+)\)")
_SHELL_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::?-([^}]*))?\}|(\w+))")
_SET_BY_CONTROLLER = re.compile(r"--[\w-]+=.*\$\(\w+\)")
"""An argument whose value a controller sets in the pod, such as LeaderWorkerSet's index of a worker."""


def literal_variables(container: Mapping[str, Any]) -> dict[str, str]:
    """Environment variables whose values stand in the container itself."""
    return {
        str(variable.get("name")): str(variable["value"])
        for variable in _items(container.get("env"))
        if isinstance(variable, Mapping) and variable.get("value") is not None
    }


def command_words(container: Mapping[str, Any]) -> list[str]:
    """Command and arguments with `$(NAME)` filled in where the value is known."""
    literal = literal_variables(container)
    return [
        _VARIABLE.sub(lambda found: literal.get(found[1], found[0]), str(word))
        for word in (*_items(container.get("command")), *_items(container.get("args")))
    ]


def _items(value: Any) -> Sequence[Any]:
    """A list of the object; nothing where it is of another kind, which the API server refuses."""
    return value if isinstance(value, list | tuple) else ()


def engine_arguments(container: Mapping[str, Any]) -> list[str] | None:
    """What follows `vllm serve` in a container's command, also inside a shell's; None when it runs something else.

    Arguments whose values only a controller knows are left out.
    """
    words = command_words(container)
    if not container.get("command"):
        image = str(container.get("image", ""))
        words = [*next((entry for pattern, entry in _IMAGES if pattern.search(image)), ()), *words]
    literal = literal_variables(container)
    scripts = [
        _split(_SHELL_VARIABLE.sub(lambda found: _shell_value(found, literal), word))
        for word in words
        if re.search(r"\bvllm\b|huggingfaceserver", word) and len(word.split()) > 1
    ]
    found = next((found for line in (words, *scripts) if (found := _after_program(line)) is not None), None)
    return None if found is None else [word for word in found if not _SET_BY_CONTROLLER.match(word)]


def _shell_value(found: re.Match[str], literal: Mapping[str, str]) -> str:
    return literal.get(found[1] or found[3], found[2] if found[2] is not None else found[0])


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
            found = list(following[:end])
            return [_renamed(word) for word in found] if pair[1] == "huggingfaceserver" else found
    return None


def _renamed(word: str) -> str:
    name, equals, value = word.partition("=")
    own = _RENAMED.get(name.removeprefix("--").replace("_", "-")) if name.startswith("--") else None
    return f"--{own}{equals}{value}" if own else word
