"""The main job, as a user gives it: every environment becomes ready."""

import json
from pathlib import Path

import pytest

from drydock.project import Project
from drydock.rehearsal.runs import list_clusters
from drydock.suite.environments import environment_names
from tests.conftest import ROOT, Drydock
from tests.rehearsal.ready_report import assert_ready

pytestmark = pytest.mark.cluster


PROD = "prod"
"""Rehearsed once, by tests/pains/test_pain_09_argo_cd_drift.py, which needs its cluster afterwards."""


@pytest.mark.parametrize("environment", [name for name in environment_names(Project(ROOT, ROOT)) if name != PROD])
def test_it_becomes_ready(environment: str, drydock: Drydock, drydock_project: Project, tmp_path: Path) -> None:
    done = drydock("rehearse", environment, "-o", tmp_path, "--format", "json", timeout=1500)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert json.loads((tmp_path / "report.json").read_text()) == report
    assert_ready(report)
    own = str(tmp_path)  # other tests rehearse the same environment
    assert [each.name for each in list_clusters(drydock_project) if each.state and own in each.state.owner.line] == []


def test_a_reports_limits_say_what_was_put_in_place_of_auto_mode(drydock: Drydock, tmp_path: Path) -> None:
    done = drydock("rehearse", "auto-mode", "-o", tmp_path, "--format", "json", "--timeout", "1", timeout=900)
    assert done.returncode == 1, "a second is too short to buy a node"
    report = json.loads(done.stdout)
    assert any("global.autoMode.enabled=false" in each for each in report["limits"])
    missing = {each["object"] for each in report["warnings"] if each["reason"] == "NotReady"}
    assert any(each.startswith("Deployment/genai/") for each in missing), "what was missing at the end is told"
