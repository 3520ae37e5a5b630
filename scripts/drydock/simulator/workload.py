"""When requests arrive, and how long they are."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count, cycle, repeat
from math import floor, inf
from random import Random
from typing import Literal, NamedTuple

from drydock.errors import UsageError

Arrival = Literal["constant", "poisson", "gamma"]

_SPREADS = (0.001, 100.0)
_MOST_REQUESTS = 10_000_000


class Shape(NamedTuple):
    """One request: tokens in and out, and the hashes of the prompt's full blocks (equal ones are shared)."""

    input_tokens: int
    output_tokens: int
    hashes: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests to offer.

    Attributes:
        rate: requests a second of an open loop; None for a closed one.
        concurrency: clients of a closed loop, each with one request at a time; None for an open one.
        duration: s in which requests are sent.
        requests: how many are sent; None for rate x duration of an open loop, which spreads exactly so many over the
            duration, and for as many as the duration allows of a closed one, which otherwise stops earlier.
        input_tokens, output_tokens: of each request, the mean where `spread` is not zero. A fraction of an output
            token is spread evenly over the requests.
        spread: relative standard deviation of both lengths, as a gamma distribution.
        max_model_len: tokens of prompt and answer that the engine takes at most: an answer ends there, and a prompt
            that is drawn longer leaves room for one token. None for no limit.
        arrival: spacing of an open loop: `constant` gaps, or random ones scaled to fill the duration: `poisson`
            exponential ones, `gamma` those with shape `burstiness` (below 1: in bursts).
        max_in_flight: requests that the client keeps open at most; others wait at the client, and their clock starts
            when they are sent. None for no limit.
        shapes: of the requests, in turn and again from the first; in place of the lengths above.
        times: of an open loop's requests, s from the start, in place of `arrival` (a recorded trace).
        seed: of every random number.
    """

    rate: float | None = None
    concurrency: int | None = None
    duration: float = 60.0
    input_tokens: int = 512
    output_tokens: float = 128
    spread: float = 0.0
    max_model_len: int | None = None
    arrival: Arrival = "poisson"
    burstiness: float = 0.5
    max_in_flight: int | None = None
    requests: int | None = None
    shapes: tuple[Shape, ...] = ()
    times: Sequence[float] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.rate is None) == (self.concurrency is None):
            raise UsageError(
                "a workload has either a rate or a concurrency", remedy="Give one of --rate and --concurrency."
            )
        for name in (
            "rate",
            "concurrency",
            "duration",
            "input_tokens",
            "output_tokens",
            "burstiness",
            "max_in_flight",
            "requests",
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < inf:
                raise UsageError(
                    f"{name.replace('_', ' ')} must be above 0, not {value:g}",
                    remedy=f"Give --{name.replace('_', '-')} a finite number above 0.",
                )
        if self.spread != 0 and not _SPREADS[0] <= self.spread <= _SPREADS[1]:
            raise UsageError(
                f"spread must be 0, or from {_SPREADS[0]:g} to {_SPREADS[1]:g}, not {self.spread:g}",
                remedy="Give --spread the deviation of the lengths by their mean, 0.5 for example.",
            )
        if self.rate is not None and self._wanted(self.rate) > _MOST_REQUESTS:
            raise UsageError(
                f"a rate of {self.rate:g} over {self.duration:g} s is more than {_MOST_REQUESTS:,} requests",
                remedy="Give a lower --rate, or a shorter --duration.",
            )
        if self.max_model_len is not None and self.input_tokens + self.output_tokens > self.max_model_len:
            raise UsageError(
                f"requests of {self.input_tokens} + {self.output_tokens:g} tokens exceed the engine's maximum length of"
                f" {self.max_model_len}",
                remedy="Ask for fewer tokens or raise --max-model-len in --engine-args.",
            )

    def arrivals(self) -> Iterator[float]:
        """Times of an open loop, s from the start, in order."""
        if self.rate is None:
            return
        if self.times:
            yield from self.times
            return
        wanted = round(self._wanted(self.rate))
        if self.arrival == "constant":
            step = self.duration / wanted
            yield from (index * step for index in range(wanted))
            return
        random = Random(f"arrivals {self.seed}")  # noqa: S311 (no secret)
        shape = self.burstiness if self.arrival == "gamma" else 1.0
        ends = list(accumulate(random.gammavariate(shape, 1.0) for _ in range(wanted + 1)))
        # of the smallest shapes all gaps may come to 0: one burst
        scale = self.duration / ends[-1] if ends[-1] else 0.0
        yield from (end * scale for end in ends[:-1])

    def _wanted(self, rate: float) -> float:
        """Requests of an open loop, a fraction of one where the rate makes it."""
        return float(self.requests or max(1.0, rate * self.duration))

    def hashes(self) -> Iterator[Sequence[int]]:
        """Hashes of each request's full blocks, without end; empty where nothing is shared."""
        return cycle(shape.hashes for shape in self.shapes) if self.shapes else repeat(())

    def lengths(self) -> Iterator[tuple[int, int]]:
        """(input, output) tokens of each request, without end."""
        if self.shapes:
            for asked in cycle(self.shapes):
                yield asked.input_tokens, asked.output_tokens
        if not self.spread:
            for index in count():
                yield (
                    self.input_tokens,
                    max(1, floor((index + 1) * self.output_tokens) - floor(index * self.output_tokens)),
                )
        random = Random(f"lengths {self.seed}")  # noqa: S311 (no secret)
        shape = 1 / self.spread**2
        most = self.max_model_len or inf
        while True:
            draw = [random.gammavariate(shape, mean / shape) for mean in (self.input_tokens, self.output_tokens)]
            prompt = int(min(max(1, round(draw[0])), most - 1))
            yield prompt, int(min(max(1, round(draw[1])), most - prompt))
