"""What a load test must reach and a plan plans for: an environment's `objectives`, a file of that shape, or NAME=N.

The names here are the only list of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import yaml

from drydock.documents import load_yaml
from drydock.errors import UsageError

PERCENTILES = (50, 90, 95, 99)
_TIMES = ("ttft", "itl", "tpot", "e2e")
MOST = frozenset(
    {f"{time}_{part}_ms" for time in _TIMES for part in ("mean", *(f"p{percentile}" for percentile in PERCENTILES))}
    | {"error_rate"}
)
"""Objectives that must not be exceeded."""
LEAST = frozenset({"goodput", "goodput_rps", "completed_rps", "output_tokens_per_second", "total_tokens_per_second"})
"""Objectives that must be reached."""
_GROUPS = dict.fromkeys(("output_tokens_per_second", "total_tokens_per_second"), "tokens a second")
"""Under which name a measure has its reason, where that is not its first word."""
REQUEST = ("ttft_ms", "tpot_ms", "e2e_ms")
"""Limits of a good request, under the key `request`: goodput counts those that keep all of them."""


DEFAULT_ERROR_RATE = 0.01
"""Asked of every load test whose objectives do not name an error rate: a pass means that requests were answered."""


class Measures(Protocol):
    """What a run came to, as far as it is judged.

    Attributes:
        ok, judged: requests that succeeded, of all that count.
        values: measures by name; reasons: why a group of them is None.
        worst: times with the requests that failed counted as slower than all others.
    """

    @property
    def ok(self) -> int: ...  # noqa: D102

    @property
    def judged(self) -> int: ...  # noqa: D102

    @property
    def values(self) -> Mapping[str, float | None]: ...  # noqa: D102

    @property
    def worst(self) -> Mapping[str, float | None]: ...  # noqa: D102

    @property
    def reasons(self) -> Mapping[str, str]: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class Verdict:
    """An objective beside what a run came to.

    Attributes:
        value: as measured, with failed requests as slower than all others; None where it is not known.
        reason: why it cannot be met, whatever the value; empty where the value decides.
        default: not asked for; it holds for every load test.
    """

    name: str
    limit: float
    value: float | None
    reason: str = ""
    default: bool = False

    @property
    def met(self) -> bool:
        """Whether it is; what could not be measured is not met."""
        if self.value is None or self.reason:
            return False
        return self.value <= self.limit if self.name in MOST else self.value >= self.limit

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.name} is not known{f': {self.reason}' if self.reason else ''} (objective {self.limit:g})"
        if self.reason:
            return f"{self.name} is {self.value:.4g}: {self.reason} (objective {self.limit:g})"
        if self.met:
            bound = "most" if self.name in MOST else "least"
            return f"{self.name} is {self.value:.4g}, at {bound} {self.limit:g} is asked"
        word = "more" if self.name in MOST else "less"
        by = f", by {abs(self.value / self.limit - 1):.1%}" if self.limit else ""
        return f"{self.name} is {self.value:.4g}, {word} than {self.limit:g}{by}{' (default)' if self.default else ''}"


@dataclass(frozen=True, slots=True)
class Objectives:
    """Limits by name.

    Attributes:
        limits: of a run's measures.
        request: ms that each request must keep to count for goodput, by `ttft`, `tpot` and `e2e`.
    """

    limits: Mapping[str, float] = field(default_factory=dict)
    request: Mapping[str, float] = field(default_factory=dict)

    def judged(self, measures: Measures) -> tuple[Verdict, ...]:
        """Each beside what a run came to, and the default error rate where none is asked and it is exceeded."""
        verdicts = [_verdict(name, limit, measures) for name, limit in self.limits.items()]
        default = Verdict("error_rate", DEFAULT_ERROR_RATE, measures.values.get("error_rate"), default=True)
        if "error_rate" not in self.limits and default.value is not None and not default.met:
            verdicts.append(default)
        return tuple(verdicts)


def _verdict(name: str, limit: float, measures: Measures) -> Verdict:
    value = measures.values.get(name)
    if not measures.ok:
        return Verdict(name, limit, value, "no request succeeded")
    failed = measures.judged - measures.ok
    if value is not None and failed and name in measures.worst:
        value = measures.worst[name]
        if value is None:
            return Verdict(name, limit, None, f"{failed} of {measures.judged} requests failed")
    reason = "" if value is not None else measures.reasons.get(_GROUPS.get(name, name.partition("_")[0]), "")
    return Verdict(name, limit, value, reason)


def read_objectives(file: Path) -> Objectives:
    """Read a file of them, or one that has them under `objectives`, as an environment's.

    Raises:
        UsageError: it cannot be read, or holds something else; the message names the key.
    """
    try:
        stated = load_yaml(file.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(
            f"cannot read the objectives {file}: {error}", remedy="Give a YAML file with lines like `ttft_p95_ms: 500`."
        ) from error
    if isinstance(stated, Mapping) and "objectives" in stated:
        return objectives(stated["objectives"], f"{file}: objectives")
    return objectives(stated, str(file))


def objectives(stated: object, where: str) -> Objectives:
    """Objectives from what a file says.

    Raises:
        UsageError: a key is unknown, or a value no number; `where` is named.
    """
    if not isinstance(stated, Mapping) or not stated:
        raise UsageError(f"{where}: holds no objectives", remedy="Write a line like `ttft_p95_ms: 500` into it.")
    request = stated.get("request", {})
    if not isinstance(request, Mapping):
        raise UsageError(
            f"{where}: request: must be a map of {', '.join(REQUEST)}", remedy="Write it like request: {ttft_ms: 2000}."
        )
    limits = _numbers({key: value for key, value in stated.items() if key != "request"}, MOST | LEAST, where)
    for name in ("error_rate", "goodput"):
        if limits.get(name, 0) > 1:
            raise UsageError(
                f"{where}: {name} is a share from 0 to 1, not {limits[name]:g}", remedy="0.01 is one in a hundred."
            )
    each = _numbers(request, frozenset(REQUEST), f"{where}: request")
    if not each and limits.keys() & {"goodput", "goodput_rps"}:
        raise UsageError(
            f"{where}: goodput needs to know what a good request is",
            remedy=f"Set at least one of {', '.join(REQUEST)} under `request`.",
        )
    return Objectives(limits, {name.removesuffix("_ms"): value for name, value in each.items()})


def merged(base: Objectives, texts: Sequence[str]) -> Objectives:
    """`NAME=N` of the command line over others.

    Raises:
        UsageError: one is not of this form, or as `objectives`.
    """
    stated: dict[str, Any] = dict(base.limits)
    request = {f"{name}_ms": value for name, value in base.request.items()}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = float("nan")
        if not equals or number != number:  # noqa: PLR0124 (not a number)
            raise UsageError(f"--objective {text}: not NAME=NUMBER", remedy="Give one like ttft_p95_ms=500.")
        (request if name in REQUEST else stated)[name] = number
    return objectives({**stated, "request": request}, "--objective") if stated or request else base


def _numbers(stated: Mapping[Any, Any], known: frozenset[str], where: str) -> dict[str, float]:
    for name, value in stated.items():
        if name not in known:
            raise UsageError(f"{where}: {name}: unknown objective", remedy=f"Known are: {', '.join(sorted(known))}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
            raise UsageError(
                f"{where}: {name}: must be a number from 0 on, not {value!r}",
                remedy="Write the number alone, without a unit.",
            )
    return {str(name): float(value) for name, value in stated.items()}
