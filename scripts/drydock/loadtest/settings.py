"""What a load test is asked to do: where to, what, when, and with how many processes.

Times are seconds, lengths tokens, rates conversations a second (requests, where a conversation has one turn).
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from drydock.errors import UsageError
from drydock.loadtest.dialects import Dialect
from drydock.loadtest.secrets import Secret

Endpoint = Literal["chat", "completions"]
LengthKind = Literal["fixed", "uniform", "normal", "lognormal", "exponential"]


_MOST_CONVERSATIONS = 10_000_000
_MOST_PROCESSES = 1000
_MOST_CLIENTS = 65_536
"""Of a process, which has a socket for each."""


def _above_zero(name: str, value: float) -> None:
    if not value > 0 or value == float("inf"):
        raise UsageError(f"{name} must be above 0, not {value:g}", remedy="Give a finite number above 0.")


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint.

    Attributes:
        base_url: where the API begins, with or without a final `/v1`.
        model: name that requests ask for.
        endpoint: `/v1/chat/completions` or `/v1/completions`.
        stream: as server-sent events; without, an answer comes in one piece and has no time to first token.
        api_key: sent as a bearer token.
        timeout_seconds: from a request's sending to the end of its answer.
        loras: names that requests ask for instead of `model`, drawn evenly.
        dialect: how it differs from vLLM's API.
        verify_tls: check an https server's certificate.
        ca_file: certificates that it is checked against, in PEM, beside the system's.
    """

    base_url: str
    model: str
    endpoint: Endpoint = "chat"
    stream: bool = True
    api_key: Secret | None = None
    timeout_seconds: float = 600.0
    loras: tuple[str, ...] = ()
    dialect: Dialect = field(default_factory=Dialect)
    verify_tls: bool = True
    ca_file: Path | None = None

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.base_url)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment or parts.username:
            raise UsageError(
                f"{self.base_url!r} is not the URL of an endpoint", remedy="Give one like http://host:8000/v1."
            )
        _above_zero("timeout", self.timeout_seconds)
        if self.ca_file is not None and not self.ca_file.is_file():
            raise UsageError(f"there is no file {self.ca_file} of certificates", remedy="Name a file in PEM form.")
        if not self.model:
            raise UsageError("no model was named", remedy="Name the one that the server serves (GET /v1/models).")

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Values that nothing may show: the API key, and those of headers and parameters."""
        return (*([self.api_key] if self.api_key else []), *self.dialect.secrets)


@dataclass(frozen=True, slots=True)
class Closed:
    """So many clients, each with one request at a time and no pause: the server sets the rate."""

    concurrency: int

    def __post_init__(self) -> None:
        _above_zero("concurrency", self.concurrency)


@dataclass(frozen=True, slots=True)
class Constant:
    """Evenly spaced."""

    rate: float

    def __post_init__(self) -> None:
        _above_zero("rate", self.rate)


@dataclass(frozen=True, slots=True)
class Poisson:
    """Exponential gaps, as of many users who know nothing of each other."""

    rate: float

    def __post_init__(self) -> None:
        _above_zero("rate", self.rate)


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gamma gaps with shape `burstiness`, as `vllm bench serve --burstiness`: 1 is Poisson, below 1 comes in bursts."""

    rate: float
    burstiness: float = 1.0

    def __post_init__(self) -> None:
        _above_zero("rate", self.rate)
        _above_zero("burstiness", self.burstiness)


@dataclass(frozen=True, slots=True)
class Ramp:
    """A rate that changes linearly over the stage (warm-up included)."""

    start_rate: float
    end_rate: float

    def __post_init__(self) -> None:
        if not (self.start_rate >= 0 and self.end_rate >= 0):
            raise UsageError(
                f"the rates of a ramp must not be below 0, as {min(self.start_rate, self.end_rate):g} is",
                remedy="Give --rate and --end-rate from 0 on.",
            )
        _above_zero("the higher rate of a ramp", max(self.start_rate, self.end_rate))


@dataclass(frozen=True, slots=True)
class Trace:
    """Recorded times, s from the stage's start, in order; those after the stage's end are left out."""

    times: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.times:
            raise UsageError("the trace is empty", remedy="Give at least one time.")
        if not self.times[0] >= 0 or any(
            not later >= earlier for earlier, later in zip(self.times, self.times[1:], strict=False)
        ):
            raise UsageError(
                "the times of a trace must be in order, and none below 0", remedy="Sort its lines: sort -g FILE."
            )


Arrival = Closed | Constant | Poisson | Gamma | Ramp | Trace


def _mean_rate(arrival: Arrival) -> float:
    match arrival:
        case Constant() | Poisson() | Gamma():
            return arrival.rate
        case Ramp():
            return arrival.start_rate / 2 + arrival.end_rate / 2
        case _:
            return 0.0


@dataclass(frozen=True, slots=True)
class Stage:
    """One load, held for a while.

    Attributes:
        arrival: when conversations begin.
        duration_seconds: how long they are begun, after the warm-up. What is under way then is waited for.
        warm_up_seconds: under the same load before that; measures leave out what was due in it.
        max_conversations: stop after so many, warm-up included.
    """

    arrival: Arrival
    duration_seconds: float
    warm_up_seconds: float = 0.0
    max_conversations: int | None = None

    def __post_init__(self) -> None:
        _above_zero("duration", self.duration_seconds)
        if not 0 <= self.warm_up_seconds < float("inf"):
            raise UsageError(
                f"the warm-up must not be below 0 s, as {self.warm_up_seconds:g} is", remedy="Give --warm-up 10, or 0."
            )
        if self.max_conversations is not None:
            _above_zero("the number of conversations", self.max_conversations)
        rate, seconds = _mean_rate(self.arrival), self.sending_seconds
        if rate * seconds > _MOST_CONVERSATIONS:
            raise UsageError(
                f"{rate:g} conversations a second over {seconds:g} s are more than {_MOST_CONVERSATIONS:,}",
                remedy="Give a lower rate, or a shorter duration.",
            )

    @property
    def sending_seconds(self) -> float:
        """From the stage's start to the last moment when something is begun."""
        return self.warm_up_seconds + self.duration_seconds


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution of token counts, rounded and held within `minimum` and `maximum`.

    Attributes:
        kind: fixed (`mean`), uniform (from `minimum` to `maximum`), normal, lognormal or exponential.
        mean: of the distribution before it is cut, tokens.
        deviation: its standard deviation, tokens (normal and lognormal).
    """

    kind: LengthKind
    mean: float = 0.0
    deviation: float = 0.0
    minimum: int = 1
    maximum: int = 1_000_000

    def __post_init__(self) -> None:
        if not 1 <= self.minimum <= self.maximum:
            raise UsageError(
                f"lengths need 1 <= minimum <= maximum, not {self.minimum} and {self.maximum}",
                remedy="Change one of them.",
            )
        if self.kind != "uniform":
            _above_zero("the mean length", self.mean)
        if self.kind in ("normal", "lognormal"):
            _above_zero("the deviation of a length", self.deviation)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent.

    Attributes:
        name: of the preset or file, for reports.
        input: new prompt tokens of each turn, without what is shared.
        output: tokens asked for (`max_tokens`); None leaves the end to the model.
        dataset: JSONL file whose lines are the prompts, in turn; `input` is not used then.
        shared_prefix_tokens: with which every conversation of a group begins (a system prompt, tools, documents).
        prefix_groups: how many such prefixes there are; conversations draw one evenly.
        turns: requests of a conversation, each with all before it.
        think_seconds: between an answer's end and the next turn.
        token_ids: prompts as token ids instead of text (completions only).
        ignore_eos: have vLLM give exactly the tokens asked for.
    """

    name: str
    input: Lengths = Lengths("fixed", 512)
    output: Lengths | None = Lengths("fixed", 128)
    dataset: Path | None = None
    shared_prefix_tokens: int = 0
    prefix_groups: int = 1
    turns: int = 1
    think_seconds: float = 0.0
    token_ids: bool = False
    ignore_eos: bool = True

    def __post_init__(self) -> None:
        _above_zero("the number of turns", self.turns)
        _above_zero("the number of prefix groups", self.prefix_groups)
        if min(self.shared_prefix_tokens, self.think_seconds) < 0:
            raise UsageError("neither shared prefix nor thinking time may be below 0", remedy="Give numbers from 0 on.")
        if self.token_ids and self.turns > 1:
            raise UsageError(
                "a conversation of several turns cannot be sent as token ids: answers come back as text",
                remedy="Send text, or one turn.",
            )


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """One run of the generator.

    Attributes:
        processes: workers that share the load evenly.
        seed: of arrivals, lengths and prompts: the same plan sends the same, however many processes share it.
    """

    target: Target
    workload: Workload
    stage: Stage
    processes: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        _above_zero("the number of processes", self.processes)
        if self.processes > _MOST_PROCESSES:
            raise UsageError(
                f"{self.processes} processes are more than {_MOST_PROCESSES:,}", remedy="Give --processes a core each."
            )
        clients = self.stage.arrival.concurrency if isinstance(self.stage.arrival, Closed) else 0
        if clients > _MOST_CLIENTS * self.processes:
            raise UsageError(
                f"{clients:,} clients are more than the {_MOST_CLIENTS:,} that a process can have",
                remedy="Give a lower --concurrency, or more --processes.",
            )
        if self.workload.token_ids and self.target.endpoint != "completions":
            raise UsageError("token ids can only be sent to /v1/completions", remedy="Choose that endpoint, or text.")
