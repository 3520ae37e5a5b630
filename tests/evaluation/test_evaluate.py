"""`drydock evaluate` before a server of OpenAI's API."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.documentation.command_line import call

COUNT = 40


class Api:
    """Answers `What is N?` with N; model `poor` is wrong at every fourth, `broken` has no answer at every tenth."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str | None] = set()
        self.busy_once = {"busy"}
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                api.asked.append({"path": self.path, **body})
                api.keys.add(self.headers.get("Authorization"))
                status, content = api.answer(body)
                raw = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                """The requests are kept."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answer(self, body: dict[str, Any]) -> tuple[int, Any]:
        """Status and content."""
        model, number = body["model"], int(body["messages"][-1]["content"].removeprefix("What is ").rstrip("?"))
        if model == "broken" and number % 10 == 0:
            return 400, {"error": {"message": "context is too long"}}
        if model == "odd":
            contents = ["\ud800", ["a list"], None, "\x00<script>"]
            message = {"message": {"content": contents[number % 4]}} if number % 5 else None
            return 200, [] if number == 7 else {"choices": [message]}
        if model in self.busy_once:
            self.busy_once.remove(model)
            return 429, {}
        text = f"It is {number + (model == 'poor' and number % 4 == 0)}"
        choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return 200, {"choices": [choice], "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    server = Api()
    yield server
    server.server.shutdown()
    server.server.server_close()


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("questions") / "ours.jsonl"
    lines = ({"id": f"q{number}", "prompt": f"What is {number}?", "expected": number} for number in range(COUNT))
    file.write_text("\n".join(json.dumps(line) for line in lines))
    return file


def _evaluate(api: Api, questions: Path, *options: str, model: str = "good") -> tuple[int, str]:
    command = ["evaluate", api.url, "--model", model, "--questions", str(questions), "--score", "number"]
    return call([*command, *options])


def _json(printed: str) -> Any:
    """What was printed after the progress, which goes to stderr."""
    return json.loads(printed[printed.index("{") :])


def test_score_cost_and_latency_of_a_model(
    api: Api, questions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUR_KEY", "sk-ours")
    options = ("--prices", "1/10", "--api-key-env", "OUR_KEY", "--min-score", "0.8", "-o", str(tmp_path))
    status, printed = _evaluate(api, questions, *options, "--seed", "7")
    assert status == 0, printed
    assert "100.0 % of 40" in printed
    assert api.keys == {"Bearer sk-ours"}
    asked = api.asked[-1]
    assert (asked["path"], asked["temperature"], asked["seed"]) == ("/v1/chat/completions", 0.0, 7)
    result = json.loads((tmp_path / "evaluation.json").read_text())
    assert result["score"]["low"] > 0.9
    assert result["cost"] == pytest.approx(COUNT * (1000 * 1 + 100 * 10) / 1e6)
    assert result["medianSeconds"]["low"] <= result["medianSeconds"]["value"] <= result["p95Seconds"]
    assert [item["id"] for item in result["items"]] == [f"q{number}" for number in range(COUNT)]
    assert result["items"][3]["text"] == "It is 3"
    page = (tmp_path / "evaluation.html").read_text()
    assert "Passes" in page
    assert "It is 3" in page
    assert "sk-ours" not in page + printed + json.dumps(result)


def test_a_gate_needs_the_interval_to_show_it(api: Api, questions: Path) -> None:
    """30 of 40 right: between 60 and 86 %."""
    for limit, verdict, expected in (("0.5", "passed", 0), ("0.7", "undecided", 1), ("0.9", "failed", 1)):
        status, printed = _evaluate(api, questions, "--min-score", limit, "--format", "json", model="poor")
        assert status == expected
        gate = next(gate for gate in _json(printed)["gates"] if gate["name"] == "score")
        assert gate["verdict"] == verdict


def test_two_models_are_compared_question_by_question(api: Api, questions: Path) -> None:
    options = ("--max-drop", "0.05", "--format", "json")
    status, printed = _evaluate(api, questions, "--against", "good", *options, model="poor")
    assert status == 1
    comparison = _json(printed)["comparison"]
    assert (comparison["with"], comparison["verdict"]) == ("good", "worse")
    assert comparison["difference"]["value"] == pytest.approx(-0.25)
    assert comparison["p"] == pytest.approx(2 / 2**10)
    status, printed = _evaluate(api, questions, "--against", "poor", *options)
    assert (status, _json(printed)["comparison"]["verdict"]) == (0, "better")
    _, printed = _evaluate(api, questions, "--against", "good", "--format", "json")
    assert _json(printed)["comparison"]["verdict"] == "no significant difference"


def test_a_question_without_an_answer_is_not_right_and_fails_the_run(api: Api, questions: Path) -> None:
    status, printed = _evaluate(api, questions, model="broken")
    assert status == 1
    assert "90.0 % of 40" in printed
    assert "4 of 40 questions; at most 0 is asked for" in printed
    assert "status 400" in printed
    assert "context is too long" in printed
    assert _evaluate(api, questions, "--max-errors", "0.1", model="broken")[0] == 0


def test_answers_that_are_none_do_not_end_the_run(api: Api, questions: Path, tmp_path: Path) -> None:
    status, printed = _evaluate(api, questions, "-o", str(tmp_path), model="odd")
    assert status == 1
    assert "0.0 % of 40" in printed
    page = (tmp_path / "evaluation.html").read_text()
    assert "not a chat completion" in page
    assert "<script>" not in page


def test_a_busy_endpoint_is_asked_again_and_the_wait_is_not_the_models(api: Api, questions: Path) -> None:
    status, printed = _evaluate(api, questions, "--concurrency", "1", "-o", str(questions.parent), model="busy")
    assert status == 0, printed
    items = json.loads((questions.parent / "evaluation.json").read_text())["items"]
    assert [item["seconds"] is None for item in items] == [True] + [False] * (COUNT - 1)


def test_an_endpoint_that_is_not_there_fails(questions: Path) -> None:
    command = ["evaluate", "http://127.0.0.1:9", "--model", "m", "--questions", str(questions), "--score", "number"]
    status, printed = call([*command, "--concurrency", "40", "--format", "json"])
    assert status == 1
    result = _json(printed)
    assert (result["errors"], result["score"]["value"], result["medianSeconds"]) == (COUNT, 0, None)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (("--max-drop", "0.1"), "Name it with --against."),
        (("--max-cost", "1"), "Give --prices IN/OUT"),
        (("--prices", "1"), "Give them as in 0.2/0.6"),
        (("--prices", "1/-1"), "Give them as in 0.2/0.6"),
        (("--against-prices", "1/1"), "Name it with --against."),
        (("--api-key-env", "A", "--api-key-file", "b"), "Give one of them."),
    ],
)
def test_options_that_do_not_fit(api: Api, questions: Path, options: tuple[str, ...], remedy: str) -> None:
    status, printed = _evaluate(api, questions, *options)
    assert status == 2
    assert remedy in printed


def test_an_address_that_is_none(questions: Path) -> None:
    status, printed = call(["evaluate", "models", "--model", "m", "--questions", str(questions), "--score", "number"])
    assert status == 2
    assert "not a URL" in printed
