"""A team's questions, one JSON object a line, and whether an answer is right."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drydock.errors import UsageError

SCORES = ("exact", "contains", "regex", "number", "json")
"""Ways to compare an answer with what is expected."""
_KEYS = {"id", "prompt", "messages", "system", "expected", "score", "max_tokens"}
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_FENCE = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?```\s*$", re.DOTALL)
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        id: unique in its file.
        messages: of the chat.
        expected: right answers; one of them is enough.
        score: how an answer is compared, one of SCORES.
        max_tokens: of the answer; None takes that of the run.
    """

    id: str
    messages: tuple[Mapping[str, Any], ...]
    expected: tuple[Any, ...]
    score: str
    max_tokens: int | None = None

    def is_right(self, answer: str) -> bool:
        """Whether an answer is one of those expected, by the question's score."""
        return any(_matches(self.score, answer, expected) for expected in self.expected)


def read_questions(file: Path, score: str = "exact") -> tuple[Question, ...]:
    """The questions of a file.

    Args:
        file: JSON Lines: `prompt` (and `system`) or `messages`, `expected` (a text, number or object, or a list of
            them), and `id`, `score` and `max_tokens` where they differ from the line's number and the run's.
        score: of questions that name none.

    Raises:
        UsageError: the file cannot be read, holds no question, or a line is wrong; the message names the line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read questions from {file}: {error}", remedy="Name a file of JSON Lines.") from error
    numbered = [(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    questions = tuple(_question(f"{file}:{number}", str(number), line, score) for number, line in numbered)
    if not questions:
        raise UsageError(f"{file} holds no questions", remedy='Write one a line: {"prompt": "...", "expected": "..."}.')
    seen: set[str] = set()
    for question in questions:
        if question.id in seen:
            raise UsageError(f"{file}: two questions have the id {question.id}", remedy="Give each an id of its own.")
        seen.add(question.id)
    return questions


def _question(place: str, number: str, line: str, score: str) -> Question:
    try:
        content = json.loads(line)
    except ValueError as error:
        raise UsageError(f"{place}: not JSON: {error}", remedy="Write one JSON object a line.") from error
    if not isinstance(content, dict):
        raise UsageError(f"{place}: not a JSON object", remedy='Write {"prompt": "...", "expected": "..."}.')
    if unknown := sorted(content.keys() - _KEYS):
        raise UsageError(f"{place}: unknown key {unknown[0]}", remedy=f"Keys are {', '.join(sorted(_KEYS))}.")
    way = content.get("score", score)
    if way not in SCORES:
        raise UsageError(f"{place}: score {way!r} is unknown", remedy=f"Use one of {', '.join(SCORES)}.")
    expected = content.get("expected")
    choices = tuple(expected) if isinstance(expected, list) and way != "json" else (expected,)
    _check_expected(place, way, choices)
    tokens = content.get("max_tokens")
    if tokens is not None and (not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 1):
        raise UsageError(f"{place}: max_tokens: {tokens!r}", remedy="Give a whole number from 1.")
    return Question(str(content.get("id", number)), _messages(place, content), choices, way, tokens)


def _messages(place: str, content: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    prompt, messages, system = content.get("prompt"), content.get("messages"), content.get("system")
    if isinstance(prompt, str) and prompt and messages is None and isinstance(system, str | None):
        head = [{"role": "system", "content": system}] if system else []
        return (*head, {"role": "user", "content": prompt})
    well_formed = isinstance(messages, list) and messages and all(isinstance(message, dict) for message in messages)
    if not well_formed or prompt is not None or system is not None:
        raise UsageError(f"{place}: no prompt", remedy="Give either prompt (and system), or messages as of a chat.")
    return tuple(messages or ())


def _check_expected(place: str, way: str, choices: tuple[Any, ...]) -> None:
    for expected in choices:
        kind = isinstance(expected, str) and bool(expected.strip())
        if way == "number":
            kind = _number(str(expected)) is not None and not isinstance(expected, bool)
        elif way == "json":
            kind = expected is not None
        if not kind:
            raise UsageError(f"{place}: expected: {expected!r} cannot be compared as {way}", remedy=_REMEDIES[way])
        if way == "regex":
            try:
                re.compile(expected)
            except re.error as error:
                raise UsageError(
                    f"{place}: expected: not a regular expression: {error}", remedy="Correct it."
                ) from error
    if not choices:
        raise UsageError(f"{place}: expected: an empty list", remedy="Give at least one right answer.")


_REMEDIES = {
    "exact": "Give a text, or a list of texts.",
    "contains": "Give a text, or a list of texts.",
    "regex": "Give a regular expression of Python, or a list of them.",
    "number": "Give a number, or a list of numbers.",
    "json": "Give what the answer's JSON has to be.",
}


def _matches(way: str, answer: str, expected: Any) -> bool:
    if way == "exact":
        return _folded(answer) == _folded(expected)
    if way == "contains":
        return _folded(expected) in _folded(answer)
    if way == "regex":
        return re.search(expected, answer) is not None
    if way == "number":
        given, wanted = _number(answer), _number(str(expected))
        return None not in (given, wanted) and _close(float(given or 0), float(wanted or 0))
    fenced = _FENCE.match(answer)
    try:
        return bool(json.loads(fenced[1] if fenced else answer) == expected)
    except ValueError:
        return False


def _folded(text: str) -> str:
    """Without differences of case, white space and an end's full stop."""
    return " ".join(text.casefold().split()).removesuffix(".")


def _number(text: str) -> float | None:
    """The last number of a text."""
    numbers = _NUMBER.findall(text)
    return float(numbers[-1].replace(",", "")) if numbers else None


def _close(given: float, wanted: float) -> bool:
    return abs(given - wanted) <= _TOLERANCE * max(1.0, abs(wanted))
