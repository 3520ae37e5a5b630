"""Text for people is plain English: `words.yaml` holds the words that stop a reader, and what to write instead."""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

DATA = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text())
WORDS: dict[str, str] = DATA["words"]
FORBIDDEN = re.compile(r"(?<![\w`.-])(?<!there )(" + "|".join(WORDS) + r")(?![\w`(=:-])", re.IGNORECASE)
NOT_PROSE = re.compile(
    r"CHANGELOG\.md|CONTRIBUTING\.md|charts/crds/.*|.*\.schema\.json"
    r"|charts/[^/]+/(files/.*\.py|templates/.*\.yaml|templates/_settings\.tpl)"
)
"""What was said of old versions, the glossary, what others wrote, and what is rendered, comments included."""
FOLDERS = ("scripts", "charts", "values", "ci", "docs", "*.md")
SUFFIXES = {".py", ".md", ".yaml", ".yml", ".tpl", ".txt", ".tf", ".j2"}


def files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", *FOLDERS], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.splitlines() if not NOT_PROSE.fullmatch(name) and (ROOT / name).is_file()]


def prose(file: Path) -> Iterator[tuple[int, str]]:
    """Lines of text for people by their number: of a Python module its comments and strings."""
    text = file.read_text()
    if file.suffix == ".j2":
        text = re.sub(r"\{[{%#].*?[}%#]\}", "", text)
    if file.suffix != ".py":
        yield from enumerate(text.splitlines(), 1)
        return
    kinds = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in kinds and " " in token.string:  # a name or a key is not prose
            yield from enumerate(re.sub(r"\{[^{}]*\}", "{}", token.string).splitlines(), token.start[0])


@pytest.mark.parametrize("folder", FOLDERS)
def test_text_for_people_has_none_of_the_words(folder: str) -> None:
    found = [
        f"{name}:{number}: write {WORDS[match[1].lower()]!r} for {match[1]!r}: {line.strip()}"
        for file in files()
        if (name := file.relative_to(ROOT)).match(folder) or name.parts[0] == folder
        if file.suffix in SUFFIXES and name.as_posix() not in DATA["prose"]
        for number, line in prose(file)
        for match in FORBIDDEN.finditer(line)
    ]
    assert not found, "\n".join(found)


def test_a_loop_variable_is_a_noun() -> None:
    found = [
        f"{file.relative_to(ROOT)}:{node.target.lineno}: name what {ast.unparse(node.iter)} holds"
        for file in files()
        if file.suffix == ".py" and file.is_relative_to(ROOT / "scripts")
        if file.relative_to(ROOT).as_posix() not in DATA["loops"]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.For | ast.comprehension)
        and any(isinstance(name, ast.Name) and name.id == "each" for name in ast.walk(node.target))
    ]
    assert not found, "\n".join(found)
