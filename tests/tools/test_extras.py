"""Extras: what is imported is declared, a team that only validates needs none of them, and a missing one is named."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from typing import Any

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.programs

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
HEAVY = ("aiohttp", "boto3", "cryptography", "gevent", "locust", "numpy", "prometheus_client", "scipy", "werkzeug")
WITHOUT = """
import sys
blocked = set(sys.argv.pop(1).split(","))

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
from drydock.__main__ import main
main()
"""


def names(requirements: list[str]) -> set[str]:
    """Normalized names of distributions (PEP 503)."""
    return {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=~;\s]", each)[0]).lower() for each in requirements}


def without(modules: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command where these modules cannot be imported."""
    command = [sys.executable, "-c", WITHOUT, ",".join(modules), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


def test_every_package_that_is_imported_is_declared() -> None:
    imported = set()
    for file in (ROOT / "scripts" / "drydock").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    declared = names(PROJECT["dependencies"])
    declared |= {name for extra in PROJECT["optional-dependencies"].values() for name in names(extra)}
    known = packages_distributions()
    undeclared = {
        module
        for module in imported - sys.stdlib_module_names - {"drydock"}
        if not declared & names(list(known.get(module, ())))
    }
    assert not undeclared


def test_rendering_and_validating_need_no_extra() -> None:
    for verb in (("render", "dev"), ("validate", "dev"), ("environments",)):
        done = without((*HEAVY, "pytest"), *verb)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("missing", "extra", "arguments"),
    [
        ("numpy", "simulate", ("simulate", "--model", "llama-3.1-8b", "--gpu", "h100", "--rate", "1")),
        ("numpy", "loadtest", ("loadtest", "http://127.0.0.1:9/v1", "--model", "m", "--rate", "1")),
    ],
)
def test_a_missing_extra_is_named(missing: str, extra: str, arguments: tuple[str, ...]) -> None:
    done = without((missing,), *arguments)
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        f'error: this needs Python packages that are not installed: {missing}\n  pip install "drydock[{extra}]"\n'
    )
