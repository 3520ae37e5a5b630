"""drydock test."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from drydock.errors import UsageError

MEMORY_GIB = 3
"""What the control plane of one worker's tests takes."""
FAST = "not cluster and not programs and not slow"
SOURCES = ("scripts", "tests")
STYLE = (
    [sys.executable, "-m", "ruff", "format", "--check", *SOURCES, "scripts/run"],
    [sys.executable, "-m", "ruff", "check", *SOURCES],
)
TYPES = [sys.executable, "-m", "mypy"]
_STATUS = {0: 0, 4: UsageError.exit_status}
"""Exit statuses of Drydock by those of pytest; any other is 1."""


@click.command("test", context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.option("--check", is_flag=True, help="Check format, lint rules and types only; run no tests.")
@click.option("--fast", is_flag=True, help="Run only tests that start no program, such as Helm or a control plane.")
@click.option("--coverage", is_flag=True, help="Also report the lines of the package that no test runs.")
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENT]...")
def command(check: bool, fast: bool, coverage: bool, pytest_arguments: tuple[str, ...]) -> int:
    r"""Run ruff, mypy and pytest over this checkout.

    Without arguments everything that tests need is built first. With arguments, only pytest runs: it gets them, and
    tests build what they need. As many tests run side by side as the machine has processors and memory for; -n N sets
    their number.

    \b
    Examples:
      drydock test
      drydock test --fast
      drydock test --check
      drydock test tests/charts -k accelerator
    """
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.tools.setup import set_up_everything

    project = Project.discover()
    if not (project.root / "tests").is_dir():
        raise UsageError(f"{project.root} has no tests/", remedy="Run this in a checkout of Drydock.")
    if check and (fast or coverage or pytest_arguments):
        raise UsageError("--check runs no tests", remedy="Leave the other arguments out.")
    pytest = [sys.executable, "-m", "pytest", *_distribution(pytest_arguments)]
    if fast:
        pytest += ["-m", FAST]
    if coverage:
        pytest += ["--cov", "--cov-report=term:skip-covered", "--cov-report=html"]
    if pytest_arguments:
        return _run([*pytest, *pytest_arguments], project.root)
    with _beside(TYPES, project.root) as types:
        failed = max([_run(item, project.root) for item in STYLE])
        if check:
            return types() or failed
        if not fast:
            with terminal_progress() as progress:
                set_up_everything(project, progress)
        return max(_run(pytest, project.root), types()) or failed


@contextmanager
def _beside(command: list[str], folder: Path) -> Iterator[Callable[[], int]]:
    """Run a command beside others; what is given waits for it, prints its output and returns its status."""
    with (
        tempfile.TemporaryFile() as output,
        subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT) as process,
    ):

        def finish() -> int:
            status = process.wait()
            output.seek(0)
            click.echo(f"{_shown(command)}\n{output.read().decode().rstrip()}", err=True)
            return _STATUS.get(status, 1)

        try:
            yield finish
        finally:
            process.kill()


def _distribution(arguments: Sequence[str]) -> list[str]:
    """How many tests run side by side; tests/distribution.py says which."""
    if any(argument.startswith(("-n", "--numprocesses", "--pdb", "--trace")) for argument in arguments):
        return []
    if any("::" in argument for argument in arguments):
        return []  # starting workers takes longer than a test or two
    return ["-n", str(_workers())]


def _workers() -> int:
    """One and a half for each processor: tests of control planes wait a third of their time."""
    import psutil

    return max(1, min((os.cpu_count() or 1) * 3 // 2, psutil.virtual_memory().total // (MEMORY_GIB * 1024**3)))


def _shown(command: list[str]) -> str:
    return f"$ {' '.join(Path(part).name if part == sys.executable else part for part in command)}"


def _run(command: list[str], folder: Path) -> int:
    click.echo(_shown(command), err=True)
    # Tests start Python a thousand times: it compiles each module once, whatever the shell says.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    status = subprocess.run(command, cwd=folder, env=environment, check=False).returncode
    return _STATUS.get(status, 1)
