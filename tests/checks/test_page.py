"""docs/checks.md names every rule, with its pain."""

import re
from pathlib import Path

from drydock.checks.registry import RULES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "checks.md").read_text()


def test_every_rule_is_on_the_page_once_with_its_pain() -> None:
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.+) \|$", PAGE, re.MULTILINE))
    assert set(rows) == {rule.id for rule in RULES}
    for rule in RULES:
        told = re.findall(r"Pain (\d+)\.", rows[rule.id])
        assert told == ([str(rule.pain)] if rule.pain else []), rule.id
