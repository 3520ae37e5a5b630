"""The layers of the harness, what its modules import, and a picture of both, which `python -m tests.layers` draws."""

import ast
from collections.abc import Iterator, Mapping, Set
from functools import lru_cache

from tests.conftest import ROOT

SOURCES = ROOT / "scripts"
PAGE = ROOT / "docs" / "development" / "architecture.md"
LAYERS = (
    ("errors",),
    ("documents", "json_schemas", "printing", "progress", "project"),
    ("tools",),
    ("suite",),
    ("scheduling",),
    ("engines",),
    ("simulator",),
    ("checks",),
    ("inventory", "report"),
    ("clusters",),
    ("outcome",),
    ("monitor",),
    ("rehearsal",),
    ("deploy",),
    ("loadtest",),
    ("evaluation", "plan"),
    ("changes",),
    ("testing",),
    ("cli",),
    ("__main__",),
)
"""Packages and top-level modules, each importing only what stands before it."""
_NOT_DRAWN = {"", "errors", "documents", "json_schemas", "printing", "progress", "project", "__main__"}


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


def package(module: str) -> str:
    """The package or top-level module below `drydock` that a module is in."""
    return [*module.split("."), ""][1]


def picture() -> str:
    """Packages in Mermaid, an arrow to each that one imports and does not reach through another."""
    uses: dict[str, set[str]] = {name: set() for layer in LAYERS for name in layer if name not in _NOT_DRAWN}
    for module, names in imports().items():
        if package(module) in uses:
            uses[package(module)] |= {package(name) for name in names} - _NOT_DRAWN - {package(module)}
    lines = ["flowchart TD", *(f"  {name}" for name in reversed(uses))]
    for name, direct in reversed(uses.items()):
        further = {below for each in direct for below in _reached(uses, each)}
        lines += [f"  {name} --> {below}" for below in sorted(direct - further)]
    return "\n".join(lines)


def with_picture(page: str) -> str:
    """A page with the picture of today in place of the one it has."""
    before, start, rest = page.partition("```mermaid\n")
    _, end, after = rest.partition("```\n")
    return "".join((before, start, picture(), "\n", end, after))


def _reached(uses: Mapping[str, Set[str]], name: str) -> set[str]:
    return {each for below in uses[name] for each in (below, *_reached(uses, below))}


if __name__ == "__main__":
    PAGE.write_text(with_picture(PAGE.read_text()))
