"""The laws of the engine."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drydock.simulator.blocks import BlockPool
from drydock.simulator.engine import Engine
from drydock.simulator.profile import profiles
from drydock.simulator.requests import CapacityError, EngineRequest, Limits, Outcome
from drydock.simulator.run_statistics import summarize
from drydock.simulator.simulation import simulate
from drydock.simulator.timing import Coefficients, StepTimer
from drydock.simulator.workload import Workload

H200 = profiles()["h200-vllm-0.26"].coefficients
H100 = profiles()["h100-vllm-0.11"].coefficients


def run(
    requests: Sequence[EngineRequest], limits: Limits, coefficients: Coefficients = H200, *, max_steps: int = 1 << 60
) -> tuple[Engine, list[Outcome]]:
    """Everything to its end."""
    engine = Engine(limits, StepTimer(coefficients, limits.max_num_seqs))
    for request in requests:
        engine.submit(request)
    outcomes = []
    while (outcome := engine.advance(max_steps=max_steps)) is not None:
        outcomes.append(outcome)
        assert engine.pool.used <= limits.blocks
        assert len(engine.running) <= limits.max_num_seqs
        assert outcome.prefill + outcome.decodes <= limits.max_num_batched_tokens
    return engine, outcomes


loads = st.lists(
    st.tuples(st.integers(1, 300), st.integers(1, 80), st.floats(0, 0.3)),
    min_size=1,
    max_size=40,
)


def requests_of(load: Sequence[tuple[int, int, float]]) -> list[EngineRequest]:
    now, found = 0.0, []
    for prompt, output, gap in load:
        now += gap
        found.append(EngineRequest(prompt, output, ready=now))
    return found


@settings(max_examples=80, deadline=None)
@given(load=loads, blocks=st.integers(24, 200), seqs=st.integers(1, 40), budget=st.sampled_from([48, 256, 8192]))
@pytest.mark.parametrize("coefficients", [H200, H100], ids=["asynchronous", "synchronous"])
def test_every_request_ends_and_every_block_comes_back(
    coefficients: Coefficients, load: list[tuple[int, int, float]], blocks: int, seqs: int, budget: int
) -> None:
    requests = requests_of(load)
    limits = Limits(blocks, max_num_seqs=seqs, max_num_batched_tokens=budget)
    engine, outcomes = run(requests, limits, coefficients)
    assert all(request.where == "done" and request.generated == request.output for request in requests)
    assert all(request.ready <= request.first <= request.end for request in requests)
    assert engine.pool.used == 0
    assert not engine.busy
    made = sum(outcome.decodes * outcome.steps + len(outcome.first) for outcome in outcomes)
    assert made == sum(request.output for request in requests)


@settings(max_examples=60, deadline=None)
@given(load=loads)
def test_no_preemption_where_all_requests_fit_together(load: list[tuple[int, int, float]]) -> None:
    demand = sum(-(-(prompt + output) // 16) for prompt, output, _ in load)
    engine, _ = run(requests_of(load), Limits(demand))
    assert engine.preemptions == 0


def test_preemption_takes_the_last_running_which_comes_first_again() -> None:
    requests = [EngineRequest(160, 200) for _ in range(3)]
    engine, outcomes = run(requests, Limits(blocks=40))
    assert engine.preemptions > 0
    preempted = [request for outcome in outcomes for request in outcome.preempted]
    assert requests[0] not in preempted
    assert preempted[0] is requests[2]
    ends = [request.end for request in requests]
    assert ends == sorted(ends)


@settings(max_examples=60, deadline=None)
@given(load=loads, blocks=st.integers(24, 400))
@pytest.mark.parametrize("coefficients", [H200, H100], ids=["asynchronous", "synchronous"])
def test_steps_taken_together_end_when_single_steps_do(
    coefficients: Coefficients, load: list[tuple[int, int, float]], blocks: int
) -> None:
    # the power average moves once for several steps, by less than single steps would show
    coefficients = replace(coefficients, power_slope=0.0)
    together, single = requests_of(load), requests_of(load)
    run(together, Limits(blocks), coefficients)
    run(single, Limits(blocks), coefficients, max_steps=1)
    for one, other in zip(together, single, strict=True):
        assert one.first == pytest.approx(other.first, rel=1e-9)
        assert one.end == pytest.approx(other.end, rel=1e-9)


def test_waiting_requests_begin_in_the_order_they_came() -> None:
    requests = [EngineRequest(400, 4) for _ in range(30)]
    run(requests, Limits(1000, max_num_seqs=4, max_num_batched_tokens=512))
    firsts = [request.first for request in requests]
    assert firsts == sorted(firsts)


def test_a_long_prompt_is_prefilled_in_chunks_and_decodes_go_on() -> None:
    short, long = EngineRequest(16, 200), EngineRequest(3000, 2, ready=0.05)
    _, outcomes = run([short, long], Limits(1000, max_num_batched_tokens=512))
    chunks = [outcome for outcome in outcomes if outcome.prefill and outcome.start >= 0.05]
    assert len(chunks) == 6
    assert all(chunk.decodes == 1 for chunk in chunks)
    assert [chunk.prefill for chunk in chunks[:5]] == [511] * 5


def test_without_chunks_a_prompt_waits_for_a_step_that_takes_it_whole() -> None:
    requests = [EngineRequest(400, 2) for _ in range(3)]
    _, outcomes = run(requests, Limits(1000, max_num_batched_tokens=1000, chunked_prefill=False))
    assert [outcome.prefill for outcome in outcomes if outcome.prefill] == [800, 400]


def test_a_known_prefix_is_not_computed_again() -> None:
    hashes = tuple(range(20))
    first, second = EngineRequest(328, 4, hashes=hashes), EngineRequest(328, 4, hashes=hashes, ready=1.0)
    engine, outcomes = run([first, second], Limits(1000))
    assert (first.cached, second.cached) == (0, 320)
    assert sum(outcome.prefill for outcome in outcomes) == 328 + 8
    assert second.first - second.ready < first.first - first.ready
    assert engine.cached_tokens == 320


def test_cached_prefixes_give_way_to_new_requests() -> None:
    requests = [
        EngineRequest(160, 4, hashes=tuple(range(start, start + 10)), ready=start / 10) for start in range(0, 400, 10)
    ]
    again = EngineRequest(168, 4, hashes=tuple(range(10)), ready=100.0)
    latest = EngineRequest(168, 4, hashes=tuple(range(390, 400)), ready=101.0)
    run([*requests, again, latest], Limits(64))
    assert again.cached == 0
    assert latest.cached == 160


def test_only_so_many_adapters_run_at_once() -> None:
    requests = [EngineRequest(64, 50, lora=name) for name in ("a", "b", "a", "b")]
    run(requests, Limits(1000, max_loras=1))
    a, b = requests[0::2], requests[1::2]
    assert max(request.end for request in a) <= min(request.first for request in b)


def test_a_request_larger_than_the_cache_is_refused() -> None:
    engine = Engine(Limits(10), StepTimer(H200))
    with pytest.raises(CapacityError, match="needs 19 KV-cache blocks, the engine has 10"):
        engine.submit(EngineRequest(200, 100))


@pytest.mark.parametrize("steps", [0, 1, 5])
def test_an_aborted_request_leaves_nothing_behind(steps: int) -> None:
    engine = Engine(Limits(100, max_num_batched_tokens=128), StepTimer(H200))
    gone, kept = EngineRequest(300, 50), EngineRequest(64, 50)
    engine.submit(gone)
    engine.submit(kept)
    for _ in range(steps):
        engine.advance(max_steps=1)
    engine.abort(gone)
    while engine.advance() is not None:
        pass
    assert kept.generated == 50
    assert gone.end < 0
    assert engine.pool.used == 0


def test_little_law_holds_for_what_the_scheduler_shows() -> None:
    waited = [0.0]

    def observe(engine: Engine, outcome: Outcome) -> None:
        waited[0] += (outcome.end - outcome.start) * (len(engine.running) + len(engine.waiting))

    workload = Workload(rate=40, duration=120, input_tokens=512, output_tokens=128)
    result = simulate(H200, Limits(56000), workload, observe)
    summary = summarize(result, blocks=56000, rate=40, duration=120)
    number = waited[0] / summary.duration_seconds
    assert number == pytest.approx(summary.completed_rps * summary.e2e_ms.mean / 1e3, rel=0.03)


def test_less_than_four_percent_of_the_cache_is_wasted_in_last_blocks() -> None:
    held, blocks = [0], [0]

    def observe(engine: Engine, _: Outcome) -> None:
        held[0] += engine.tokens_held
        blocks[0] += engine.pool.used

    coefficients = replace(H200, asynchronous=False)
    workload = Workload(rate=30, duration=60, input_tokens=210, output_tokens=160, spread=0.1)
    simulate(coefficients, Limits(56000), workload, observe)
    wasted = 1 - held[0] / (blocks[0] * 16)
    assert 0.01 < wasted < 0.04


def test_a_pool_never_gives_more_than_it_has() -> None:
    pool = BlockPool(4, 16)
    pool.take(3)
    with pytest.raises(ValueError, match="2 blocks wanted, 1 free"):
        pool.take(2)
    pool.release(3)
    assert pool.free == 4
