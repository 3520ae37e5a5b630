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
_ANY_FENCE = re.compile(r"[\s>*-]*(?:\d+\.\s+)?(?:```|~~~)")
_INLINE = re.compile(r"`(?P<command>(?:drydock|scripts/run) [^`]+)`")
_CONTINUED = re.compile(r"\\\n\s*")
_OPERATORS = set("();<>|&")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_SUBSTITUTION = re.compile(r"\$\(([^()]+)\)")
_QUOTED = re.compile(r"`([^`]*)`")
_BEFORE = {"if", "then", "elif", "else", "while", "until", "do", "!", "time", "sudo", "exec", "env", "nohup", "{"}
"""Words that may stand before a command."""
_SPELT = {
    ("./scripts/run",): "scripts/run",
    ("python", "-m", "drydock"): "drydock",
    ("python3", "-m", "drydock"): "drydock",
}


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
    """The words of each command of a script for a shell, those within `$(...)` too; redirections are dropped.

    What may stand before a command, as variables do, is left out.
    """
    for line in _QUOTED.sub(r"$(\1)", _CONTINUED.sub("", text)).splitlines():
        words: list[str] = []
        file_follows = False
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        for word in (*lexer, ";"):
            if set(word) <= _OPERATORS:
                file_follows = ">" in word
                if words and not file_follows:
                    yield from _called(words)
                    words = []
            elif file_follows:
                file_follows = False
            else:
                words.append(word)


def _called(words: list[str]) -> Iterator[list[str]]:
    """A command by its own name, and the commands that stand quoted in its words."""
    for word in words:
        for match in _SUBSTITUTION.finditer(word):
            yield from commands(match[1])
    own = list(words)
    while own and (own[0] in _BEFORE or _ASSIGNMENT.fullmatch(own[0])):
        del own[0]
    for spelling, name in _SPELT.items():
        if tuple(own[: len(spelling)]) == spelling:
            own[: len(spelling)] = [name]
    yield own or words


def unread_fences(text: str) -> Iterator[str]:
    """Lines that open or close a fence of a form that `FENCE` does not read: indented, quoted, of tildes or longer."""
    yield from (line for line in FENCE.sub("", text).splitlines() if _ANY_FENCE.match(line))


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
