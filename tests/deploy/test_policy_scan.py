"""checkov finds nothing in ci/eks but what .checkov.yaml there gives a reason for."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.tools.python_programs import ensure_python
from tests.conftest import ROOT

REQUIREMENTS = Path(__file__).with_name("checkov.txt")
EKS = ROOT / "ci" / "eks"


@pytest.fixture(scope="module")
def checkov(drydock_project: Project) -> Path:
    """In an environment of its own in the cache, because it pins many of our libraries to other versions."""
    return ensure_python(drydock_project, "checkov", PlainProgress(), REQUIREMENTS) / "bin" / "checkov"


def scan(checkov: Path, folder: Path) -> Any:
    options = ["--config-file", str(EKS / ".checkov.yaml"), "--directory", str(folder), "--output", "json"]
    done = subprocess.run([str(checkov), *options], capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout, done.stderr
    return json.loads(done.stdout)


def test_nothing_is_found_but_what_has_a_reason(checkov: Path) -> None:
    told = scan(checkov, EKS)
    assert [(each["check_id"], each["resource"]) for each in told["results"]["failed_checks"]] == []
    assert told["summary"]["passed"] > 150
    assert told["summary"]["parsing_errors"] == 0


def test_a_bucket_that_anybody_may_read_is_found(checkov: Path, tmp_path: Path) -> None:
    for file in EKS.glob("*.tf"):
        shutil.copy(file, tmp_path)
    storage = tmp_path / "storage.tf"
    storage.write_text(storage.read_text().replace("block_public_acls       = true", "block_public_acls       = false"))
    failed = {each["check_id"] for each in scan(checkov, tmp_path)["results"]["failed_checks"]}
    assert "CKV_AWS_53" in failed
