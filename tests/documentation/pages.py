"""Fenced blocks of the documentation, with what the fence says about them (docs/development/documentation.md)."""

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from drydock.suite.annotations.readme import MARKER
from tests.conftest import ROOT

CHART_PAGES = sorted((ROOT / "charts").glob("*/README.md"))
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *CHART_PAGES,
]
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<content>.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(?P<command>(?:drydock|scripts/run) [^`]+)`")
_CONTINUED = re.compile(r"\\\n\s*")
_OPERATORS = set("();<>|&")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: file that holds it.
        line: of the fence.
        language: of the content.
        how: attributes behind the language, by name.
        content: of the block.
    """

    page: Path
    line: int
    language: str
    how: Mapping[str, str]
    content: str

    @property
    def name(self) -> str:
        """`PAGE:LINE`, with the page relative to the checkout."""
        return f"{self.page.relative_to(ROOT).as_posix()}:{self.line}"


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a script for a shell; what follows a redirection is dropped."""
    for line in _CONTINUED.sub("", text).splitlines():
        words: list[str] = []
        file_follows = False
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in (*lexer, ";"):
            if set(word) <= _OPERATORS:
                file_follows = ">" in word
                if words and not file_follows:
                    yield words
                    words = []
            elif file_follows:
                file_follows = False
            else:
                words.append(word)


def blocks(page: Path) -> Iterator[Block]:
    """The blocks that people wrote; tables of values are generated."""
    text = page.read_text().partition(MARKER)[0]
    for match in FENCE.finditer(text):
        language, *attributes = shlex.split(match["info"]) or [""]
        how = {name: value for name, _, value in (attribute.partition("=") for attribute in attributes)}
        yield Block(page, text[: match.start()].count("\n") + 1, language, how, match["content"])


def inline_commands(page: Path) -> Iterator[list[str]]:
    """Arguments of the calls of drydock that stand within sentences; `VERB` stands for any verb."""
    text = FENCE.sub("", page.read_text().partition(MARKER)[0])
    for match in _INLINE.finditer(text):
        for _, *words in commands(match["command"].replace("\n", " ")):
            if words[0] != "VERB":
                yield words


BLOCKS = [block for page in PAGES for block in blocks(page)]
