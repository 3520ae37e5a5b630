"""Pain 8: every render differs, so Argo CD syncs for ever and servers restart each time."""

import re

import pytest

from drydock.project import Project
from drydock.suite.environments import environment_names
from drydock.testing.pytest_plugin import RenderEnvironment

CHANGING = (
    r"rand\w*|shuffle|uuidv4|now|ago|unixEpoch|lookup|env|expandenv|getHostByName|htpasswd|bcrypt|"
    r"gen(?:CA|SignedCert|SelfSignedCert|PrivateKey)\w*|encryptAES"
)
"""Functions of Helm's templates whose result is another one each time, or depends on where they run."""


@pytest.mark.parametrize("name", environment_names(Project.discover()))
def test_an_environment_renders_to_the_same_bytes_again_and_under_both_helms(
    name: str, render_environment: RenderEnvironment
) -> None:
    first, again, older = (
        [each.text for each in render_environment(name, helm=helm).manifests] for helm in ("helm4", "helm4", "helm3")
    )
    assert first
    assert first == again == older


def test_no_template_calls_what_changes(drydock_project: Project) -> None:
    templates = [
        file
        for pattern in ("*/templates/**/*.yaml", "*/templates/**/*.tpl", "*/templates/**/*.txt")
        for file in drydock_project.charts_dir.glob(pattern)
    ]
    assert templates
    calls = re.compile(rf"(?:[({{|]-?|\belse if|\bif|\bwith|:=|\b(?:and|or|not|list|dict|tuple))\s*({CHANGING})\b")
    for file in templates:
        text = re.sub(r"\{\{-?\s*/\*.*?\*/\s*-?\}\}", "", file.read_text(), flags=re.DOTALL)
        actions = re.findall(r"\{\{-?(.*?)-?\}\}", text, re.DOTALL)
        found = [match[1] for action in actions for match in calls.finditer("{" + re.sub(r'"[^"]*"', '""', action))]
        assert found == [], file
