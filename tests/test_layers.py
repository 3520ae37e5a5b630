"""The package's folders follow the line of data: a package imports only what stands before it, and nothing in a circle.

Imports inside of functions count: they are there for speed, not for circles.
"""

import re
from collections import Counter
from graphlib import TopologicalSorter
from importlib import import_module

from tests.layers import LAYERS, PAGE, SOURCES, imports, package, with_picture

SAME_MEANING = {"page", "target"}
"""Names that several packages use for the same thing: an HTML page, a kind of cluster to deploy to."""


def test_a_package_imports_only_what_stands_before_it() -> None:
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    assert {package(module) for module in imports()} - {""} == level.keys()
    upwards = [
        f"{module} imports {name}"
        for module, names in imports().items()
        for name in names
        if (here := package(module)) != (there := package(name)) and there and level[there] >= level[here]
    ]
    assert not upwards


def test_no_modules_import_each_other_in_a_circle() -> None:
    TopologicalSorter(imports()).prepare()


def test_no_two_modules_have_the_same_name() -> None:
    names = Counter(
        module.rpartition(".")[2]
        for module in imports()
        if package(module) != "cli" and not (SOURCES / module.replace(".", "/")).is_dir()
    )
    assert {name for name, count in names.items() if count > 1} <= SAME_MEANING


def test_the_page_draws_the_layers_as_they_are() -> None:
    assert PAGE.read_text() == with_picture(PAGE.read_text()), "python -m tests.layers draws it again"


def test_the_page_names_every_package_and_entry_points_that_exist() -> None:
    rows = re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    folders = {folder.parent.name for folder in (SOURCES / "drydock").glob("*/__init__.py")}
    assert sorted(name for name, _ in rows) == sorted(folders)
    for name, entry_points in rows:
        for module, attribute in re.findall(r"`(?:drydock\.cli\.)?(\w+)\.?(\w*)`", entry_points):
            found = import_module(f"drydock.{name}" if name == "cli" else f"drydock.{name}.{module}")
            assert hasattr(found, attribute or module if name == "cli" else attribute or "__name__")
