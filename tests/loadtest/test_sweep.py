"""Sweeps, repetitions, the baseline, the server's own metrics, and the page; against the simulator over HTTP."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from click.testing import CliRunner, Result

import drydock
from drydock.cli import drydock as program
from drydock.errors import UsageError
from drydock.json_schemas import validate
from drydock.loadtest import generator
from drydock.loadtest.loads import impossible
from drydock.loadtest.measures import Measures
from drydock.loadtest.page import ticks
from drydock.loadtest.records import Run
from drydock.loadtest.run_files import load_run
from drydock.loadtest.server_metrics import ServerView, read_page
from drydock.loadtest.statistics import compare, intervals
from tests.loadtest.servers import misbehaving_server, simulator

pytestmark = pytest.mark.programs

MODEL = "meta-llama/Llama-3.1-8B-Instruct"
SCHEMA = json.loads((Path(drydock.__file__).parent / "data/loadtest.schema.json").read_text())


@pytest.fixture(autouse=True)
def busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run counts however late this machine lets it send and read: that is not what is tested here."""

    def counted(folder: Path) -> Run:
        run = load_run(folder)
        return replace(run, health=replace(run.health, valid=True, reasons=()))

    monkeypatch.setattr(generator, "load_run", counted)


@pytest.fixture(scope="module")
def narrow() -> Iterator[str]:
    """A server that handles one request at a time; its first is over."""
    with simulator("--max-num-seqs", "1") as url:
        loadtest(url, "--rate", "5", "--arrival", "constant", "--duration", "0.4")
        yield url


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("prompts") / "short.jsonl"
    file.write_text('{"prompt": "How deep is the dock?", "output_tokens": 24}\n')
    return str(file)


def loadtest(url: str, *more: str) -> Result:
    return CliRunner().invoke(program, ["loadtest", url, "--model", MODEL, *more])


def told(done: Result) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(done.stdout)
    validate(found, SCHEMA)
    return found


class Page(HTMLParser):
    """Headings and what would be fetched."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.fetched: list[str] = []
        self.lines = 0
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.lines += tag == "polyline"
        self.fetched += [str(value) for name, value in attributes if name in ("src", "href")]
        self.fetched += ["script"] * (tag == "script")

    def handle_data(self, data: str) -> None:
        if self._inside == "h2" and data.strip():
            self.headings.append(data.strip())


def test_a_sweep_tells_where_the_server_saturates_and_draws_it(narrow: str, prompts: str, tmp_path: Path) -> None:
    done = loadtest(
        narrow, "--rates", "2,25", "--arrival", "constant", "--dataset", prompts, "--warm-up", "0.5", "--duration", "2",
        "--objective", "error_rate=0.1", "--json", "-o", str(tmp_path),
    )  # fmt: skip
    assert done.exit_code == 0, done.stdout
    found = told(done)
    assert [run["load"]["rate"] for run in found["runs"]] == [2, 25]
    assert found["sweep"]["highest_met"] == 2
    assert found["sweep"]["lowest_missed"] == 25
    assert found["sweep"]["saturation"] < 20
    # 50 requests, of 24 tokens with 5 ms between them, one after the other
    assert found["runs"][1]["values"]["ttft_p95_ms"] > 2000

    server = found["runs"][1]["server"]
    assert server["summary"]["running_max"] == 1
    assert server["summary"]["waiting_max"] > 5
    assert server["summary"]["queue_mean_ms"] > 100
    assert server["summary"]["ttft_mean_ms"] < found["runs"][1]["values"]["ttft_mean_ms"] * 1.5
    assert len(server["series"]["waiting"]) == len(server["series"]["seconds"]) > 2

    page = Page((tmp_path / "report.html").read_text())
    assert not page.fetched
    assert "Time to first token against rate" in page.headings
    assert any("requests in the server" in each for each in page.headings)
    assert page.lines > 8
    assert (tmp_path / "run-2" / "records.npz").is_file()


def test_the_limit_is_found_between_what_meets_and_what_does_not(narrow: str, prompts: str) -> None:
    done = loadtest(
        narrow, "--find-limit", "--rate", "2", "--arrival", "constant", "--dataset", prompts, "--duration", "1.5",
        "--warm-up", "0.5", "--precision", "0.4", "--objective", "ttft_p95_ms=3000", "--json",
    )  # fmt: skip
    found = told(done)
    assert done.exit_code == 0, done.stdout
    highest, lowest = found["sweep"]["highest_met"], found["sweep"]["lowest_missed"]
    assert 2 <= highest < lowest <= 40
    assert lowest - highest <= 0.4 * lowest
    rates = [run["load"]["rate"] for run in found["runs"]]
    assert rates == sorted(rates)


def test_repetitions_have_confidence_and_a_baseline_is_compared(narrow: str, prompts: str, tmp_path: Path) -> None:
    common = ("--rate", "3", "--arrival", "constant", "--dataset", prompts, "--duration", "1", "--repetitions", "3")
    before = loadtest(narrow, *common, "--json", "-o", str(tmp_path))
    assert before.exit_code == 0, before.stdout
    found = told(before)
    spread = found["confidence"]["tpot_p50_ms"]
    assert spread["low"] <= spread["mean"] <= spread["high"]

    doctored = json.loads((tmp_path / "loadtest.json").read_text())
    for number, run in enumerate(doctored["runs"]):
        # so far away that no noise of this machine makes it chance
        run["values"]["completed_rps"] = 1000.0 + number
    (tmp_path / "loadtest.json").write_text(json.dumps(doctored))
    after = loadtest(narrow, *common, "--json", "--baseline", str(tmp_path), "--fail-on-regression")
    assert after.exit_code == 1
    differences = {each["name"]: each for each in told(after)["comparison"]}
    was, now = (fmean(run["values"]["completed_rps"] for run in each["runs"]) for each in (doctored, told(after)))
    assert differences["completed_rps"]["verdict"] == "worse"
    assert differences["completed_rps"]["change"] == pytest.approx(now / was - 1, rel=1e-6)
    assert differences["error_rate"]["verdict"] == "same"
    shown = loadtest(narrow, *common, "--baseline", str(tmp_path))
    assert re.search(r"completed_rps .* worse", shown.stdout)


def test_significance_needs_repetitions_a_large_change_and_little_chance() -> None:
    def verdicts(before: list[float], after: list[float], name: str = "ttft_p95_ms") -> str:
        def runs(values: list[float]) -> list[Mapping[str, float | None]]:
            return [{name: value} for value in values]

        return compare(runs(before), runs(after))[0].verdict

    assert verdicts([100, 101, 99], [130, 131, 129]) == "worse"
    assert verdicts([130, 131, 129], [100, 101, 99]) == "better"
    assert verdicts([100, 101, 99], [130, 131, 129], "completed_rps") == "better"
    assert verdicts([100, 100.1, 99.9], [105, 105.1, 104.9]) == "same", "restarts alone move more"
    assert verdicts([50, 150, 100], [60, 200, 110]) == "same", "chance"
    assert verdicts([100], [200]) == "unknown"
    assert intervals([{"a": 1.0}]) == {}
    found = intervals([{"a": 1.0, "b": None}, {"a": 3.0, "b": 1.0}])
    assert list(found) == ["a"]
    assert found["a"].mean == 2
    assert found["a"].high == pytest.approx(2 + 12.706, abs=0.01), "Student's t with one degree of freedom"


def test_a_server_without_metrics_is_no_error() -> None:
    with misbehaving_server() as url:
        done = CliRunner().invoke(
            program,
            [
                "loadtest",
                url,
                "--model",
                "serial",
                "--rate",
                "4",
                "--arrival",
                "constant",
                "--duration",
                "0.5",
                "--json",
            ],
        )
    (run,) = told(done)["runs"]
    assert run["server"] is None
    assert run["ok"]


def test_quantiles_of_the_server_are_those_of_prometheus() -> None:
    def page(counts: tuple[int, int, int], total: float) -> str:
        name = "vllm:time_to_first_token_seconds"
        bounds = zip(("0.1", "0.5", "+Inf"), counts, strict=True)
        lines = [f"# TYPE {name} histogram", *(f'{name}_bucket{{le="{bound}"}} {count}' for bound, count in bounds)]
        return "\n".join([*lines, f"{name}_sum {total}", f"{name}_count {counts[2]}", ""])

    view = ServerView([read_page(page((10, 10, 10), 0.5), 0.0), read_page(page((10, 110, 110), 30.5), 60.0)])
    summary = view.summary()
    assert summary["ttft_mean_ms"] == pytest.approx(300)
    assert summary["ttft_p50_ms"] == pytest.approx(300), "half way through the bucket from 100 to 500 ms"
    assert summary["ttft_p99_ms"] == pytest.approx(496)

    early = ServerView([read_page(page((0, 0, 0), 0), 0.0), read_page(page((90, 100, 100), 2.0), 60.0)]).summary()
    assert early["ttft_mean_ms"] == pytest.approx(20)
    assert early["ttft_p50_ms"] is None, "nothing is known below the first bound"
    assert early["ttft_p50_ms_at_most"] == 100
    assert early["ttft_p95_ms"] == pytest.approx(300)


def test_tokens_faster_than_weights_can_be_read_are_told() -> None:
    def measured(tpot: float) -> Measures:
        return Measures(1, 1, {}, {"tpot_p50_ms": tpot}, {})

    assert impossible(measured(8), "h100", "llama-3.1-8b", 1) == ""
    warning = impossible(measured(3), "h100", "llama-3.1-8b", 1)
    assert "TPOT p50 of 3 ms is impossible" in warning
    assert impossible(measured(3), "h100", "llama-3.1-8b", 2) == ""
    with pytest.raises(UsageError):
        impossible(measured(3), "abacus", "llama-3.1-8b", 1)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--rates", "1,two"),
        ("--rates", "1,2", "--find-limit"),
        ("--rates", "1,2", "--repetitions", "2"),
        ("--trace", "/nowhere"),
        ("--rate", "1", "--baseline", "/nowhere"),
        ("--rate", "1", "--trace", "/nowhere"),
    ],
)
def test_wrong_usage_of_a_sweep_sends_nothing(arguments: tuple[str, ...]) -> None:
    done = loadtest("http://127.0.0.1:1", *arguments)
    assert isinstance(done.exception, UsageError)


def test_ramps_and_traces_are_offered(narrow: str, prompts: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace.txt"
    trace.write_text("0\n0.1\n\n0.2\n")
    run = told(loadtest(narrow, "--trace", str(trace), "--dataset", prompts, "--duration", "1", "--json"))["runs"][0]
    assert (run["requests"], run["load"]["name"]) == (3, "trace")
    ramp = loadtest(narrow, "--rate", "1", "--end-rate", "5", "--dataset", prompts, "--duration", "2", "--json")
    assert told(ramp)["runs"][0]["load"]["name"] == "1 to 5/s"
    trace.write_text("0\nsoon\n")
    wrong = loadtest(narrow, "--trace", str(trace), "--dataset", prompts)
    assert "line 2: 'soon' is not a number" in str(wrong.exception)


def test_ticks_are_round_and_cover_the_axis() -> None:
    assert ticks(23.4) == [0, 5, 10, 15, 20]
    assert ticks(0.9) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
