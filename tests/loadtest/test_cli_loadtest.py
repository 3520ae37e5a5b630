"""The verb, its measures and objectives, against real servers over HTTP."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner, Result

import drydock
from drydock.cli import drydock as program
from drydock.errors import UsageError
from drydock.loadtest.measures import measure, times
from drydock.loadtest.objectives import objectives, read_objectives
from drydock.loadtest.results import load_run

from .servers import misbehaving_server, simulator

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
    jsonschema.validate(found, SCHEMA)
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
    assert run["values"]["error_rate"] == 1
    assert run["values"]["ttft_p50_ms"] is None


def test_a_serial_server_is_not_flattered(bad: str) -> None:
    done = loadtest(bad, "serial", "--rate", "10", "--arrival", "constant", "--duration", "0.8", "--json")
    values = told(done)["runs"][0]["values"]
    # request i is due at i / 10 s and served at (i + 1) / 2 s; a good part of 0.1 s is for the machine and the tokens
    assert values["ttft_mean_ms"] == pytest.approx(1900, rel=0.06)
    assert values["ttft_p99_ms"] == pytest.approx(3272, rel=0.06)


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
    (miss,) = objectives({"e2e_p99_ms": 5}, "here").missed(measure(run))
    assert str(miss) == "e2e_p99_ms was not measured (objective 5)"


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
