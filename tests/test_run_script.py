"""scripts/run: the virtual environment, made once for each set of requirements."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.programs

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose package needs nothing, so that installing it takes a moment and no network."""
    root = tmp_path / "check out"  # users' folders have spaces
    (root / "scripts" / "drydock").mkdir(parents=True)
    (root / "ci").mkdir()
    shutil.copy(ROOT / "scripts" / "run", root / "scripts" / "run")
    (root / "ci" / "constraints.txt").write_text("")
    (root / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["scripts"]\n'
        '[project]\nname = "drydock"\nversion = "1"\n[project.optional-dependencies]\ndev = []\n'
        '[project.scripts]\ndrydock = "drydock:main"\n'
    )
    (root / "scripts" / "drydock" / "__init__.py").write_text(
        "import sys\n\n\ndef main():\n    print('drydock', *sys.argv[1:])\n    sys.exit(7)\n"
    )
    shutil.copy(Path(__file__).parent / "data" / "build_backend.py", root / "scripts" / "backend.py")
    return root


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(checkout / "scripts" / "run"), *arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=300, env=environment, cwd=checkout.parent
    )


def test_arguments_and_exit_status_pass_through_and_a_second_run_installs_nothing(checkout: Path) -> None:
    first = run(checkout, "render", "dev", "--set", "a=b c")
    assert first.stdout == "drydock render dev --set a=b c\n"
    assert first.returncode == 7
    assert "virtual environment" in first.stderr
    second = run(checkout, "validate")
    assert (second.stdout, second.stderr, second.returncode) == ("drydock validate\n", "", 7)


def test_changed_requirements_install_again(checkout: Path) -> None:
    run(checkout)
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# changed\n")
    assert "Install" in run(checkout).stderr


def test_a_half_made_environment_is_made_again(checkout: Path) -> None:
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "python").write_text("")
    assert run(checkout, "x").stdout == "drydock x\n"


def test_a_failed_installation_is_told_and_tried_again(checkout: Path) -> None:
    good = (checkout / "pyproject.toml").read_text()
    (checkout / "pyproject.toml").write_text("not toml [")
    failed = run(checkout)
    assert failed.returncode == 1
    assert "error: Install Drydock's Python packages failed" in failed.stderr
    assert 'Traceback (most recent call last):\n  File "' + str(checkout / "scripts") not in failed.stderr
    (checkout / "pyproject.toml").write_text(good)
    assert run(checkout, "x").stdout == "drydock x\n"
