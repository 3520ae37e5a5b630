"""docs/known-pains.md says what is true: of every pain, of the checks that find it, and of its tests."""

import re
from pathlib import Path

import pytest

from drydock.checks.registry import RULES

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "known-pains.md"
TESTS = ROOT / "tests" / "pains"
COUNT = 25
LABELS = ("Prevented", "Found", "Shown", "Planned")
COVERED = {*range(1, 11), *range(12, 26)}
"""Pains of the charts that exist: prevented or found, without exception."""


class Entry:
    """One pain's part of the page."""

    def __init__(self, number: int, title: str, text: str) -> None:
        self.number = number
        self.title = title
        self.text = text
        items = re.findall(r"^- \*\*(\w+)\*\*: (.*?)(?=^- |\Z)", text, re.DOTALL | re.MULTILINE)
        self.items = dict(items)
        assert len(items) == len(self.items), f"{number}: a label stands twice"

    @property
    def test_files(self) -> list[str]:
        return sorted(file.name for file in TESTS.glob(f"test_pain_{self.number:02}_*.py"))


def read_entries() -> dict[int, Entry]:
    parts = re.split(r"^## (\d+)\. (.+)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    triples = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    return {int(number): Entry(int(number), title, text) for number, title, text in triples}


ENTRIES = read_entries()


def test_every_pain_is_listed_once_and_in_order() -> None:
    assert list(ENTRIES) == list(range(1, COUNT + 1))
    assert len(re.findall(r"^## \d+\.", PAGE.read_text(encoding="utf-8"), re.MULTILINE)) == COUNT


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_every_pain_says_what_is_done_about_it(number: int) -> None:
    entry = ENTRIES[number]
    assert set(entry.items) - {"Tests"} <= set(LABELS)
    assert set(entry.items) & set(LABELS)
    assert entry.text.lstrip()[0] not in "-#", "say first what happens"


@pytest.mark.parametrize("number", sorted(COVERED))
def test_pains_of_these_charts_are_prevented_or_found(number: int) -> None:
    assert {"Prevented", "Found"} & set(ENTRIES[number].items)


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_what_is_prevented_or_found_has_tests_that_carry_its_number(number: int) -> None:
    entry = ENTRIES[number]
    linked = re.findall(r"\]\(\.\./tests/pains/([\w.]+)\)", entry.items.get("Tests", ""))
    assert set(linked) <= set(entry.test_files)
    if {"Prevented", "Found"} & set(entry.items):
        assert entry.test_files, f"no tests/pains/test_pain_{number:02}_*.py"
        assert linked, f"the page links none of {', '.join(entry.test_files)}"


@pytest.mark.parametrize("number", range(1, COUNT + 1))
def test_the_checks_of_a_pain_are_those_that_validate_has(number: int) -> None:
    named = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", ENTRIES[number].items.get("Found", "")))
    assert named == {rule.id for rule in RULES if rule.pain == number}


def test_the_summary_agrees_with_the_entries() -> None:
    rows = re.findall(r"^\| \[(\d+)\]\(#([\w-]+)\) \| (.+?) \|(.*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(ENTRIES)
    for number, anchor, title, marks in rows:
        entry = ENTRIES[int(number)]
        assert title == entry.title
        assert anchor == _anchor(f"{number}. {title}")
        assert [bool(mark.strip()) for mark in marks.split("|")] == [label in entry.items for label in LABELS]


def _anchor(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[\w-]+)?\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).exists(), target
