"""Values files with the line of every key."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from drydock.checks.findings import Finding, Severity
from drydock.documents import LOADER

DUPLICATE = "values-duplicate-key"
SHAPE = "values-file"


@dataclass(frozen=True)
class Place:
    """Where a value is set.

    Attributes:
        file: empty when no file sets it.
        line: counted from 1, 0 when unknown.
        suffix: what to add to a message about it.
    """

    file: str
    line: int
    suffix: str = ""


@dataclass(frozen=True)
class ValuesFile:
    """A values file as a tree of YAML nodes, which know their lines; None for an empty file."""

    file: Path
    root: yaml.Node | None

    @classmethod
    def read(cls, file: Path) -> "ValuesFile":
        """Parse a file; one that is not YAML, which Helm reports, counts as empty."""
        try:
            return cls(file, yaml.compose(file.read_text(), Loader=LOADER))
        except yaml.YAMLError:
            return cls(file, None)

    def find(self, path: Sequence[str]) -> tuple[int, int]:
        """How many parts of a path the file has, and the line of the last one."""
        node, depth, line = self.root, 0, 0
        for part in path:
            step = _below(node, part)
            if step is None:
                break
            node, line = step
            depth += 1
        return depth, line


def locate(files: Iterable[ValuesFile], path: Sequence[str]) -> Place | None:
    """The first of the files (last of the stack first) that sets a path, or else the one that comes closest."""
    best: tuple[int, int, Path] | None = None
    for file in files:
        depth, line = file.find(path)
        if depth and (best is None or depth > best[0]):
            best = (depth, line, file.file)
        if depth == len(path):
            break
    return Place(str(best[2]), best[1]) if best else None


def keys_of(file: ValuesFile, *, depth: int) -> frozenset[str]:
    """Keys of maps that stand below the top level of a file, down to a depth."""
    level = [file.root]
    found: set[str] = set()
    for below in range(depth):
        pairs = [pair for node in level if isinstance(node, yaml.MappingNode) for pair in node.value]
        found |= {str(key.value) for key, value in pairs if below and isinstance(value, yaml.MappingNode)}
        level = [value for _, value in pairs]
    return frozenset(found)


def misshapen(environment: str, file: Path) -> Iterator[Finding]:
    """A file that holds no map, and keys that it sets twice in one map, of which Helm takes the last silently."""
    root = ValuesFile.read(file).root
    if root is not None and not isinstance(root, yaml.MappingNode) and root.tag != "tag:yaml.org,2002:null":
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "one value"
        yield Finding(
            environment,
            SHAPE,
            f"The file holds {kind}, and a values file is a map of keys.",
            "Write KEY: VALUE at its top level, such as `vllm:`.",
            file=str(file),
            line=root.start_mark.line + 1,
        )
    for key, path, line, first in _repeated(root, ()):
        yield Finding(
            environment,
            DUPLICATE,
            f"{'.'.join((*path, key))} is set twice, first in line {first}; Helm takes the last.",
            "Keep one of them.",
            severity=Severity.ERROR,
            path=".".join((*path, key)),
            file=str(file),
            line=line,
        )


def _below(node: yaml.Node | None, part: str) -> tuple[yaml.Node, int] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if key.value == part:
                return value, key.start_mark.line + 1
            merged = _below(value, part) if key.value == "<<" else None
            if merged:
                return merged
    if isinstance(node, yaml.SequenceNode) and part.isdecimal() and int(part) < len(node.value):
        item = node.value[int(part)]
        return item, item.start_mark.line + 1
    return None


def _repeated(node: yaml.Node | None, path: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...], int, int]]:
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in seen and key.value != "<<":
                yield key.value, path, line, seen[key.value]
            seen.setdefault(key.value, line)
            yield from _repeated(value, (*path, str(key.value)))
    elif isinstance(node, yaml.SequenceNode):
        for position, each in enumerate(node.value):
            yield from _repeated(each, (*path, str(position)))
