"""How far virtual time runs ahead of the clock: `python -m drydock.simulator.speed`."""

import time
from collections.abc import Iterator

from drydock.engines.catalogue import find_gpu, find_model
from drydock.engines.engine_args import parse_line
from drydock.simulator.profile import setup
from drydock.simulator.simulation import simulate
from drydock.simulator.workload import Workload

_CHAT = {"input_tokens": 204, "output_tokens": 64, "arrival": "poisson"}
CASES = (
    ("h100", "llama-3.1-8b", "--max-num-seqs 128", Workload(rate=92, **_CHAT)),  # type: ignore[arg-type]
    ("h100", "llama-3.1-8b", "--max-num-seqs 128", Workload(rate=150, max_in_flight=440, **_CHAT)),  # type: ignore[arg-type]
    ("h200", "llama-3-8b", "", Workload(rate=15)),
    ("h200", "llama-3-8b", "", Workload(rate=50)),
    ("h200", "llama-3-8b", "", Workload(concurrency=1)),
    ("h200", "llama-3-8b", "", Workload(concurrency=256)),
)


def speeds(repetitions: int = 3) -> Iterator[tuple[str, float]]:
    """For each case its name and the best of some repetitions: virtual seconds a second of processor time."""
    for gpu, model, line, workload in CASES:
        chosen = setup(find_gpu(gpu), find_model(model), parse_line(line))
        best = 0.0
        for _ in range(repetitions):
            began = time.process_time()
            run = simulate(chosen.profile.coefficients, chosen.limits, workload)
            best = max(best, run.virtual_seconds / (time.process_time() - began))
        load = f"rate {workload.rate:g}" if workload.rate else f"concurrency {workload.concurrency}"
        yield f"{gpu} {model} {load}", best


if __name__ == "__main__":
    for name, speed in speeds():
        print(f"{name:36} {speed:10,.0f} x real time")
