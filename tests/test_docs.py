"""The pages tell of everything there is, and of nothing else."""

import re
from pathlib import Path

import pytest

from drydock.checks.registry import RULES
from drydock.cli import VERBS
from drydock.project import Project
from drydock.suite.environments import environment_names
from tests.conftest import ROOT, Drydock

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FIXTURE = re.compile(r"@pytest\.fixture(?:\(.*?(?:name=\"(?P<named>\w+)\")?\))?\ndef (?P<name>\w+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_inside_the_project_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
        assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_readme_names_every_verb_chart_and_environment(drydock_project: Project) -> None:
    readme = (ROOT / "README.md").read_text()
    charts = [file.parent.name for file in (ROOT / "charts").glob("*/Chart.yaml")]
    for name in (*charts, *environment_names(drydock_project)):
        assert f"`{name}`" in readme or f"[{name}]" in readme, name
    for verb in VERBS:
        assert re.search(rf"(drydock|scripts/run) {verb}\b", readme), verb


def test_the_page_on_checks_has_every_kind_of_finding() -> None:
    page = (ROOT / "docs" / "checks.md").read_text()
    missing = [rule.id for rule in RULES if f"`{rule.id}`" not in page]
    assert not missing


def test_the_page_on_fixtures_has_every_fixture() -> None:
    files = ("testing/pytest_plugin.py", "testing/cluster_fixtures.py")
    source = "".join((ROOT / "scripts" / "drydock" / name).read_text() for name in files)
    fixtures = {match["named"] or match["name"] for match in FIXTURE.finditer(source)}
    listed = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs" / "pytest.md").read_text(), re.MULTILINE))
    assert listed == fixtures


@pytest.mark.parametrize("verb", VERBS)
def test_help_teaches(drydock: Drydock, verb: str) -> None:
    done = drydock(verb, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: python -m drydock {verb}")
    assert len(done.stdout.splitlines()) > 5
    assert "\\b" not in done.stdout
    assert not re.search(r"Examples: +\S", done.stdout), "click has wrapped them"
