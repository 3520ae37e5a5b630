"""drydock evaluate."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from drydock.cli.options import check_writable
from drydock.cli.output import columns, format_option
from drydock.errors import UsageError

if TYPE_CHECKING:
    from drydock.evaluation.evaluations import Comparison, Evaluation, Gate, Prices
    from drydock.loadtest.secrets import Secret


@click.command("evaluate")
@click.argument("url")
@click.option("--model", required=True, metavar="NAME", help="Model to evaluate, by its name in requests.")
@click.option(
    "--questions",
    "file",
    required=True,
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Questions as JSON Lines, each with a prompt and what is expected.",
)
@click.option("--against", metavar="NAME", help="Second model of the endpoint to compare with on the same questions.")
@click.option(
    "--score",
    type=click.Choice(["exact", "contains", "regex", "number", "json"]),
    default="exact",
    show_default=True,
    help="How answers are compared with what is expected, for questions that do not say.",
)
@click.option("--min-score", type=click.FloatRange(0, 1), metavar="SHARE", help="Gate: least share of right answers.")
@click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Gate, with --against: most that the score may lie below the other model's.",
)
@click.option("--max-p95", type=click.FloatRange(0), metavar="S", help="Gate: 95th percentile of latency, in seconds.")
@click.option("--max-cost", type=click.FloatRange(0), metavar="AMOUNT", help="Gate: cost of all answers.")
@click.option(
    "--max-errors",
    type=click.FloatRange(0, 1),
    default=0.0,
    show_default=True,
    metavar="SHARE",
    help="Gate: share of questions that may stay without an answer.",
)
@click.option("--prices", metavar="IN/OUT", help="Prices of a million tokens of prompts and answers of --model.")
@click.option("--against-prices", metavar="IN/OUT", help="The same of --against.")
@click.option("--api-key-env", metavar="VARIABLE", help="Environment variable that holds the API key.")
@click.option("--api-key-file", type=click.Path(path_type=Path), metavar="FILE", help="File that holds the API key.")
@click.option("--concurrency", type=click.IntRange(1, 256), default=4, show_default=True, help="Requests at a time.")
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    default=512,
    show_default=True,
    help="Longest answer, for questions that do not say.",
)
@click.option(
    "--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="Temperature of sampling."
)
@click.option("--seed", type=int, help="Seed of sampling, sent with each request.")
@click.option(
    "--timeout",
    type=click.FloatRange(0, min_open=True),
    default=600.0,
    show_default=True,
    metavar="S",
    help="Timeout of each request, in seconds.",
)
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Write evaluation.json and evaluation.html, with every question and answer, into DIR.",
)
@format_option()
def command(url: str, model: str, file: Path, form: str, output: Path | None, **asked: Any) -> int:
    r"""Evaluate a model on your own questions, by any OpenAI-compatible URL: score, latency, cost, and a gate.

    A score comes with its 95 % confidence interval, and a gate passes where the interval shows that the limit is kept:
    80 % of 20 questions does not show that 75 % of all would be right. A difference between two models is tested on
    pairs of answers to the same question.

    Exit status 1 when a gate does not pass, or its interval leaves it undecided.

    \b
    A line of FILE, of which only prompt and expected are needed:
      {"id": "capital", "prompt": "Capital of France?", "expected": ["Paris"], "score": "contains", "max_tokens": 20}

    \b
    Examples:
      drydock evaluate http://127.0.0.1:4000 --model llama-3-8b --questions ours.jsonl --api-key-env API_KEY
      drydock evaluate http://127.0.0.1:4000 --model llama-3-8b --questions ours.jsonl --against llama-3-70b \
        --max-drop 0.02 --prices 0.2/0.6 --against-prices 0.9/2.7 -o result
    """
    from drydock.evaluation.answering import Endpoint
    from drydock.evaluation.evaluations import Limits, compare, gates, to_dict
    from drydock.evaluation.questions import read_questions

    _check(asked)
    prices, other_prices = _prices("--prices", asked["prices"]), _prices("--against-prices", asked["against_prices"])
    questions = read_questions(file, asked["score"])
    endpoint = Endpoint(
        url,
        _key(asked["api_key_env"], asked["api_key_file"]),
        asked["timeout"],
        asked["concurrency"],
        asked["max_tokens"],
        asked["temperature"],
        asked["seed"],
    )
    if output:
        check_writable("-o", output)
    evaluation = _evaluation(endpoint, model, questions, prices)
    comparison = None
    if asked["against"]:
        comparison = compare(evaluation, _evaluation(endpoint, asked["against"], questions, other_prices))
    limits = Limits(asked["min_score"], asked["max_drop"], asked["max_p95"], asked["max_cost"], asked["max_errors"])
    found = gates(evaluation, comparison, limits)
    result = to_dict(evaluation, comparison, found)
    if output:
        _write(output, evaluation, comparison, found)
    if form == "json":
        click.echo(json.dumps(result, indent=2))
    else:
        _print(evaluation, comparison, found)
    return int(not result["passed"])


def _check(asked: dict[str, Any]) -> None:
    if asked["max_drop"] is not None and not asked["against"]:
        raise UsageError("--max-drop compares with another model", remedy="Name it with --against.")
    if asked["against_prices"] and not asked["against"]:
        raise UsageError("--against-prices are of another model", remedy="Name it with --against.")
    if asked["max_cost"] is not None and not asked["prices"]:
        raise UsageError("--max-cost needs prices", remedy="Give --prices IN/OUT, of a million tokens.")


def _prices(option: str, text: str | None) -> "Prices | None":
    from drydock.evaluation.evaluations import Prices

    if text is None:
        return None
    first, slash, second = text.partition("/")
    try:
        prices = Prices(float(first), float(second))
    except ValueError:
        prices = Prices(-1, -1)
    if not slash or not all(0 <= price < float("inf") for price in (prices.prompts, prices.answers)):
        raise UsageError(f"{option} {text}: not two prices", remedy="Give them as in 0.2/0.6, for a million tokens.")
    return prices


def _key(variable: str | None, file: Path | None) -> "Secret | None":
    from drydock.loadtest.secrets import Secret

    if variable and file:
        raise UsageError("--api-key-env and --api-key-file both name a key", remedy="Give one of them.")
    if file:
        return Secret.from_file(file)
    return Secret.from_environment(variable) if variable else None


def _evaluation(endpoint: Any, model: str, questions: Any, prices: "Prices | None") -> "Evaluation":
    from drydock.evaluation.answering import ask_all
    from drydock.evaluation.evaluations import Evaluation
    from drydock.progress import terminal_progress

    with terminal_progress() as progress, progress.step(f"Ask {model} {len(questions)} questions"):
        return Evaluation(model, questions, ask_all(endpoint, model, questions), prices)


def _write(folder: Path, evaluation: "Evaluation", comparison: "Comparison | None", found: "tuple[Gate, ...]") -> None:
    from drydock.evaluation.evaluation_page import render_evaluation
    from drydock.evaluation.evaluations import items, to_dict

    folder.mkdir(parents=True, exist_ok=True)
    content = {**to_dict(evaluation, comparison, found), "items": items(evaluation, comparison)}
    (folder / "evaluation.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
    (folder / "evaluation.html").write_text(render_evaluation(evaluation, comparison, found), encoding="utf-8")
    click.echo(f"written to {folder}", err=True)


def _print(evaluation: "Evaluation", comparison: "Comparison | None", found: "tuple[Gate, ...]") -> None:
    measured = [evaluation.to_dict(), *([comparison.second.to_dict()] if comparison else [])]
    headers = ("model", "right", "95 % interval", "errors", "cut off", "median", "p95", "tokens in/out", "cost")
    click.echo(columns(headers, [_row(entry) for entry in measured]))
    if comparison:
        estimate = comparison.difference
        click.echo(
            f"\n{evaluation.model} against {comparison.second.model}: {comparison.verdict}, "
            f"{100 * estimate.value:+.1f} points ({100 * estimate.low:+.1f} to {100 * estimate.high:+.1f}), "
            f"p = {comparison.p:.3f}"
        )
    click.echo()
    click.echo(columns(("gate", "verdict", "why"), [(gate.name, gate.verdict, gate.reason) for gate in found]))
    first = next((reply.error for reply in evaluation.replies if reply.error), "")
    if first:
        click.echo(f"warning: the first question without an answer: {first}", err=True)


def _row(measured: dict[str, Any]) -> tuple[str, ...]:
    score, middle, p95, cost = (measured[name] for name in ("score", "medianSeconds", "p95Seconds", "cost"))
    return (
        measured["model"],
        f"{100 * score['value']:.1f} % of {measured['questions']}",
        f"{100 * score['low']:.1f} to {100 * score['high']:.1f} %",
        str(measured["errors"]),
        str(measured["cutOff"]),
        "-" if middle is None else f"{middle['value']:.2f} s",
        "-" if p95 is None else f"{p95:.2f} s",
        f"{measured['promptTokens']}/{measured['completionTokens']}",
        "-" if cost is None else f"{cost:.4g}",
    )
