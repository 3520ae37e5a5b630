"""`drydock test`: builds only what is asked for, and leaves out what takes long."""

from pathlib import Path

from tests.conftest import Drydock


def test_tests_that_are_named_build_nothing_by_themselves(drydock: Drydock, tmp_path: Path) -> None:
    done = drydock("test", "tests/tools/test_process.py", "--collect-only", "-q", env={"DRYDOCK_CACHE": str(tmp_path)})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tests/tools/test_process.py::" in done.stdout
    assert not (tmp_path / "tools").exists()


def test_fast_leaves_out_what_starts_a_control_plane_or_helm(drydock: Drydock) -> None:
    files = ("tests/rehearsal/test_ready.py", "tests/rehearsal/test_choices.py", "tests/charts/test_tenancy.py")
    done = drydock("test", "--fast", *files, "--collect-only", "-q")
    assert "tests/rehearsal/test_choices.py::" in done.stdout
    assert "tests/rehearsal/test_ready.py::" not in done.stdout
    assert "tests/charts/test_tenancy.py::" not in done.stdout


def test_check_runs_no_tests(drydock: Drydock) -> None:
    done = drydock("test", "--check", "--fast")
    assert (done.returncode, done.stderr) == (2, "error: --check runs no tests\n  Leave the other arguments out.\n")
