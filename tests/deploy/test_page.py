"""The steps of docs/deploy.md, and the options of pytest that the pages name."""

import re

import pytest
import yaml

from drydock.testing.integration import MARKS
from tests.conftest import ROOT
from tests.documentation.pages import blocks, commands

PAGES = [ROOT / "docs" / "deploy.md", ROOT / "docs" / "pytest.md"]
PYTEST = [
    words for page in PAGES for block in blocks(page) for words in commands(block.content) if words[0] == "pytest"
]


@pytest.mark.parametrize("words", PYTEST, ids=" ".join)
def test_pytest_takes_it(words: list[str], pytestconfig: pytest.Config) -> None:
    given = pytestconfig._parser.parse_known_args(words[1:])
    assert all((ROOT / each).exists() for each in given.file_or_dir)
    known = {"kind", "existing", None}
    assert given.cluster_type in known


def test_the_page_has_the_steps_of_the_way() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    steps = re.findall(r"^## (\d)\. ", page, re.MULTILINE)
    assert steps == ["1", "2", "3", "4", "5", "6"]


def test_the_list_of_what_targets_lack_names_marks_that_there_are() -> None:
    targets = yaml.safe_load((ROOT / "scripts/drydock/data/targets.yaml").read_text())
    assert {mark for target in targets.values() for mark in target["lacks"]} <= set(MARKS)
    assert set(targets) == {"rehearsal", "kind", "eks", "eks-auto-mode", "existing"}
