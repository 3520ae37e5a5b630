"""From a load test to a plan: what was measured replaces what would have been simulated."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from drydock.cli import drydock as program
from tests.loadtest.servers import simulator

pytestmark = pytest.mark.programs

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
OBJECTIVE = ("--objective", "ttft_p95_ms=60000")


def drydock(*arguments: str) -> Result:
    return CliRunner().invoke(program, arguments)


def planned(measured: Path, *more: str) -> Any:
    asked = ("llama-3.1-8b", "--gpu", "h100", "--tensor-parallel", "1", "--rate", "18", *OBJECTIVE)
    done = drydock("plan", *asked, "--from-loadtest", str(measured), "--json", *more)
    assert done.exit_code == 0, done.output
    (found,) = json.loads(done.stdout)
    return found["choices"][0]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two rates, with answers so short that a busy machine keeps up."""
    folder = tmp_path_factory.mktemp("result")
    prompts = folder / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": "Say hello.", "output_tokens": 8}))
    with simulator() as url:
        load = ("--rates", "2,4", "--arrival", "constant", "--duration", "3", "--dataset", str(prompts), *OBJECTIVE)
        done = drydock("loadtest", url, "--model", MODEL, *load, "-o", str(folder))
    assert (folder / "loadtest.json").is_file(), done.output
    for file in folder.glob("run-*/run.json"):  # a busy machine makes a run invalid, which is not what is tested
        run = json.loads(file.read_text())
        run["health"] |= {"valid": True, "reasons": []}
        file.write_text(json.dumps(run))
    loads = folder / "loads.csv"
    with loads.open(newline="") as stream:
        rows = [{**row, "valid": "1"} for row in csv.DictReader(stream)]
    with loads.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_a_load_test_sizes_a_plan(result: Path) -> None:
    found = planned(result)
    assert found["replicas"] == 5, "18 requests a second, of which one replica was measured with 4"
    runs = json.loads((result / "loadtest.json").read_text())["runs"]
    measured = runs[1]["values"]["ttft_p95_ms"]
    assert found["measures"]["ttft_p95_ms"] == pytest.approx(measured, abs=0.001)


def test_a_limit_that_was_not_reached_and_another_workload_are_told(result: Path) -> None:
    asked = ("llama-3.1-8b", "--gpu", "h100", "--tensor-parallel", "1", "--rate", "18", *OBJECTIVE)
    done = drydock("plan", *asked, "--from-loadtest", str(result), "--json")
    (found,) = json.loads(done.stdout)
    limit, other = found["cautions"]
    assert "never missed an objective" in limit
    assert "--find-limit" in limit
    assert other == "The load test sent another workload, prompts.jsonl: its figures are not those of chat."


def test_its_files_say_the_same(result: Path) -> None:
    whole = planned(result)
    assert planned(result / "loadtest.json") == whole
    assert planned(result / "loads.csv")["replicas"] == whole["replicas"]
    assert planned(result / "run-1")["replicas"] == 9
