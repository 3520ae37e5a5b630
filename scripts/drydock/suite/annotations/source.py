"""An annotated values.yaml: each key with its default, the comment above it and its `@schema` annotation.

    # -- Maximum number of requests that wait for the model.   description, and a line in the README
    # @default -- see below                                    what the README shows in place of the default
    maxHeldRequests: 512 # @schema minimum: 1                  what the type of the default does not say

A comment without `--` describes a key of other keys, which has no line of its own in the README. An annotation that is
too long for the line of its key stands on lines of its own above it.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from drydock.documents import LOADER, load_yaml
from drydock.errors import UsageError

KeyPath = tuple[str, ...]

_TRAILING = re.compile(r"(?:^|\s)# ?@schema\s+(?P<annotation>.+)$")
_OWN_LINE = re.compile(r"^# ?@schema\s+(?P<annotation>.+)$")
_DEFAULT = re.compile(r"^# ?@default -- (?P<text>.+)$")
_DOCUMENTED = "# -- "


@dataclass(frozen=True)
class Value:
    """One key of a values.yaml.

    Attributes:
        path: of the key.
        line: of the key, from 1.
        default: what the chart sets it to.
        description: the comment above it as one line, empty where there is none.
        is_documented: its comment is one of `# --`, so that it has a line in the README.
        shown_default: what the README shows in place of the default; empty for the default itself.
        annotation: keywords of its schema; the word without a value is the name of its type.
        children: its keys, where the default is a map that is not empty.
    """

    path: KeyPath
    line: int
    default: Any
    description: str = ""
    is_documented: bool = False
    shown_default: str = ""
    annotation: Mapping[str, Any] = field(default_factory=dict)
    children: tuple["Value", ...] = ()

    def descendants(self) -> Iterator["Value"]:
        """The keys under it, at any depth."""
        for child in self.children:
            yield child
            yield from child.descendants()


def read_values(file: Path) -> Value:
    """A values.yaml as the value at its root.

    Raises:
        UsageError: the file is not YAML, or an annotation is not a flow mapping.
    """
    text = file.read_text()
    try:
        node = yaml.compose(text, LOADER)
        default = load_yaml(text) or {}
    except yaml.YAMLError as error:
        raise UsageError(f"{file}: not YAML: {error}", remedy="Correct the file.") from error
    return _Reader(file, text.splitlines()).value((), 1, node, default, [], "")


@dataclass(frozen=True)
class _Reader:
    file: Path
    lines: Sequence[str]

    def value(
        self, path: KeyPath, line: int, node: yaml.Node | None, default: Any, comment: Sequence[str], after: str
    ) -> Value:
        own_lines = [match["annotation"] for comment_line in comment if (match := _OWN_LINE.match(comment_line))]
        trailing = _TRAILING.search(after)
        description, is_documented, shown_default = _prose(comment)
        return Value(
            path,
            line,
            default,
            description,
            is_documented,
            shown_default,
            self._annotation(line, [*own_lines, *([trailing["annotation"]] if trailing else [])]),
            tuple(self._children(path, node, default)),
        )

    def _children(self, path: KeyPath, node: yaml.Node | None, default: Any) -> Iterator[Value]:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            line = key.start_mark.line
            is_nested = value.start_mark.line > line
            rest = self.lines[line][key.end_mark.column :] if is_nested else self._rest(value.end_mark)
            yield self.value((*path, key.value), line + 1, value, default[key.value], self._above(line), rest)

    def _rest(self, mark: yaml.Mark) -> str:
        """What follows a value on the line on which it ends."""
        return self.lines[mark.line][mark.column :] if mark.line < len(self.lines) else ""

    def _above(self, line: int) -> list[str]:
        """Lines of comment right above a line."""
        start = line
        while start > 0 and self.lines[start - 1].lstrip().startswith("#"):
            start -= 1
        return [text_line.strip() for text_line in self.lines[start:line]]

    def _annotation(self, line: int, parts: Sequence[str]) -> dict[str, Any]:
        text = ", ".join(parts)
        try:
            found = yaml.load(f"{{{text}}}", LOADER)  # noqa: S506 (a safe loader)
        except yaml.YAMLError as error:
            raise UsageError(
                f"{self.file}:{line}: `@schema {text}` is not a flow mapping of YAML: {error}",
                remedy="Quote patterns with single quotes, and separate keywords with commas.",
            ) from error
        return {str(key): value for key, value in found.items()}


def _prose(comment: Sequence[str]) -> tuple[str, bool, str]:
    """Description, whether it is one of `# --`, and the default to show."""
    starts = [number for number, line in enumerate(comment) if line.startswith(_DOCUMENTED)]
    text = comment[starts[-1] :] if starts else comment
    words = [
        line.removeprefix(_DOCUMENTED).removeprefix("#").strip()
        for line in text
        if not _OWN_LINE.match(line) and not _DEFAULT.match(line)
    ]
    shown = [match["text"] for line in comment if (match := _DEFAULT.match(line))]
    return " ".join(filter(None, words)), bool(starts), shown[-1] if shown else ""
