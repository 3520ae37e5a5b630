"""The verb, its measures and objectives, against real servers over HTTP."""

import csv
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import drydock
from drydock.cli import drydock as program
from drydock.errors import DrydockError, UsageError
from drydock.json_schemas import validate
from drydock.loadtest.judgement import passed, verdict
from drydock.loadtest.load_test import LoadTestRequest, Rates, Repetitions, run_load_test
from drydock.loadtest.measures import measure, times
from drydock.loadtest.run_files import load_run
from drydock.loadtest.settings import Closed, LoadPlan, Stage, Target, Workload
from drydock.suite.objectives import Objectives, objectives, read_objectives
from tests.loadtest.servers import misbehaving_server, requests_seen, simulator

pytestmark = pytest.mark.programs

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
SCHEMA = json.loads((Path(drydock.__file__).parent / "data/loadtest.schema.json").read_text())


@pytest.fixture(scope="module")
def bad() -> Iterator[str]:
    with misbehaving_server() as url:
        yield url


def loadtest(url: str, model: str, *more: str) -> Result:
    return CliRunner().invoke(program, ["loadtest", url, "--model", model, *more])


def told(done: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    validate(found, SCHEMA)
    return found


def test_a_run_is_measured_written_and_judged(tmp_path: Path) -> None:
    with simulator() as url:
        done = loadtest(
            url, MODEL, "--rate", "8", "--duration", "2", "--warm-up", "0.5", "--objective", "ttft_p95_ms=0.001",
            "--objective", "ttft_ms=60000", "--objective", "goodput=0.9", "--json", "-o", str(tmp_path),
        )  # fmt: skip
    assert done.exit_code == 1
    found = told(done)
    assert [miss["name"] for miss in found["missed"]] == ["ttft_p95_ms"]
    assert [(each["name"], each["text"]) for each in found["met"]] == [
        ("goodput", "goodput is 1, at least 0.9 is asked")
    ]
    assert json.loads((tmp_path / "loadtest.json").read_text()) == found
    run = load_run(tmp_path / "run-1")
    with (tmp_path / "requests.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(run.records)
    assert found["runs"][0]["requests"] == sum(row["warm_up"] == "0" for row in rows) < len(rows)
    assert found["runs"][0]["values"]["goodput"] == 1
    each = times(run.records)
    for row in range(len(run.records)):
        gaps = 1e3 * np.diff(run.records.times_of(row)).sum()
        assert each["ttft"][row] + gaps == pytest.approx(each["e2e"][row])


def test_a_chunk_is_not_a_token(bad: str) -> None:
    found = told(loadtest(bad, "two-tokens-a-chunk", "--rate", "10", "--duration", "0.5", "--json"))["runs"][0]
    assert found["values"]["chunks_per_token"] == 0.5
    assert found["values"]["itl_p99_ms"] is None
    assert "0.500 chunks/token" in found["reasons"]["itl"]
    assert found["values"]["tpot_p50_ms"] > 0


def test_errors_are_counted_by_kind(bad: str) -> None:
    done = loadtest(bad, "status-429", "--rate", "10", "--arrival", "constant", "--duration", "0.5", "--json")
    assert done.exit_code == 1
    (run,) = told(done)["runs"]
    assert run["errors"] == {"http 429": 5}
    assert run["said"] == {"http 429": "slow down"}
    assert run["values"]["error_rate"] == 1
    assert run["values"]["ttft_p50_ms"] is None


@pytest.mark.parametrize(
    ("place", "model", "status", "messages"),
    [
        ("", "status-404", 2, ("has no model status-404: http 404, 'no status-404'", "Its models: ok")),
        ("/nothing", "ok", 2, ("/nothing/v1/chat/completions does not exist", "http://host:8000/v1")),
        ("/page", "ok", 2, ("/page/v1/chat/completions does not exist", "http://host:8000/v1")),
        ("/moved", "ok", 2, ("redirects to https://elsewhere.example/v1/models", "Give the URL")),
        ("/locked", "ok", 2, ("refused the API key: http 403, 'the key *** is not known'", "--api-key-file")),
    ],
)
def test_a_wrong_endpoint_is_told_before_the_load(
    bad: str, place: str, model: str, status: int, messages: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_KEY", "secret-key")
    done = loadtest(bad + place, model, "--concurrency", "1", "--api-key-env", "OUR_KEY")
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_status == status
    for message in messages:
        assert message in str(done.exception)


def test_a_key_that_is_missing_is_asked_for(bad: str) -> None:
    done = loadtest(f"{bad}/locked", "ok", "--concurrency", "1")
    assert isinstance(done.exception, UsageError)
    assert "wants an API key" in str(done.exception)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_nobody_who_answers_is_told_before_the_load(scheme: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        done = loadtest(f"{scheme}://127.0.0.1:{taken.getsockname()[1]}/v1", "ok", "--concurrency", "1")
    assert isinstance(done.exception, DrydockError)
    assert done.exception.exit_status == 1
    assert "no server answers" in str(done.exception)
    assert "Connection refused" in str(done.exception)


def test_what_vllm_refuses_is_told_before_the_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", "wrong")
    with simulator("--api-key", "right") as url:
        without_key = loadtest(url, MODEL, "--concurrency", "1")
        wrong_key = loadtest(url, MODEL, "--concurrency", "1", "--api-key-env", "OUR_KEY")
        monkeypatch.setenv("OUR_KEY", "right")
        wrong_model = loadtest(url, "llama", "--concurrency", "1", "--api-key-env", "OUR_KEY")
        encrypted = loadtest(url.replace("http:", "https:"), MODEL, "--concurrency", "1")
    assert "wants an API key: http 401" in str(without_key.exception)
    assert "refused the API key: http 401" in str(wrong_key.exception)
    assert f"Its models: {MODEL}" in str(wrong_model.exception)
    assert "https or http" in str(encrypted.exception)


def test_a_good_endpoint_is_asked_for_nothing_but_its_models(bad: str) -> None:
    before = len(requests_seen(bad))
    done = loadtest(bad, "ok", "--rate", "10", "--arrival", "constant", "--duration", "0.5", "--json")
    assert told(done)["runs"][0]["ok"] == len(requests_seen(bad)) - before == 5


def test_a_server_that_only_fails_is_loaded_all_the_same(bad: str) -> None:
    done = loadtest(f"{bad}/broken", "ok", "--rate", "10", "--arrival", "constant", "--duration", "0.5", "--json")
    assert told(done)["runs"][0]["errors"] == {"http 502": 5}


def test_a_client_that_fails_waits_longer_each_time(bad: str) -> None:
    before = len(requests_seen(bad))
    done = loadtest(f"{bad}", "status-500", "--concurrency", "2", "--duration", "3", "--json")
    # each sends at 0, 0.1, 0.3, 0.7 and 1.5 s, on a slow machine later, never sooner
    failed = told(done)["runs"][0]["errors"]["http 500"]
    assert 2 <= failed <= 10
    # one more asked before the load whether there is such a model
    assert len(requests_seen(bad)) - before == failed + 1


def test_tokens_that_were_not_told_are_not_counted_as_none(bad: str, tmp_path: Path) -> None:
    done = loadtest(bad, "no-usage", "--rate", "10", "--duration", "0.5", "--json", "-o", str(tmp_path))
    (run,) = told(done)["runs"]
    assert run["ok"] > 0
    assert run["values"]["output_tokens_per_second"] is None
    assert run["values"]["total_tokens_per_second"] is None
    assert run["reasons"]["tokens a second"] == f"the server reported no usage for {run['ok']} answers"
    with (tmp_path / "loads.csv").open() as stream:
        (load,) = csv.DictReader(stream)
    assert (load["input_tokens"], load["output_tokens"]) == ("", "")


EVERY = ("ttft_p95_ms=60000", "tpot_p95_ms=60000", "itl_p99_ms=60000", "e2e_p99_ms=60000", "error_rate=1", "goodput=0")
LOOSE = [
    text
    for name in (*EVERY, "ttft_ms=60000", "completed_rps=0", "output_tokens_per_second=0")
    for text in ("--objective", name)
]
"""Objectives that anything meets which is known at all."""


@pytest.mark.parametrize(
    ("model", "kind", "words"),
    [
        ("empty", "empty", "data: [DONE]"),
        ("all-hidden", "tokens not sent", "completion_tokens"),
        ("no-finish-reason", "ended early", "no finish_reason"),
        ("aborted", "ended early", "finish_reason abort"),
    ],
)
def test_no_objective_is_met_by_answers_that_nobody_got(
    bad: str, model: str, kind: str, words: str, tmp_path: Path
) -> None:
    load = ("--rate", "10", "--arrival", "constant", "--duration", "0.5")
    done = loadtest(bad, model, *load, *LOOSE, "--json", "-o", str(tmp_path))
    assert done.exit_code == 1
    found = told(done)
    assert found["met"] == []
    (run,) = found["runs"]
    assert run["errors"] == {kind: 5}
    assert words in run["said"][kind]
    assert run["meanings"][kind]
    with (tmp_path / "requests.csv").open() as stream:
        rows = {(row["outcome"], row["meaning"]) for row in csv.DictReader(stream)}
    assert rows == {(kind, run["meanings"][kind])}
    page = (tmp_path / "report.html").read_text()
    assert f"<td>{kind}</td>" in page
    assert run["meanings"][kind] in page


def test_answers_in_one_piece_that_are_empty_fail(bad: str) -> None:
    load = ("--rate", "10", "--arrival", "constant", "--duration", "0.5")
    done = loadtest(bad, "empty", "--no-stream", *load, *LOOSE, "--json")
    assert done.exit_code == 1
    (run,) = told(done)["runs"]
    assert list(run["errors"]) == ["empty"]


def test_a_percentile_is_not_met_by_the_few_that_were_answered(bad: str) -> None:
    load = ("--rate", "20", "--arrival", "constant", "--duration", "1", "--json")
    done = loadtest(bad, "mostly-empty", *load, "--objective", "ttft_p95_ms=60000", "--objective", "error_rate=1")
    found = told(done)
    assert done.exit_code == 1
    assert [each["name"] for each in found["met"]] == ["error_rate"]
    (miss,) = found["missed"]
    assert miss["text"] == "ttft_p95_ms is not known: 18 of 20 requests failed (objective 60000)"

    without = loadtest(bad, "mostly-empty", *load)
    assert without.exit_code == 1
    (miss,) = told(without)["missed"]
    assert miss["text"] == "error_rate is 0.9, more than 0.01, by 8900.0% (default)"


@pytest.mark.parametrize(("model", "way"), [("buffered", "one piece"), ("in-bursts", "bursts")])
def test_a_stream_that_was_held_back_has_no_time_between_tokens(bad: str, model: str, way: str, tmp_path: Path) -> None:
    load = ("--rate", "5", "--arrival", "constant", "--duration", "1", "-o", str(tmp_path))
    done = loadtest(bad, model, *load, *LOOSE, "--objective", "tpot_ms=60000", "--json")
    assert done.exit_code == 1
    found = told(done)
    (run,) = found["runs"]
    assert run["deliveries"] == {way: 5}
    assert run["meanings"][way]
    values = run["values"]
    assert [values[name] for name in ("tpot_p50_ms", "tpot_mean_ms", "itl_p50_ms", "itl_p99_ms")] == [None] * 4
    assert f"5 came in {way}" in run["reasons"]["tpot"]
    assert {each["name"] for each in found["missed"]} >= {"tpot_p95_ms", "itl_p99_ms"}
    assert "came in" in next(each["text"] for each in found["missed"] if each["name"] == "itl_p99_ms")
    assert values["goodput"] == 0
    assert any("5 of 5 answers came" in note for note in found["notes"])
    if way == "one piece":
        assert values["ttft_p50_ms"] == pytest.approx(values["e2e_p50_ms"], abs=20)
    with (tmp_path / "requests.csv").open() as stream:
        assert {row["delivery"] for row in csv.DictReader(stream)} == {way}
    assert f"<td>{way}</td>" in (tmp_path / "report.html").read_text()


@pytest.mark.parametrize(
    ("model", "way"), [("hidden-reasoning", "hidden tokens"), ("five-tokens-a-chunk", "several tokens")]
)
def test_time_per_token_is_of_the_tokens_that_came_after_the_first_event(bad: str, model: str, way: str) -> None:
    done = loadtest(bad, model, "--rate", "5", "--arrival", "constant", "--duration", "1", "--json")
    found = told(done)
    assert not found["missed"]
    (run,) = found["runs"]
    assert run["deliveries"] == {way: 5}
    # a token each 10 ms, later on a busy machine and never sooner
    assert 9.9 <= run["values"]["tpot_p50_ms"] < 50
    if way == "hidden tokens":
        assert run["values"]["itl_p50_ms"] >= 9.9
        assert run["values"]["chunks_per_token"] == 1
    tokens = 100 if way == "hidden tokens" else 50
    assert any(
        "5 of 5 answers were shorter than asked for" in note and f" {tokens} tokens in place of 128" in note
        for note in found["notes"]
    )


def test_a_load_test_is_called_from_python(bad: str, tmp_path: Path) -> None:
    plan = LoadPlan(Target(bad, model="ok"), Workload("short"), Stage(Closed(2), 600, max_conversations=4))
    request = LoadTestRequest(plan=plan, loads=Repetitions(2), objectives=Objectives({"e2e_p95_ms": 1e-4}))
    tested = run_load_test(request)
    validate(tested.document, SCHEMA)
    assert [load.measures.ok > 0 for load in tested.loads] == [True, True]
    assert (tested.passed, [missed["name"] for missed in tested.document["missed"]]) == (False, ["e2e_p95_ms"] * 2)
    with pytest.raises(UsageError, match="not a sweep"):
        run_load_test(replace(request, loads=Rates((1.0, 2.0)), baseline=tmp_path))
    with pytest.raises(UsageError, match="above 0"):
        Rates((1.0, 0.0))


def test_a_stall_at_the_start_is_reported(bad: str) -> None:
    load = ("--rate", "4", "--arrival", "constant", "--duration", "7")
    notes = told(loadtest(bad, "stalls-at-first", *load, "--json"))["notes"]
    (note,) = [note for note in notes if "nothing came" in note]
    assert re.search(r"nothing came for \d+\.\d s from \d+\.\d s on, with requests under way", note)
    assert "--warm-up" in note


@pytest.mark.parametrize("key", ["ключ", "two\nlines", "two words"])
def test_a_key_that_no_header_can_hold_is_told(bad: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUR_KEY", key)
    done = loadtest(bad, "ok", "--concurrency", "1", "--api-key-env", "OUR_KEY")
    assert isinstance(done.exception, UsageError)
    assert "OUR_KEY" in str(done.exception)
    assert key not in str(done.exception)


def test_a_serial_server_is_not_flattered(bad: str) -> None:
    done = loadtest(bad, "serial", "--rate", "10", "--arrival", "constant", "--duration", "0.8", "--json")
    values = told(done)["runs"][0]["values"]
    taken = [each["seconds"] for each in requests_seen(bad) if "seconds" in each][-8:]
    # request i is due at i / 10 s, and served when those before it are
    true = 1e3 * (np.cumsum(taken) - 0.1 * np.arange(8))
    assert true.mean() <= values["ttft_mean_ms"] <= true.mean() + 5000
    assert np.percentile(true, 99) <= values["ttft_p99_ms"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no objectives"),
        ("ttft_p96_ms: 5", "ttft_p96_ms: unknown objective"),
        ("ttft_p95_ms: fast", "ttft_p95_ms: must be a number"),
        ("error_rate: 5", "error_rate is a share"),
        ("goodput: 0.9", "what a good request is"),
        ("a: [", "cannot read the objectives"),
    ],
)
def test_a_wrong_file_of_objectives_is_told(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_objectives(file)
    assert str(file) in str(caught.value)


def test_what_was_not_measured_is_missed(bad: str, tmp_path: Path) -> None:
    loadtest(bad, "status-500", "--rate", "10", "--duration", "0.5", "-o", str(tmp_path))
    run = load_run(tmp_path / "run-1")
    (miss, _) = objectives({"e2e_p99_ms": 5}, "here").judged(measure(run))
    assert not miss.met
    assert str(miss) == "e2e_p99_ms is not known: no request succeeded (objective 5)"


def test_each_objective_is_told_beside_its_value(bad: str, tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text("e2e_p99_ms: 600000\nerror_rate: 0\n")
    load = ("--rate", "10", "--arrival", "constant", "--duration", "0.5", "-o", str(tmp_path))
    met = loadtest(bad, "ok", *load, "--objectives", str(file))
    page = (tmp_path / "report.html").read_text()
    lines = met.stdout.splitlines()
    assert "MET    error_rate is 0, at most 0 is asked" in lines
    assert any(re.fullmatch(r"MET    e2e_p99_ms is [\d.]+, at most 600000 is asked", line) for line in lines)
    assert "MISSED" not in met.stdout
    assert "error_rate is 0, at most 0 is asked" in page

    missed = loadtest(bad, "status-500", *load, "--objective", "error_rate=0.5", "--objective", "completed_rps=0")
    page = (tmp_path / "report.html").read_text()
    nothing = "no request succeeded (objective"
    for text in (f"error_rate is 1: {nothing} 0.5)", f"completed_rps is 0: {nothing} 0)"):
        assert text in missed.stdout
        assert text in page
    assert "  http 500: 'broken'" in missed.stdout.splitlines()
    assert "<td>http 500</td><td>5</td>" in page
    assert '<td class="prose">broken</td>' in page
    assert missed.exit_code == 1


def test_an_interrupted_load_keeps_what_it_has_and_ends_with_130(tmp_path: Path) -> None:
    where = ("--model", MODEL, "--concurrency", "1", "--duration", "300", "--repetitions", "2")
    with simulator() as url:
        load = [sys.executable, "-m", "drydock", "loadtest", url, *where, "--json", "-o", str(tmp_path)]
        with subprocess.Popen(load, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stderr
            next(line for line in running.stderr if "in flight" in line)
            running.send_signal(signal.SIGTERM)
            printed, _ = running.communicate(timeout=120)
    assert running.returncode == 130
    found = json.loads(printed)
    validate(found, SCHEMA)
    assert (found["complete"], found["interrupted"], len(found["runs"])) == (False, True, 1)
    assert verdict(found) == "Incomplete: it was interrupted"
    assert load_run(tmp_path / "run-1").interrupted


@pytest.mark.parametrize(
    ("changed", "said", "well"),
    [
        ({}, "No objectives were given", True),
        ({"met": [{}]}, "Meets all of 1 objective", True),
        ({"met": [{}], "missed": [{}, {}]}, "Misses 2 objectives, meets 1 objective", False),
        ({"met": [{}], "complete": False}, "Incomplete", False),
        ({"met": [{}], "valid": False}, "Does not count", False),
        ({"met": [{}], "runs": [{"ok": 1, "requests": 1}, {"ok": 0, "requests": 1}]}, "No request succeeded", False),
        ({"runs": [{"ok": 0, "requests": 0}]}, "No request was due after the warm-up", False),
        ({"missed": [{}], "sweep": {"highest_met": 4.0, "lowest_missed": 8}}, "Meets the objectives up to 4/s", True),
        ({"missed": [{}], "sweep": {"highest_met": None, "lowest_missed": 8}}, "None of these rates", False),
    ],
)
def test_a_result_ends_with_its_verdict(changed: dict[str, Any], said: str, well: bool) -> None:
    runs = [{"ok": 1, "requests": 1, "valid": True, "load": {"rate": 1.0}}]
    result = {"complete": True, "valid": True, "met": [], "missed": [], "runs": runs, "sweep": None, **changed}
    assert verdict(result).startswith(said)
    assert passed(result) is well


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ({"valid": False, "ok": 1}, "Meets the objectives up to 4/s; the load at 8/s does not count"),
        ({"valid": True, "ok": 0}, "Meets the objectives up to 4/s; the load at 8/s does not count"),
        ({"valid": True, "ok": 1}, "Meets the objectives up to 4/s"),
    ],
)
def test_a_search_that_ended_at_a_load_that_does_not_count_says_so(run: dict[str, Any], said: str) -> None:
    met = {"load": {"rate": 4.0}, "valid": True, "ok": 3}
    sweep = {"highest_met": 4.0, "lowest_missed": 8.0}
    result = {"complete": True, "sweep": sweep, "runs": [met, {"load": {"rate": 8.0}, **run}], "met": [], "missed": []}
    assert verdict(result) == said


@pytest.mark.parametrize(
    "arguments",
    [
        ("nowhere", "--model", "m", "--rate", "1"),
        ("http://x", "--model", "m"),
        ("http://x", "--model", "m", "--rate", "1", "--concurrency", "1"),
        ("http://x", "--model", "m", "--rate", "1", "--objective", "ttft_p95_ms"),
        ("http://x", "--model", "m", "--rate", "1", "--api-key-env", "NO_SUCH_VARIABLE"),
        ("http://x", "--model", "m", "--rate", "1", "--dataset", "/nowhere.jsonl"),
        ("http://x", "--model", "m", "--rate", "1", "--environment", "airgap"),
    ],
)
def test_wrong_usage_sends_nothing(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(program, ["loadtest", *arguments])
    assert isinstance(done.exception, UsageError)
    assert done.exception.exit_status == 2


def test_requests_fit_an_endpoint_of_another_kind_and_secrets_stay_secret(
    bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_TOKEN", "hush-variable")
    monkeypatch.setenv("OUR_KEY", "hush-key")
    (tmp_path / "secret").write_text("hush-file\n")
    before = len(requests_seen(bad))
    done = loadtest(
        f"{bad}?tenant=dock", "ok", "--api", "azure", "--api-key-env", "OUR_KEY", "--header", "X-Team=ships",
        "--header-env", "X-Token=OUR_TOKEN", "--query-file", f"sig={tmp_path / 'secret'}", "--body", "temperature=0",
        "--rename-field", "max_tokens=max_completion_tokens", "--rate", "10", "--arrival", "constant",
        "--duration", "0.5", "--json", "-o", str(tmp_path / "result"),
    )  # fmt: skip
    assert told(done)["runs"][0]["ok"] == 5
    seen = requests_seen(bad)[before:]
    for each in seen:
        path, _, query = each["path"].partition("?")
        assert path == "/openai/deployments/ok/chat/completions"
        assert set(query.split("&")) == {"api-version=2024-10-21", "sig=hush-file", "tenant=dock"}
        assert (each["api-key"], each["x-token"], each["x-team"]) == ("hush-key", "hush-variable", "ships")
        assert "authorization" not in each
        assert each["body"]["temperature"] == 0
        assert each["body"]["max_completion_tokens"] > 0
        assert not {"ignore_eos", "max_tokens"} & each["body"].keys()
    written = "".join(file.read_text(errors="replace") for file in (tmp_path / "result").rglob("*.*") if file.is_file())
    assert "hush" not in done.output + written


def test_answers_longer_than_the_load_are_counted_until_their_end(bad: str) -> None:
    done = loadtest(bad, "serial", "--concurrency", "1", "--duration", "0.2", "--json")
    found = told(done)
    (run,) = found["runs"]
    assert run["ok"] == 1
    assert 0 < run["values"]["completed_rps"] <= 2
    assert run["values"]["total_tokens_per_second"] > run["values"]["output_tokens_per_second"] > 0
    assert any("rates count until the last one" in note for note in found["notes"])
