"""What one replica does under a load, by the simulator, and whether that is good enough."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drydock.errors import UsageError
from drydock.suite.objectives import PERCENTILES

if TYPE_CHECKING:
    from drydock.engines.catalogue import Gpu, Model
    from drydock.engines.engine_args import EngineArgs
    from drydock.loadtest.settings import Workload
    from drydock.simulator.engine import Engine
    from drydock.simulator.requests import Outcome
    from drydock.simulator.simulation import Run

_SECONDS = 120.0
_FEWEST, _MOST = 300, 3000
_WARM_UP = 0.1
_KEEPS_UP = 0.9
"""Least share of the requests of the later part of a run that must end in it: an engine that falls behind has less."""


@dataclass(frozen=True)
class Estimate:
    """One replica under one rate.

    Attributes:
        rate: requests a second that it gets.
        measures: ms by name (`ttft_p95_ms`, `itl_mean_ms`, ...), and `error_rate`, the share that it refuses.
        output_tokens_per_second, total_tokens_per_second: of requests that it serves.
        keeps_up: whether it completes what arrives.
        origin: `simulated`, or the file that it was measured in.
    """

    rate: float
    measures: Mapping[str, float]
    output_tokens_per_second: float
    total_tokens_per_second: float
    keeps_up: bool
    origin: str = "simulated"

    def measure(self, name: str) -> float:
        """A measure, not-a-number where a load test did not report it."""
        return self.measures.get(name, math.nan)

    def missed(self, objectives: Mapping[str, float]) -> tuple[str, ...]:
        """Objectives that it does not meet, each as a sentence."""
        found = [] if self.keeps_up else [f"it completes less than the {self.rate:.2f} requests/s that arrive"]
        for name, most in objectives.items():
            value = self.measures[name]
            if not value <= most:  # also where nothing was measured
                found.append(f"{name} is {value:.4g}, more than {most:g}")
        return tuple(found)


def simulated(
    gpu: "Gpu", model: "Model", args: "EngineArgs", workload: "Workload", rate: float, *, seed: int = 0
) -> Estimate:
    """Simulate one replica at so many requests a second: two minutes, from 300 to 3,000 requests.

    Raises:
        DoesNotFitError: the engine would not start.
        UsageError: no request of the workload fits into its longest context.
    """
    return observed(gpu, model, args, workload, rate, seed=seed)[0]


def observed(
    gpu: "Gpu", model: "Model", args: "EngineArgs", workload: "Workload", rate: float, *, seed: int = 0
) -> tuple[Estimate, float, float, float]:
    """The same, with the means over time of requests waiting and running and of the share of the KV cache in use."""
    from drydock.plan.traffic import shapes
    from drydock.simulator.profile import setup
    from drydock.simulator.simulation import simulate
    from drydock.simulator.workload import Workload as Offered

    chosen = setup(gpu, model, args)
    count = round(min(max(rate * _SECONDS, _FEWEST), _MOST))
    caching = args.enable_prefix_caching
    drawn = shapes(workload, count, rate=rate, block_size=args.block_size, prefix_caching=caching, seed=seed)
    fitting = tuple(
        request for request in drawn if request.input_tokens + request.output_tokens <= chosen.max_model_len
    )
    if not fitting:
        raise UsageError(
            f"no request of {workload.name} fits into a context of {chosen.max_model_len} tokens",
            remedy="Raise --max-model-len in --engine-args, or take another workload.",
        )
    refused = 1 - len(fitting) / len(drawn)
    served = rate * (1 - refused)
    duration = len(fitting) / served
    offered = Offered(rate=served, duration=duration, requests=len(fitting), shapes=fitting, seed=seed)
    waiting = running = used = 0.0

    def observe(engine: "Engine", outcome: "Outcome") -> None:
        nonlocal waiting, running, used
        if outcome.end > duration:
            return
        step = outcome.end - outcome.start
        waiting += step * len(engine.waiting)
        running += step * len(engine.running)
        used += step * engine.pool.used

    run = simulate(chosen.profile.coefficients, chosen.limits, offered, observe)
    held = used / chosen.limits.blocks
    return _estimate(run, rate, refused, duration), waiting / duration, running / duration, held / duration


def _estimate(run: "Run", rate: float, refused: float, duration: float) -> Estimate:
    import numpy as np

    sent, first, end, prompt, output, _ = np.array(run.table).reshape(-1, 6).T
    later = sent >= _WARM_UP * duration
    many = later & (output > 1)
    measures = {"error_rate": refused}
    times = {"ttft": (first - sent)[later], "e2e": (end - sent)[later]}
    times["tpot"] = (end - first)[many] / (output[many] - 1)
    for name, values in times.items():
        measures |= measures_of(name, values)
    if run.gaps:
        measures |= measures_of("itl", *np.array(run.gaps).reshape(-1, 2).T)
    served = len(sent) / duration
    return Estimate(
        rate=rate,
        measures=measures,
        output_tokens_per_second=served * float(output.mean()),
        total_tokens_per_second=served * float((output + prompt).mean()),
        keeps_up=keeps_up(sent, end, duration),
    )


def keeps_up(sent: Any, end: Any, duration: float) -> bool:
    """Whether about as many requests ended in the second half of the `duration` (s) as were sent in it."""
    half = duration / 2
    arrived = int((sent >= half).sum())
    ended = int(((end >= half) & (end <= duration)).sum())
    return ended >= _KEEPS_UP * arrived - math.sqrt(arrived)


def measures_of(name: str, seconds: Any, weights: Any = None) -> dict[str, float]:
    """Mean and percentiles, ms; not-a-number when there is nothing to measure.

    Percentiles are linear between two values as in a load test, and with weights, of which there are many, the value
    that reaches the percentile.
    """
    import numpy as np

    if not seconds.size:
        return {f"{name}_{kind}_ms": math.nan for kind in ("mean", *(f"p{percentile}" for percentile in PERCENTILES))}
    method: Any = "linear" if weights is None else "inverted_cdf"
    values = 1e3 * np.percentile(seconds, PERCENTILES, weights=weights, method=method)
    found = {f"{name}_mean_ms": 1e3 * float(np.average(seconds, weights=weights))}
    return found | {f"{name}_p{each}_ms": float(value) for each, value in zip(PERCENTILES, values, strict=True)}
