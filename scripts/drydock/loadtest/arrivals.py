"""When conversations are due in an open loop."""

import numpy as np

from drydock.loadtest.records import Floats
from drydock.loadtest.settings import Closed, Constant, Gamma, Poisson, Ramp, Stage, Trace


def due_times(stage: Stage, seed: int) -> Floats:
    """Seconds from the stage's start, in order, below its `sending_seconds`; none for a closed loop.

    Gaps of `Gamma` have shape b and scale 1 / (rate b), so that their mean is 1 / rate and their coefficient of
    variation 1 / sqrt(b), as in `vllm bench serve`. A ramp's k-th time is where the integral of the rate reaches k.
    """
    end, arrival = stage.sending_seconds, stage.arrival
    match arrival:
        case Closed():
            times = np.empty(0)
        case Constant(rate):
            times = np.arange(int(np.ceil(end * rate))) / rate
        case Poisson(rate):
            times = _random_times(rate, 1.0, end, seed)
        case Gamma(rate, burstiness):
            times = _random_times(rate, burstiness, end, seed)
        case Ramp():
            times = _ramp_times(arrival, end)
        case Trace(recorded):
            times = np.array(recorded)
    return times[times < end][: stage.max_conversations]


def _random_times(rate: float, shape: float, end: float, seed: int) -> Floats:
    random = np.random.default_rng([seed, 1])
    times = np.empty(0)
    last = 0.0
    block = max(16, int(rate * end * 1.2))
    while last < end:
        more = last + np.cumsum(random.gamma(shape, 1 / (rate * shape), block))
        times = np.concatenate([times, more])
        last = float(more[-1])
    return times


def _ramp_times(ramp: Ramp, end: float) -> Floats:
    """Solve start t + (end_rate - start) t² / 2 T = k for t."""
    start, slope = ramp.start_rate, (ramp.end_rate - ramp.start_rate) / end
    counts = np.arange(int((ramp.start_rate + ramp.end_rate) / 2 * end) + 1, dtype=np.float64)
    inside = np.maximum(start**2 + 2 * slope * counts, 0.0)
    root = start + np.sqrt(inside)
    times: Floats = np.divide(2 * counts, root, out=np.zeros_like(counts), where=root > 0)
    return times
