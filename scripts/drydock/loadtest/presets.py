"""Workloads by name, from a data file, and the user's own file of prompts."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from drydock.errors import UsageError
from drydock.loadtest.settings import Lengths, Workload

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})


@cache
def presets() -> Mapping[str, Mapping[str, Any]]:
    """The carried workloads as they stand in the data file, by name."""
    import yaml

    loaded: dict[str, dict[str, Any]] = yaml.safe_load((files("drydock") / "data/workloads.yaml").read_text())
    return loaded


def preset(name: str) -> Workload:
    """A carried workload.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in presets():
        raise UsageError(f"there is no workload {name!r}", remedy=f"Known are: {', '.join(presets())}.")
    facts = {key: value for key, value in presets()[name].items() if key not in ("description", "source")}
    return Workload(name=name, input=Lengths(**facts.pop("input")), output=Lengths(**facts.pop("output")), **facts)


def dataset(path: Path, *, output: Lengths | None = None) -> Workload:
    """The prompts of a JSONL file as a workload; `output` for lines that do not say how many tokens they want.

    Raises:
        UsageError: as `read_dataset`.
    """
    read_dataset(path)
    return replace(Workload(name=path.name, output=output), dataset=path)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a file of prompts.

    Attributes:
        turns: what the user says, turn by turn, as text or as a message; for token ids the prompt's only turn is empty.
        messages: what stands before the first turn, as the chat API has it.
        token_ids: the prompt as ids; None for text.
        output_tokens: asked for; None leaves it to the workload.
    """

    turns: tuple[str | Mapping[str, Any], ...]
    messages: tuple[Mapping[str, Any], ...] = ()
    token_ids: tuple[int, ...] | None = None
    output_tokens: int | None = None


def read_dataset(path: Path) -> list[Row]:
    """Read a JSONL file of prompts.

    Each line is an object with one of

        {"prompt": "text"}    {"prompt": [1, 2, 3]}    {"turns": ["text", ...]}    {"messages": [{"role":, "content":}]}

    and, if wanted, "output_tokens" (or "max_tokens").

    Raises:
        UsageError: it cannot be read, has no prompts, or a line is not such an object (named by its number).
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot read the data set {path}: {error}", remedy='Give a file of lines like {"prompt": "Hello"}.'
        ) from error
    rows = [_row(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise UsageError(
            f"the data set {path} holds no prompts", remedy='Write a line like {"prompt": "Hello"} into it.'
        )
    return rows


def _row(path: Path, number: int, line: str) -> Row:
    try:
        told = json.loads(line)
    except ValueError as error:
        raise _wrong(path, number, f"no JSON: {error}") from error
    if not isinstance(told, dict):
        raise _wrong(path, number, "no object")
    given = [name for name in ("prompt", "turns", "messages") if name in told]
    if len(given) != 1:
        raise _wrong(path, number, f"one of prompt, turns and messages is needed, not {' and '.join(given) or 'none'}")
    asked = told.get("output_tokens", told.get("max_tokens"))
    if asked is not None and (type(asked) is not int or asked < 1):
        raise _wrong(path, number, f"output_tokens is {asked!r}, not a number above 0")
    value = told[given[0]]
    reader = {"prompt": _prompt, "turns": _turns, "messages": _messages}[given[0]]
    row = reader(value)
    if row is None:
        raise _wrong(path, number, f"{given[0]} is empty or has the wrong form")
    return replace(row, output_tokens=asked)


def _prompt(value: object) -> Row | None:
    if isinstance(value, str) and value:
        return Row((value,))
    if isinstance(value, list) and value and all(type(item) is int and item >= 0 for item in value):
        return Row(("",), token_ids=tuple(value))
    return None


def _turns(value: object) -> Row | None:
    if isinstance(value, list) and value and all(isinstance(item, str) and item for item in value):
        return Row(tuple(value))
    return None


def _messages(value: object) -> Row | None:
    if not isinstance(value, list) or not value:
        return None
    for message in value:
        if not isinstance(message, dict) or message.get("role") not in _ROLES:
            return None
        if not isinstance(message.get("content"), str | list) and not message.get("tool_calls"):
            return None
    last = value[-1]
    if last["role"] == "assistant":
        return None
    text = last.get("content")
    # parts of messages (texts, images, files) and answers of tools are sent as they are
    plain = last["role"] == "user" and isinstance(text, str) and last.keys() == {"role", "content"}
    return Row((text if plain else last,), messages=tuple(value[:-1]))


def _wrong(path: Path, number: int, what: str) -> UsageError:
    return UsageError(f"{path}, line {number}: {what}", remedy="See docs/load-test.md for the form of a line.")
