"""The arguments of `vllm serve`: which there are, and what follows from those that were given."""

import argparse
import json
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from drydock.engines.catalogue import Gpu
from drydock.errors import UsageError

_AS_LONG_AS_FITS = -1
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([kKmMgGtT])?")
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True, slots=True)
class Weights:
    """What is known of the weights that an engine loads.

    Attributes:
        checkpoint: method by which they were quantized, as their name says; None where it says nothing.
        known: they are those of the model's repository; a folder may hold others.
        long_allowed: VLLM_ALLOW_LONG_MAX_MODEL_LEN is set.
    """

    checkpoint: str | None = None
    known: bool = True
    long_allowed: bool = False


@dataclass(frozen=True, slots=True)
class EngineArgs:
    """Arguments that matter for time and memory, None where vLLM decides by itself.

    Attributes:
        max_model_len: -1 for as long as fits.
        values: every argument by vLLM's name with underscores, defaults included.
        weights: what is known of those that it loads, which no argument says.
        gpus: that its container asks for; 0 where that is not known.
        other_release: it may be another release of vLLM than the known one, with other names of values.
    """

    model: str
    max_model_len: int | None
    gpu_memory_utilization: float
    max_num_seqs: int | None
    max_num_batched_tokens: int | None
    tensor_parallel_size: int
    pipeline_parallel_size: int
    block_size: int
    enable_prefix_caching: bool
    enable_chunked_prefill: bool
    async_scheduling: bool | None
    num_gpu_blocks_override: int | None
    kv_cache_memory_bytes: int | None
    kv_cache_dtype: str
    dtype: str
    quantization: str | None
    enforce_eager: bool
    max_loras: int
    values: dict[str, Any]
    weights: Weights = Weights()
    gpus: int = 0
    other_release: bool = False

    def changed(self, **values: Any) -> "EngineArgs":
        """The same arguments but for some, by vLLM's name with underscores."""
        own = {name: value for name, value in values.items() if name in self.__dataclass_fields__}
        if {"tensor_parallel_size", "pipeline_parallel_size"} & own.keys():
            own.setdefault("gpus", 0)  # another size is one with other containers
        return replace(self, **own, values={**self.values, **values})

    def batch_limits(self, gpu: Gpu, max_model_len: int) -> tuple[int, int]:
        """(max-num-seqs, max-num-batched-tokens) as vLLM's API server sets them where they were not given.

        From 70 GiB of GPU memory on, A100 apart, 1024 and 8192; below 256 and 2048 (vllm/engine/arg_utils.py,
        `get_batch_defaults`). Without chunked prefill a step takes a whole prompt of the longest kind.
        """
        large = gpu.memory_gib >= 70 and "a100" not in gpu.name  # noqa: PLR2004 (said above)
        seqs = self.max_num_seqs or (1024 if large else 256)
        tokens = self.max_num_batched_tokens
        if tokens is None:
            tokens = 8192 if large else 2048
            if not self.enable_chunked_prefill:
                tokens = max(tokens, max_model_len)
            tokens = max(min(tokens, seqs * max_model_len), seqs)
        if tokens < seqs:
            raise UsageError(
                f"max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({seqs}).",
                remedy="raise --max-num-batched-tokens or lower --max-num-seqs",
            )
        if not self.enable_chunked_prefill and tokens < max_model_len:
            raise UsageError(
                f"max_num_batched_tokens ({tokens}) is smaller than max_model_len ({max_model_len})."
                " This effectively limits the maximum sequence length to max_num_batched_tokens and makes vLLM reject"
                " longer sequences.",
                remedy="raise --max-num-batched-tokens or lower --max-model-len",
            )
        return seqs, tokens


_FROM_ONE = (
    "max_model_len",
    "max_num_seqs",
    "max_num_batched_tokens",
    "tensor_parallel_size",
    "pipeline_parallel_size",
    "block_size",
    "num_gpu_blocks_override",
)


class _Parser(argparse.ArgumentParser):
    """Reports through an exception, so that each caller ends its own way."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{self.prog}: error: {message}", remedy=f"`{self.prog} --help` lists what can be set")


@cache
def known_arguments() -> dict[str, dict[str, Any]]:
    """By name: type, default, short form, whether it is simulated, whether it is the simulator's own."""
    import yaml

    text = (files("drydock") / "data" / "vllm" / "arguments.yaml").read_text()
    found: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return found


def parser(program: str = "vllm serve") -> argparse.ArgumentParser:
    """An argument parser with vLLM's names."""
    made = _Parser(prog=program, allow_abbrev=False)
    made.add_argument("model_tag", nargs="?", help="name or path of the model")
    for name, facts in known_arguments().items():
        _add(made, name, facts)
    return made


def _add(made: argparse.ArgumentParser, name: str, facts: dict[str, Any]) -> None:
    flags = [f"--{name}", *([f"-{facts['short']}"] if "short" in facts else [])]
    kind, default = facts["type"], facts.get("default")
    note = "" if facts.get("simulated") else "accepted, no effect here"
    common: dict[str, Any] = {"default": default, "help": note}
    if kind == "flag":
        made.add_argument(*flags, action="store_true", help=note)
    elif kind == "switch":
        made.add_argument(*flags, action=argparse.BooleanOptionalAction, **common)
    elif kind == "list":
        made.add_argument(*flags, nargs="+", **common)
    else:
        types: dict[str, Callable[[str], Any]] = {
            "str": str,
            "int": int,
            "float": float,
            "json": json.loads,
            "size": _size,
        }
        made.add_argument(*flags, type=types[kind], **common)


def _size(text: str) -> int:
    if text in ("auto", "-1"):  # of --max-model-len: as long as fits
        return _AS_LONG_AS_FITS
    found = _SIZE.fullmatch(text)
    if not found:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of the kind 8192, 8k or 8K")
    number, suffix = found.groups()
    if not suffix:
        return int(float(number))
    base = 1000 if suffix.islower() else 1024
    return int(float(number) * base ** _POWERS[suffix.lower()])


_size.__name__ = "int"


def parse_known(arguments: Sequence[str], config: str | None = None) -> EngineArgs:
    """Read an argument list of any release of vLLM: arguments that are not known are passed over.

    Args:
        arguments: as given.
        config: what the file of `--config` holds, where that is known; given arguments win over it.

    Raises:
        UsageError: a value of the wrong kind, in vLLM's words, or one out of its range.
    """
    made = parser()
    dashed = [_dashes(argument) for argument in arguments]
    if config is not None:
        made.set_defaults(**_config_defaults(made, config, "the file of --config", strict=False))
    values, _ = made.parse_known_args(dashed)
    return _engine_args(vars(values))


def unknown_arguments(arguments: Sequence[str]) -> tuple[str, ...]:
    """Names among arguments that vLLM 0.26 does not have; `--NAME.KEY` stands for a part of NAME's JSON."""
    _, rest = parser().parse_known_args([_dashes(argument) for argument in arguments])
    names = [word.partition("=")[0] for word in rest if word.startswith("--")]
    return tuple(name for name in names if name.removeprefix("--").partition(".")[0] not in known_arguments())


_MOST_PORT = 65_535


def parse(arguments: Sequence[str], program: str = "vllm serve") -> EngineArgs:
    """Read an argument list; names may be written with underscores, as vLLM allows.

    Raises:
        UsageError: an unknown argument or a value of the wrong kind, in vLLM's words, or one out of its range.
    """
    dashed = [_dashes(argument) for argument in arguments]
    made = parser(program)
    values = vars(made.parse_args(dashed))
    if values["config"]:
        made.set_defaults(**_config_defaults(made, _read_config(values["config"]), f"--config {values['config']}"))
        values = vars(made.parse_args(dashed))
    return _engine_args(values)


def _engine_args(values: dict[str, Any]) -> EngineArgs:
    if values["speculative_config"] is None and (values["spec_model"] or values["spec_method"]):
        short = {"method": "spec_method", "model": "spec_model", "num_speculative_tokens": "spec_tokens"}
        given = {name: values[flag] for name, flag in short.items() if values[flag] is not None}
        values["speculative_config"] = given
    values["model"] = values["model"] or values.pop("model_tag", None) or ""
    values.pop("model_tag", None)
    for name in _FROM_ONE:
        if (
            values[name] is not None
            and values[name] < 1
            and (name, values[name]) != ("max_model_len", _AS_LONG_AS_FITS)
        ):
            raise UsageError(f"{name} must be 1 or more, not {values[name]}", remedy=f"change {_flag(name)}")
    share = values["gpu_memory_utilization"]
    if not 0 < share <= 1:
        raise UsageError(
            f"gpu_memory_utilization must be above 0 and at most 1, not {share:g}",
            remedy="it is a share of the GPU's memory: change --gpu-memory-utilization",
        )
    if not 0 <= values["port"] <= _MOST_PORT:
        raise UsageError(f"port must be from 0 to {_MOST_PORT}, not {values['port']}", remedy="change --port")
    names = EngineArgs.__dataclass_fields__.keys() - {"values", "weights", "gpus", "other_release"}
    return EngineArgs(**{name: values[name] for name in names}, values=values)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _read_config(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {name}: {error}", remedy="name a YAML file of arguments") from error


def _config_defaults(made: argparse.ArgumentParser, text: str, name: str, *, strict: bool = True) -> dict[str, Any]:
    """What a `--config` file says, read as if its lines were arguments; unless strict, unknown ones are passed over."""
    import yaml

    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{name}: {error}", remedy="name a YAML file of arguments") from error
    if not isinstance(data, dict):
        raise UsageError(f"{name} holds no mapping", remedy="write `argument: value` on each line")
    found: list[str] = []
    for key, value in data.items():
        flag = _dashes(f"--{key}")
        if isinstance(value, bool):
            found.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            found += [flag, *map(str, value)]
        else:
            found += [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    given = vars(made.parse_args(found) if strict else made.parse_known_args(found)[0])
    names = (str(key).replace("-", "_") for key in data)
    plain = (argument if argument in given else argument.removeprefix("no_") for argument in names)
    return {argument: given[argument] for argument in plain if argument in given}


def parse_line(line: str, program: str = "vllm serve") -> EngineArgs:
    """Read arguments as a shell would split them."""
    try:
        arguments = shlex.split(line)
    except ValueError as error:
        raise UsageError(f"engine arguments {line!r}: {error}", remedy="close the quotes") from error
    return parse(arguments, program)


def _dashes(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value
