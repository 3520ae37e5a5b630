"""Questions of a team, and which answers are right."""

import json
from pathlib import Path
from typing import Any

import pytest

from drydock.errors import UsageError
from drydock.evaluation.questions import read_questions
from tests.conftest import ROOT

PAGE = ROOT / "docs" / "for-developers.md"


def _file(folder: Path, *lines: object) -> Path:
    file = folder / "questions.jsonl"
    file.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return file


@pytest.mark.parametrize(
    ("score", "expected", "right", "wrong"),
    [
        ("exact", "Paris", " paris.\n", "Paris, France"),
        ("exact", ["a", "b"], "B", "c"),
        ("contains", "new york", "It is New\n York.", "York"),
        ("regex", r"\b4[0-9]\b", "about 42 or so", "420"),
        ("number", 1234.5, "The total is 1,234.50", "1234.6"),
        ("number", -3, "x = -3.", "3"),
        ("json", {"a": [1, 2]}, '```json\n{"a": [1, 2]}\n```', '{"a": [2, 1]}'),
        ("json", [1, 2], "[1, 2]", "1"),
    ],
)
def test_an_answer_is_compared_by_the_questions_score(
    tmp_path: Path, score: str, expected: Any, right: str, wrong: str
) -> None:
    (question,) = read_questions(_file(tmp_path, {"prompt": "?", "expected": expected, "score": score}))
    assert question.is_right(right)
    assert not question.is_right(wrong)
    assert not question.is_right("")


def test_a_question_has_messages_an_id_and_its_own_limit(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "?"}]
    first, second = read_questions(
        _file(
            tmp_path,
            {"prompt": "?", "system": "Be short.", "expected": "x", "max_tokens": 5},
            "",
            {"id": "chat", "messages": chat, "expected": "x"},
        ),
        "contains",
    )
    assert (first.id, first.score, first.max_tokens) == ("1", "contains", 5)
    assert [message["role"] for message in first.messages] == ["system", "user"]
    assert (second.id, second.messages) == ("chat", tuple(chat))


def test_the_pages_questions_can_be_read(tmp_path: Path) -> None:
    block = PAGE.read_text().partition("```json\n")[2].partition("```")[0]
    questions = read_questions(_file(tmp_path, *block.splitlines()))
    assert len({question.score for question in questions}) == len(questions) > 2


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "holds no questions"),
        (["{"], ":1: not JSON"),
        (["[]"], ":1: not a JSON object"),
        ([{"prompt": "?", "expected": "a", "scores": "exact"}], ":1: unknown key scores"),
        ([{"prompt": "?", "expected": "a", "score": "near"}], "score 'near' is unknown"),
        ([{"prompt": "?"}], "expected: None"),
        ([{"prompt": "?", "expected": []}], "expected: an empty list"),
        ([{"prompt": "?", "expected": "", "score": "contains"}], "expected: ''"),
        ([{"prompt": "?", "expected": "(", "score": "regex"}], "not a regular expression"),
        ([{"prompt": "?", "expected": "many", "score": "number"}], "cannot be compared as number"),
        ([{"expected": "a"}], "no prompt"),
        ([{"prompt": "?", "messages": [], "expected": "a"}], "no prompt"),
        ([{"prompt": "?", "expected": "a", "max_tokens": 0}], "max_tokens: 0"),
        ([{"id": "a", "prompt": "?", "expected": "a"}] * 2, "two questions have the id a"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, lines: list[object], reason: str) -> None:
    with pytest.raises(UsageError) as raised:
        read_questions(_file(tmp_path, *lines))
    assert reason in str(raised.value)
    assert raised.value.remedy
