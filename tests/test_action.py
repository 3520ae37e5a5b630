"""The GitHub Action and the hook of pre-commit, by running what they run in a repository of somebody else's."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Drydock
from tests.suite.brought import DEPLOYMENT, write

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
BASH = shutil.which("bash") or "bash"
ENVIRONMENT = "description: Ours\nsuite: nodes\ninstall: [{manifests: k8s}]\n"
LATEST = DEPLOYMENT.replace(":1.4.2", ":latest")


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """$RUNNER_TEMP after the step that installs; pip finds the dependencies of this environment."""
    temp = tmp_path_factory.mktemp("runner")
    done = run(0, temp, ROOT, {})
    assert done.returncode == 0, done.stderr
    return temp


def run(step: int, temp: Path, folder: Path, inputs: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """One step as GitHub runs it."""
    given = {name: each.get("default", "") for name, each in ACTION["inputs"].items()} | dict(inputs)
    content = ACTION["runs"]["steps"][step]
    (temp / "step.sh").write_text(content["run"])
    variables = {
        name: given[text.removeprefix("${{ inputs.").removesuffix(" }}")]
        for name, text in content.get("env", {}).items()
    }
    files = {name: str(temp / name.lower()) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
    here = {"RUNNER_TEMP": str(temp), "GITHUB_ACTION_PATH": str(ROOT), "PYTHONPATH": sysconfig.get_path("purelib")}
    here["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [BASH, "--noprofile", "--norc", "-eo", "pipefail", str(temp / "step.sh")],
        env={**os.environ, **here, **files, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.programs
def test_the_action_annotates_findings_and_ends_as_validate_does(runner: Path, tmp_path: Path) -> None:
    repository = write(tmp_path, {"drydock/environments/ours.yaml": ENVIRONMENT, "k8s/web.yaml": DEPLOYMENT})
    fine = run(1, runner, repository, {"environment": "ours"})
    assert fine.returncode == 0, fine.stderr
    write(repository, {"k8s/web.yaml": LATEST})
    wrong = run(1, runner, repository, {"environment": "ours", "sarif": "findings.sarif"})
    assert wrong.returncode == 1, wrong.stderr
    assert "::error file=k8s/web.yaml" in wrong.stdout
    assert json.loads((repository / "findings.sarif").read_text())["runs"][0]["results"]
    quoted = run(1, runner, repository, {"arguments": "--manifests 'k8s' --namespace \"a b\""})
    assert quoted.returncode == 1
    unknown = run(1, runner, repository, {"command": "deploy; rm -rf ."})
    assert (unknown.returncode, "is not validate, rehearse or diff" in unknown.stdout) == (2, True)


@pytest.mark.programs
def test_the_action_summarizes_a_change(runner: Path, tmp_path: Path) -> None:
    repository = write(tmp_path, {"drydock/environments/ours.yaml": ENVIRONMENT, "k8s/web.yaml": DEPLOYMENT})
    git = ["git", "-C", str(repository), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *words], check=True)
    write(repository, {"k8s/web.yaml": DEPLOYMENT.replace("1.4.2", "1.5.0")})
    done = run(1, runner, repository, {"command": "diff", "environment": "ours", "arguments": "--against HEAD"})
    assert done.returncode == 0, done.stderr
    summary = (runner / "github_step_summary").read_text()
    assert "web:1.5.0" in summary
    assert "Deployment/default/web" in summary


def test_the_hook_of_pre_commit_checks_the_environments_of_a_repository(drydock: Drydock, tmp_path: Path) -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    program, *arguments = shlex.split(hook["entry"])
    assert (program, hook["language"], hook["pass_filenames"]) == ("drydock", "python", False)
    repository = write(tmp_path, {"drydock/environments/ours.yaml": ENVIRONMENT, "k8s/web.yaml": DEPLOYMENT})
    fine = drydock(*arguments, cwd=repository)
    assert fine.returncode == 0, fine.stdout
    write(repository, {"k8s/web.yaml": LATEST})
    wrong = drydock(*arguments, cwd=repository)
    assert wrong.returncode == 1
    assert "k8s/web.yaml" in wrong.stdout


def test_the_page_names_inputs_outputs_and_hooks_that_exist() -> None:
    page = (ROOT / "docs/bring-your-own.md").read_text()
    fences = [text.partition("```")[0] for text in page.split("```yaml part-of=.")[1:]]
    workflow, hooks = (yaml.safe_load(text.partition("\n")[2]) for text in fences)
    steps = workflow["jobs"]["drydock"]["steps"]
    used = [each["with"] for each in steps if each["uses"].startswith("OWNER/")]
    assert {name for each in used for name in each} <= ACTION["inputs"].keys()
    assert "outputs.report" in json.dumps(steps)
    assert "report" in ACTION["outputs"]
    for name in ACTION["inputs"]:
        assert f"| `{name}` |" in page
    (offered,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())
    assert [each["id"] for repository in hooks["repos"] for each in repository["hooks"]] == [offered["id"]]
