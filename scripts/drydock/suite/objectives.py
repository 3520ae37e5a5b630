"""What a load test must reach and a plan plans for: an environment's `objectives`, a file of that shape, or NAME=N.

The names here are the only list of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drydock.documents import load_yaml
from drydock.errors import UsageError

PERCENTILES = (50, 90, 95, 99)
_TIMES = ("ttft", "itl", "tpot", "e2e")
MOST = frozenset(
    {f"{time}_{part}_ms" for time in _TIMES for part in ("mean", *(f"p{each}" for each in PERCENTILES))}
    | {"error_rate"}
)
"""Objectives that must not be exceeded."""
LEAST = frozenset({"goodput", "goodput_rps", "completed_rps", "output_tokens_per_second", "total_tokens_per_second"})
"""Objectives that must be reached."""
REQUEST = ("ttft_ms", "tpot_ms", "e2e_ms")
"""Limits of a good request, under the key `request`: goodput counts those that keep all of them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An objective beside what a run came to.

    Attributes:
        value: as measured; None where there was nothing to measure.
    """

    name: str
    limit: float
    value: float | None

    @property
    def met(self) -> bool:
        """Whether it is; what could not be measured is not met."""
        if self.value is None:
            return False
        return self.value <= self.limit if self.name in MOST else self.value >= self.limit

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} was not measured (objective {self.limit:g})"
        if self.met:
            bound = "most" if self.name in MOST else "least"
            return f"{self.name} is {self.value:.4g}, at {bound} {self.limit:g} is asked"
        word = "more" if self.name in MOST else "less"
        by = f", by {abs(self.value / self.limit - 1):.1%}" if self.limit else ""
        return f"{self.name} is {self.value:.4g}, {word} than {self.limit:g}{by}"


@dataclass(frozen=True, slots=True)
class Objectives:
    """Limits by name.

    Attributes:
        limits: of a run's measures.
        request: ms that each request must keep to count for goodput, by `ttft`, `tpot` and `e2e`.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    request: Mapping[str, float] = field(default_factory=dict)

    def judged(self, measures: Mapping[str, float | None]) -> tuple[Verdict, ...]:
        """Each beside what a run came to."""
        return tuple(Verdict(name, limit, measures.get(name)) for name, limit in self.limits.items())


def read_objectives(file: Path) -> Objectives:
    """Read a file of them, or one that has them under `objectives`, as an environment's.

    Raises:
        UsageError: it cannot be read, or holds something else; the message names the key.
    """
    try:
        told = load_yaml(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"cannot read the objectives {file}: {error}", remedy="give a YAML file with lines like `ttft_p95_ms: 500`"
        ) from error
    if isinstance(told, Mapping) and "objectives" in told:
        return objectives(told["objectives"], f"{file}: objectives")
    return objectives(told, str(file))


def objectives(told: object, where: str) -> Objectives:
    """Objectives from what a file says.

    Raises:
        UsageError: a key is unknown, or a value no number; `where` is named.
    """
    if not isinstance(told, Mapping) or not told:
        raise UsageError(f"{where}: holds no objectives", remedy="write a line like `ttft_p95_ms: 500` into it")
    request = told.get("request", {})
    if not isinstance(request, Mapping):
        raise UsageError(
            f"{where}: request: must be a map of {', '.join(REQUEST)}", remedy="write it like request: {ttft_ms: 2000}"
        )
    limits = _numbers({key: value for key, value in told.items() if key != "request"}, MOST | LEAST, where)
    for name in ("error_rate", "goodput"):
        if limits.get(name, 0) > 1:
            raise UsageError(
                f"{where}: {name} is a share from 0 to 1, not {limits[name]:g}", remedy="0.01 is one in a hundred"
            )
    each = _numbers(request, frozenset(REQUEST), f"{where}: request")
    if not each and limits.keys() & {"goodput", "goodput_rps"}:
        raise UsageError(
            f"{where}: goodput needs to know what a good request is",
            remedy=f"set at least one of {', '.join(REQUEST)} under `request`",
        )
    return Objectives(limits, {name.removesuffix("_ms"): value for name, value in each.items()})


def merged(base: Objectives, texts: Sequence[str]) -> Objectives:
    """`NAME=N` of the command line over others.

    Raises:
        UsageError: one is not of this form, or as `objectives`.
    """
    told: dict[str, Any] = dict(base.limits)
    request = {f"{name}_ms": value for name, value in base.request.items()}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not equals or number != number:  # noqa: PLR0124 (not a number)
            raise UsageError(f"--objective {text}: not NAME=NUMBER", remedy="give one like ttft_p95_ms=500")
        (request if name in REQUEST else told)[name] = number
    return objectives({**told, "request": request}, "--objective") if told or request else base


def _numbers(told: Mapping[Any, Any], known: frozenset[str], where: str) -> dict[str, float]:
    for name, value in told.items():
        if name not in known:
            raise UsageError(f"{where}: {name}: unknown objective", remedy=f"known are: {', '.join(sorted(known))}")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise UsageError(
                f"{where}: {name}: must be a number from 0 on, not {value!r}",
                remedy="write the number alone, without a unit",
            )
    return {str(name): float(value) for name, value in told.items()}
