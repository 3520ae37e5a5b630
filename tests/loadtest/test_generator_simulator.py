"""The generator against the simulator: loops, turns, processes, and the watch on itself."""

import os
import signal
import threading
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from drydock.errors import DrydockError
from drydock.loadtest.generator import generate
from drydock.loadtest.records import Run, Snapshot
from drydock.loadtest.settings import Arrival, Closed, Constant, Lengths, LoadPlan, Poisson, Stage, Target, Workload
from tests.loadtest.servers import simulator

pytestmark = pytest.mark.programs

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
SMALL = Workload("small", Lengths("fixed", 64), Lengths("fixed", 16))


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with simulator("--enable-prompt-tokens-details") as url:
        yield url


def run(url: str, arrival: Arrival, workload: Workload = SMALL, *, processes: int = 1) -> Run:
    target = Target(f"{url}/v1/", MODEL, "completions" if workload.token_ids else "chat")
    return generate(LoadPlan(target, workload, Stage(arrival, 1.0), processes))


def workers() -> list[psutil.Process]:
    """Of the run that is under way."""
    (node,) = [
        each
        for each in psutil.Process().children()
        if each.status() != psutil.STATUS_ZOMBIE and "drydock.loadtest.node" in each.cmdline()
    ]
    return node.children()


def test_an_open_loop_counts_what_the_server_counts(url: str) -> None:
    seen: list[Snapshot] = []
    plan = LoadPlan(Target(url, MODEL), SMALL, Stage(Poisson(40), 2.0))

    done = generate(plan, on_progress=seen.append)

    records = done.records
    assert records.counts() == {"ok": len(records)}
    assert set(records.output_tokens) == {16}
    assert set(records.chunks) == {16}
    assert len(set(records.prompt_tokens)) == 1
    assert records.prompt_tokens[0] >= 64
    assert [snapshot.seconds for snapshot in seen] == sorted(snapshot.seconds for snapshot in seen)
    assert max(snapshot.sent for snapshot in seen) > 0
    assert done.health.workers[0].cpu_share > 0


def test_a_closed_loop_keeps_so_many_requests_open(url: str) -> None:
    plan = LoadPlan(Target(url, MODEL), SMALL, Stage(Closed(3), 600, max_conversations=12))

    records = generate(plan).records

    assert records.ok.all()
    assert len(records) == 12
    edges = sorted([(time, 1) for time in records.sent] + [(time, -1) for time in records.finished])
    assert max(np.cumsum([step for _, step in edges])) == 3
    assert set(records.session) == set(range(len(records)))


def test_processes_share_the_load_and_send_the_same(url: str) -> None:
    one, two = (run(url, Constant(30), processes=processes) for processes in (1, 2))

    assert set(two.records.worker) == {0, 1}
    assert len(two.health.workers) == 2
    for found in (one, two):
        assert sorted(found.records.session) == list(range(30))
    assert sorted(one.records.intended.round(6)) == sorted(two.records.intended.round(6))


def test_later_turns_are_sent_after_the_answer_and_found_in_the_cache(url: str) -> None:
    workload = Workload("talk", Lengths("fixed", 40), Lengths("fixed", 16), turns=3, think_seconds=0.05)

    plan = LoadPlan(Target(url, MODEL), workload, Stage(Closed(5), 600, max_conversations=5))

    records = generate(plan).records

    assert records.ok.all()
    assert (np.bincount(records.turn) == 5).all()
    for session in range(5):
        rows = records.select(records.session == session)
        order = np.argsort(rows.turn)
        assert rows.intended[order][1:] == pytest.approx(rows.finished[order][:-1] + 0.05)
        assert (np.diff(rows.prompt_tokens[order]) >= 56).all()
        assert (rows.cached_tokens[order][1:] > 0).all()


def test_token_ids_give_exactly_the_length_asked_for(url: str) -> None:
    workload = Workload("ids", Lengths("fixed", 50), Lengths("fixed", 4), token_ids=True, shared_prefix_tokens=10)

    records = run(url, Constant(10), workload).records

    assert set(records.prompt_tokens) == {60}
    assert set(records.output_tokens) == {4}


def test_an_interrupted_run_keeps_what_it_has(url: str) -> None:
    fired: list[float] = []

    def interrupt(snapshot: Snapshot) -> None:
        if snapshot.finished and not fired:
            fired.append(snapshot.seconds)
            os.kill(os.getpid(), signal.SIGINT)

    workload = Workload("long", Lengths("fixed", 10), Lengths("fixed", 100))
    plan = LoadPlan(Target(url, MODEL), workload, Stage(Constant(20), 60))

    done = generate(plan, on_progress=interrupt)

    assert not done.complete
    assert "interrupted" in done.notes[0]
    assert done.records.counts()["ok"] >= 1
    assert done.records.counts()["interrupted"] >= 1
    assert done.records.finished.max() < 30


def test_a_generator_that_stood_still_says_that_its_run_does_not_count(url: str) -> None:
    plan = LoadPlan(Target(url, MODEL), SMALL, Stage(Constant(50), 5.0))
    stopped: list[int] = []

    def stop_worker(snapshot: Snapshot) -> None:
        if not snapshot.finished or stopped:
            return
        worker = workers()[0]
        stopped.append(worker.pid)
        worker.suspend()
        threading.Timer(0.5, worker.resume).start()

    done = generate(plan, on_progress=stop_worker)

    assert stopped
    assert done.complete
    assert not done.health.valid
    assert any("late" in reason for reason in done.health.reasons)
    assert done.health.send_lag_max_seconds > 0.3


def test_a_lost_worker_is_told_and_the_others_rows_are_kept(url: str) -> None:
    plan = LoadPlan(Target(url, MODEL), SMALL, Stage(Constant(20), 5.0), processes=2)
    killed: list[int] = []

    def kill_worker(snapshot: Snapshot) -> None:
        if snapshot.finished and not killed:
            worker = workers()[0]
            killed.append(worker.pid)
            worker.kill()

    done = generate(plan, on_progress=kill_worker)

    assert not done.complete
    assert done.notes == ("1 of 2 workers were lost with what they had recorded",)
    assert 0 < len(done.records) <= 50


def test_an_unknown_host_is_an_error() -> None:
    with pytest.raises(DrydockError, match=r"cannot find nowhere\.invalid"):
        run("http://nowhere.invalid", Constant(5))
