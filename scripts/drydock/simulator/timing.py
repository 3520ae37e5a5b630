"""How long one engine step takes, and what the serving process adds around it."""

from dataclasses import dataclass, fields, replace
from math import exp


@dataclass(frozen=True, slots=True)
class Coefficients:
    """One engine version on one GPU with one model; everything that the simulator knows of its speed.

    A step over `decodes` sequences with `kv` tokens of context and `prefill` prompt tokens takes, in seconds,

        base + mixed * [prefill > 0] + (weights^4 + (token * slowdown * (decodes + prefill))^4)^(1/4)
        + sequence * (decodes + prompts) + kv_read * kv * (mixed_kv if prefill > 0 else 1)
        + attention * slowdown * pairs

    where `pairs` are the query-key pairs of the prompts. The fourth-power mean joins the two sides of the roofline:
    reading the weights once hides behind arithmetic, or the other way round.

    A step with prompts takes no less than the processor needs to launch it: `launch_graph` where prompts and decodes
    together stay within `graph_tokens`, so that pieces of the model run as CUDA graphs, `launch_eager` above. A step
    that only decodes, up to `graph_tokens` sequences, is one CUDA graph.

    `slowdown` is the power limit at work. Arithmetic at full clock draws more than the board may; the moving average of
    the power drawn (1 = arithmetic without pause, `power_memory` while decoding a few sequences, `power_idle` between
    steps) with time constant `power_seconds` slows arithmetic by 1 + power_slope * (average - power_cap) above the cap.

    The engine core's process works `core_cpu` + `core_sequence_cpu` * (decodes + prompts) for each step: hidden behind
    the step that runs where the next one is composed meanwhile, and added to each step where it is not.

    With speculative decoding a decoding sequence has `guesses` more tokens in the batch, and a step yields
    `step_tokens` tokens of it on average, after `draft` s for the guesses. Such a step counts here as `step_tokens`
    steps of one token: the times between tokens are means over the tokens of a step.

    Attributes:
        base, mixed: s, work of each step that does not grow; the extra of a step that no full CUDA graph covers.
        launch_graph, launch_eager: s of the processor for such a step, see above.
        graph_tokens: the largest batch that CUDA graphs were captured for.
        weights: s to read the weights once.
        token: s of arithmetic for each token of the batch, at full clock.
        sequence: s for each sequence of the batch (sampling, bookkeeping).
        kv_read: s for each token of context that a decoding sequence reads.
        attention: s for each query-key pair of a prompt.
        mixed_kv: how much longer reading the KV cache takes in a step that also works on prompts, as a factor: one
            attention kernel then serves both, tiled for prompts.
        power_cap, power_slope, power_memory, power_idle, power_seconds: see above.
        request_cpu, request_token_cpu: s of the serving process for each request and each prompt token, one after the
            other.
        request_share: the part of a request's work that the process does for all requests at hand before it hands over
            the first of them (an event loop takes turns).
        request_latency: s between client and engine in which nothing else waits.
        output_cpu, output_token_cpu: s of the serving process for each step's outputs and for each token in them.
        core_cpu, core_sequence_cpu: s of the engine core's process, see above; 0 where `base` holds them.
        asynchronous: whether the next step is composed while the present one runs.
        wake: s that the first step after a pause of more than 0.1 s starts late.
        launch: s between composing a step on an idle engine and composing the one after it.
        guesses, step_tokens, draft: of speculative decoding, see above.
    """

    base: float
    mixed: float
    weights: float
    token: float
    sequence: float
    kv_read: float
    attention: float
    mixed_kv: float = 1.0
    launch_graph: float = 0.0
    launch_eager: float = 0.0
    graph_tokens: int = 512
    power_cap: float = 1.0
    power_slope: float = 0.0
    power_memory: float = 0.6
    power_idle: float = 0.2
    power_seconds: float = 0.5
    request_cpu: float = 0.002
    request_token_cpu: float = 0.0
    request_share: float = 0.7
    request_latency: float = 0.001
    output_cpu: float = 0.0003
    output_token_cpu: float = 0.00004
    core_cpu: float = 0.0
    core_sequence_cpu: float = 0.0
    asynchronous: bool = True
    launch: float = 0.001
    wake: float = 0.0
    guesses: int = 0
    step_tokens: float = 1.0
    draft: float = 0.0

    def scaled(self, **factors: float) -> "Coefficients":
        """The same with some coefficients multiplied."""
        return replace(self, **{name: getattr(self, name) * factor for name, factor in factors.items()})


NUMERIC = tuple(field.name for field in fields(Coefficients) if field.type is float)

ASLEEP = 0.1
"""s without a step after which processor and GPU have lowered their clocks."""


class StepTimer:
    """Answers how long a step takes; remembers the power drawn so far.

    CUDA graphs are captured for batches up to twice `max_num_seqs`, as vLLM does, and `graph_tokens` at most.
    """

    def __init__(self, coefficients: Coefficients, max_num_seqs: int = 1 << 30) -> None:
        self.coefficients = coefficients
        self._graph_tokens = min(coefficients.graph_tokens, 2 * max_num_seqs)
        self._power = coefficients.power_idle
        self._weights4 = coefficients.weights**4

    def idle(self, seconds: float) -> float:
        """Let the GPU cool: no step ran for this long. Returns the s that the next one starts late."""
        c = self.coefficients
        if c.power_slope:
            self._power = c.power_idle + (self._power - c.power_idle) * exp(-seconds / c.power_seconds)
        return c.wake if seconds > ASLEEP else 0.0

    def decode(self, decodes: int, kv: int) -> tuple[float, float]:
        """A step that only decodes: its seconds, and by how much they grow with each step that follows."""
        seconds, grows = self._decode(decodes, kv)
        share = self.coefficients.step_tokens
        return seconds / share, self.coefficients.kv_read * decodes / share if grows else 0.0

    def _decode(self, decodes: int, kv: int) -> tuple[float, bool]:
        """Seconds of a whole step that only decodes, and whether they grow with the context."""
        c = self.coefficients
        batch = decodes * (1 + c.guesses)
        arithmetic = c.token * self._slowdown() * batch
        linear = float((self._weights4 + arithmetic**4) ** 0.25)
        seconds = c.base + linear + c.sequence * batch + c.kv_read * kv + c.draft
        if batch > self._graph_tokens and seconds < c.launch_eager:
            return self._composed(c.launch_eager, decodes), False
        composed = self._composed(seconds, decodes)
        return composed, composed == seconds or not c.asynchronous

    def mixed(self, decodes: int, kv: int, prefill: int, prompts: int, pairs: float) -> float:
        """A step that also works on prompts: its seconds."""
        c = self.coefficients
        slowdown = self._slowdown()
        batch = decodes * (1 + c.guesses) + prefill
        arithmetic = c.token * slowdown * batch
        linear = float((self._weights4 + arithmetic**4) ** 0.25)
        fixed = c.base + c.mixed + c.sequence * (decodes * (1 + c.guesses) + prompts) + c.draft
        seconds = fixed + linear + c.kv_read * c.mixed_kv * kv + c.attention * slowdown * pairs
        seconds = max(seconds, c.launch_eager if batch > self._graph_tokens else c.launch_graph)
        seconds = self._composed(seconds, decodes + prompts)
        if c.step_tokens > 1 and decodes:
            # its decodes get one token here, the others that it yields in steps that follow
            seconds -= (1 - 1 / c.step_tokens) * self._decode(decodes, kv)[0]
        return seconds

    def _composed(self, seconds: float, sequences: int) -> float:
        """A step with the work of the engine core's process, beside it or before it."""
        c = self.coefficients
        core = c.core_cpu + c.core_sequence_cpu * sequences
        return max(seconds, core) if c.asynchronous else seconds + core

    def ran(self, seconds: float, tokens: int, pairs: float, steps: int = 1) -> None:
        """Account for the power of steps that took `seconds` together, with `tokens` and `pairs` in each."""
        c = self.coefficients
        if not c.power_slope:
            return
        share = min(1.0, (c.token * tokens + c.attention * pairs) * steps / seconds)
        level = c.power_memory + (1 - c.power_memory) * share
        self._power = level + (self._power - level) * exp(-seconds / c.power_seconds)

    def _slowdown(self) -> float:
        c = self.coefficients
        excess = self._power - c.power_cap
        return 1 + c.power_slope * excess if excess > 0 else 1.0
