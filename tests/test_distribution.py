"""Which worker of pytest-xdist runs which test."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.distribution import INDEPENDENT

TESTS = """
import os
import pytest

@pytest.mark.parametrize("number", range(6))
def test_of_many(number):
    with open("{record}", "a") as file:
        print(os.environ["PYTEST_XDIST_WORKER"], file=file)
"""


def _workers_of(folder: Path, *files: str) -> dict[str, set[str]]:
    """Names of the workers that ran the tests of each file."""
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TESTS.format(record=path.with_suffix(".txt")))
    (folder / "pytest.ini").touch()
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "tests.distribution", *files]
    plain = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_PLUGINS": "xdist.plugin"}
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **plain}, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {file: set((folder / file).with_suffix(".txt").read_text().split()) for file in files}


def test_one_worker_runs_the_tests_of_a_file(tmp_path: Path) -> None:
    files = [f"test_{name}.py" for name in ("one", "two", "three", "four")]
    assert [len(workers) for workers in _workers_of(tmp_path, *files).values()] == [1, 1, 1, 1]


def test_independent_tests_are_spread(tmp_path: Path) -> None:
    ((_, workers),) = _workers_of(tmp_path, "tests/rehearsal/test_environments.py").items()
    assert len(workers) == 2


@pytest.mark.parametrize("name", INDEPENDENT)
def test_what_is_named_is_there(name: str) -> None:
    file, _, function = name.rstrip("[").partition("::")
    assert f"def {function}" in (ROOT / file).read_text()
