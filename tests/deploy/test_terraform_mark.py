"""Tests that need Terraform are left out where it is not, said so, and never lost where it is required."""

import os
import subprocess
import sys

from tests.conftest import ROOT


def collected(**env: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "tests/deploy/test_eks_terraform.py",
        "--collect-only",
        "-p",
        "no:cacheprovider",
    ]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **env}, capture_output=True, text=True, check=False)


def test_without_a_mirror_they_are_deselected_and_the_header_says_so() -> None:
    without = collected(TF_CLI_CONFIG_FILE="", DRYDOCK_REQUIRE="")
    assert "terraform: tests are deselected: " in without.stdout
    assert "deselected / 0 selected" in without.stdout or "no tests collected" in without.stdout


def test_where_they_are_required_their_absence_is_an_error() -> None:
    required = collected(TF_CLI_CONFIG_FILE="", DRYDOCK_REQUIRE="terraform")
    assert required.returncode != 0
    assert "DRYDOCK_REQUIRE=terraform: " in required.stdout + required.stderr
