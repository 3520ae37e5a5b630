"""The package's folders follow the line of data: a package imports only what stands before it, and nothing in a circle.

Imports inside of functions count: they are there for speed, not for circles.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from graphlib import TopologicalSorter

from .conftest import ROOT

SOURCES = ROOT / "scripts"
LAYERS = (
    ("errors",),
    ("documents", "progress", "project"),
    ("tools",),
    ("suite",),
    ("scheduling",),
    ("engines",),
    ("checks",),
    ("inventory", "report"),
    ("clusters",),
    ("outcome",),
    ("rehearsal",),
    ("deploy",),
    ("simulator",),
    ("loadtest",),
    ("plan",),
    ("changes",),
    ("testing",),
    ("cli",),
    ("__main__",),
)
SAME_MEANING = {"page", "target"}
"""Names that several packages use for the same thing: an HTML page, a kind of cluster to deploy to."""


@lru_cache(maxsize=1)
def imports() -> Mapping[str, frozenset[str]]:
    """Modules of the package, and what each imports of it, wherever in the file."""
    files = {
        ".".join(file.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__"): file
        for file in (SOURCES / "drydock").rglob("*.py")
    }

    def imported(module: str) -> Iterator[str]:
        for node in ast.walk(ast.parse(files[module].read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                yield from (name if name in files else str(node.module) for name in names)
            elif isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)

    return {module: frozenset(name for name in imported(module) if name in files) for module in files}


def _package(module: str) -> str:
    return [*module.split("."), ""][1]


def test_a_package_imports_only_what_stands_before_it() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    assert {_package(module) for module in imports()} - {""} == level.keys()
    upwards = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in names
        if (here := _package(module)) != (there := _package(name)) and there and level[there] >= level[here]
    ]
    assert not upwards


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(imports()).prepare()


def test_no_two_modules_have_the_same_name() -> None:
    names = Counter(
        module.rpartition(".")[2]
        for module in imports()
        if _package(module) != "cli" and (SOURCES / module.replace(".", "/")).is_dir() is False
    )
    assert {name for name, count in names.items() if count > 1} <= SAME_MEANING
