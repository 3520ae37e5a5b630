"""drydock test."""

import subprocess
import sys
from pathlib import Path

import click


@click.command("test", context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]})
@click.argument("pytest_arguments", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST ARGUMENT]...")
def command(pytest_arguments: tuple[str, ...]) -> int:
    r"""Build what the tests need, then run ruff, mypy and pytest over this checkout.

    With arguments, only pytest runs, and gets them.

    \b
    Examples:
      drydock test
      drydock test tests/charts -k accelerator
    """
    from drydock.errors import UsageError
    from drydock.progress import terminal_progress
    from drydock.project import Project
    from drydock.tools.setup import set_up_everything

    project = Project.discover()
    if not (project.root / "tests").is_dir():
        raise UsageError(f"{project.root} has no tests/", remedy="Run this in a checkout of Drydock.")
    with terminal_progress() as progress:
        set_up_everything(project, progress)
    pytest = [sys.executable, "-m", "pytest"]
    if pytest_arguments:
        return _run([*pytest, *pytest_arguments], project.root)
    sources = ["scripts", "tests"]
    failed = _run([sys.executable, "-m", "ruff", "format", "--check", *sources, "scripts/run"], project.root)
    failed |= _run([sys.executable, "-m", "ruff", "check", *sources], project.root)
    failed |= _run([sys.executable, "-m", "mypy"], project.root)
    return _run([*pytest, "-n", "2", "--dist", "loadfile"], project.root) or failed


def _run(command: list[str], folder: Path) -> int:
    click.echo(f"$ {' '.join(Path(part).name if part == sys.executable else part for part in command)}", err=True)
    return 1 if subprocess.run(command, cwd=folder, check=False).returncode else 0
