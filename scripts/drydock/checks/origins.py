"""Where an environment's own files set what a rendered object says.

Templates keep no record of it. What holds for charts of any make: an object's name ends with the key of the entry of
the chart's values that it is rendered from (`nodePools.gpu`, `models.llama-3-8b`, `controller`), and a value that is
refused stands there as the user wrote it, or under the key that the object's own field is called.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from drydock.checks.values_files import Place, ValuesFile, locate
from drydock.suite.environments import Environment
from drydock.suite.manifests import Manifest

_DEPTH = 4
_UNTELLING = frozenset({"spec", "template", "metadata", "data", "containers", "annotations", "labels", "enabled"})
_DOT = re.compile(r"(?<!\\)\.")


@dataclass(frozen=True)
class Origins:
    """The values of an environment.

    Attributes:
        files: its values files, the last of the stack first.
        set_values: `KEY=VALUE` of `--set`.
    """

    files: tuple[ValuesFile, ...]
    set_values: tuple[str, ...]

    @classmethod
    def of(cls, environment: Environment) -> "Origins":
        """Read the files of an environment's stack."""
        return cls.of_values(environment.values_files, environment.set_values)

    @classmethod
    def of_values(cls, files: Sequence[Path], set_values: Sequence[str]) -> "Origins":
        """Read values files, given in the order of `-f`."""
        return cls(tuple(ValuesFile.read(file) for file in reversed(files) if file.is_file()), tuple(set_values))

    def locate(self, manifest: Manifest, keys: Sequence[str], value: object = None) -> Place | None:
        """Where the user set what an object says; None where the object is the chart's own doing.

        Args:
            manifest: the object.
            keys: of values that it may come from, the most telling first.
            value: as the object has it.
        """
        scope = _scope(manifest)
        given = self._given(manifest, scope, keys, value)
        if given:
            return given
        entry = None
        for file in self.files:
            for name, node, line in sorted(_entries(file.root, scope), key=lambda each: -len(each[0])):
                if not _names(manifest, name):
                    continue
                exact = _telling(node, keys, value)
                if exact:
                    return Place(str(file.file), exact)
                entry = entry or Place(str(file.file), line)
        return entry

    def value(self, path: Sequence[str]) -> Place | None:
        """Where the user sets a value, or else what comes closest to it; None where no file has anything of it."""
        dotted = ".".join(path)
        for pair in reversed(self.set_values):
            key = pair.partition("=")[0]
            if dotted == key or dotted.startswith(f"{key}.") or key.startswith(f"{dotted}."):
                return Place("", 0, f" (set by --set {pair})")
        return locate(self.files, path)

    def keys_under(self, path: Sequence[str]) -> Iterator[tuple[str, Place]]:
        """Keys that the files set in a map, with their places, the last of the stack first."""
        for file in self.files:
            node, _ = _descend(file.root, path)
            yield from ((name, Place(str(file.file), line)) for name, _, line in _pairs(node))

    def global_value(self, key: str, value: str) -> Place | None:
        """Where `global.KEY` is set to a value, or to a list with it."""
        for pair in reversed(self.set_values):
            if pair.startswith(f"global.{key}=") or pair.startswith(f"global.{key}["):
                return Place("", 0, f" (set by --set {pair})")
        for file in self.files:
            node, line = _descend(file.root, ("global", key))
            if node is not None:
                return Place(str(file.file), _telling(node, (), value) or line)
        return None

    def _given(self, manifest: Manifest, scope: Sequence[str], keys: Sequence[str], value: object) -> Place | None:
        for pair in reversed(self.set_values):
            dotted, _, text = pair.partition("=")
            path = [part.replace("\\.", ".") for part in _DOT.split(dotted)]
            inside = path[len(scope) :]
            named = any(_names(manifest, part) for part in inside[:-1])
            if path[: len(scope)] == list(scope) and named and (text == str(value) or inside[-1] in keys):
                return Place("", 0, f" (set by --set {pair})")
        return None


NO_ORIGINS = Origins((), ())


def line_in(file: Path, value: str) -> int:
    """Line on which a file says a value; 0 where it does not."""
    root = ValuesFile.read(file).root if file.is_file() else None
    return _telling(root, (), value) if root is not None else 0


def telling_keys(path: str) -> tuple[str, ...]:
    """Names of an object's fields on a path to one of them, the last first."""
    return tuple(part for part in reversed(path.split(".")) if part not in _UNTELLING and not part.isdecimal())


def _scope(manifest: Manifest) -> tuple[str, ...]:
    """Keys under which the umbrella keeps the values of the chart that an object is from."""
    return tuple(manifest.template.partition("/templates/")[0].split("/charts/")[1:])


def _names(manifest: Manifest, key: str) -> bool:
    """Whether a key of values names an object: `genai-vllm-small`, or a part of it such as `genai-vllm-small-cache`."""
    name = f"-{manifest.name}"
    return len(key) > 1 and (name.endswith(f"-{key}") or f"-{manifest.chart}-{key}-" in name)


def _descend(node: yaml.Node | None, path: Sequence[str]) -> tuple[yaml.Node | None, int]:
    line = 0
    for part in path:
        found = next((pair for pair in _pairs(node) if pair[0] == part), None)
        if found is None:
            return None, 0
        _, node, line = found
    return node, line


def _entries(root: yaml.Node | None, scope: Sequence[str]) -> Iterator[tuple[str, yaml.Node, int]]:
    """Key, value and line of every entry of a chart's values down to some depth."""
    node, _ = _descend(root, scope)
    level = list(_pairs(node))
    for _ in range(_DEPTH):
        yield from level
        level = [below for _, value, _ in level for below in (*_pairs(value), *_named_items(value))]


def _named_items(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node, int]]:
    """Items of a list that have a name, as entries by that name."""
    for item in node.value if isinstance(node, yaml.SequenceNode) else ():
        for key, value, line in _pairs(item):
            if key == "name" and isinstance(value, yaml.ScalarNode):
                yield value.value, item, line


def _telling(node: yaml.Node, keys: Sequence[str], value: object) -> int:
    """Line of the value, or else of the first of the keys, below an entry; 0 without either."""
    below = list(_all_below(node))
    if value is not None:
        same = [
            position
            for position in below
            if isinstance(position[1], yaml.ScalarNode) and position[1].value == str(value)
        ]
        same.sort(key=lambda each: each[0] not in keys)
        if same:
            return same[0][2]
    return next((line for key in keys for name, _, line in below if name == key), 0)


def _all_below(node: yaml.Node) -> Iterator[tuple[str, yaml.Node, int]]:
    for name, value, line in _pairs(node):
        yield name, value, line
        yield from _all_below(value)
    if isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            yield "", entry, entry.start_mark.line + 1
            yield from _all_below(entry)


def _pairs(node: yaml.Node | None) -> Iterator[tuple[str, yaml.Node, int]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield str(key.value), value, key.start_mark.line + 1
