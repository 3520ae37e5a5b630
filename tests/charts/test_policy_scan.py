"""checkov finds nothing in the rendered environments but what checkov_reasons.yaml gives a reason for."""

import json
import subprocess
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.testing.pytest_plugin import RenderEnvironment
from drydock.tools.python_programs import ensure_python
from tests.conftest import ROOT

REQUIREMENTS = ROOT / "tests" / "deploy" / "checkov.txt"
REASONS = yaml.safe_load(Path(__file__).with_name("checkov_reasons.yaml").read_text())
ENVIRONMENTS = ("airgap", "auto-mode", "dev", "prod")
PASSED = 2_000


@pytest.fixture(scope="module")
def checkov(drydock_project: Project) -> Path:
    return ensure_python(drydock_project, "checkov", PlainProgress(), REQUIREMENTS) / "bin" / "checkov"


def has_reason(check: str, found: str) -> bool:
    known = REASONS.get(check)
    return known is not None and any(fnmatch(found, pattern) for pattern in known.get("objects", ("*",)))


def test_every_finding_has_a_reason_and_every_reason_a_finding(
    checkov: Path, render_environment: RenderEnvironment, tmp_path: Path
) -> None:
    for name in ENVIRONMENTS:
        text = "---\n".join(manifest.text for manifest in render_environment(name).manifests)
        (tmp_path / f"{name}.yaml").write_text(text)
    options = ["--framework", "kubernetes", "--skip-download", "--compact", "--quiet", "--output", "json"]
    done = subprocess.run(
        [str(checkov), *options, "--directory", str(tmp_path)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stdout, done.stderr
    scanned = json.loads(done.stdout)
    failed = [(failure["check_id"], failure["resource"]) for failure in scanned["results"]["failed_checks"]]
    assert [failure for failure in failed if not has_reason(*failure)] == []
    assert {check for check, _ in failed} == set(REASONS), "a reason without a finding is out of date"
    assert scanned["summary"]["parsing_errors"] == 0
    assert scanned["summary"]["passed"] > PASSED
