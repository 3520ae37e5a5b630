"""ci/github-actions.yaml: least rights, pinned actions, and commands that exist. GitHub itself was not asked."""

import re
import shlex
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click
import yaml

from drydock.cli import VERBS
from tests.conftest import ROOT

FILE = ROOT / "ci" / "github-actions.yaml"
TEXT = FILE.read_text()
WORKFLOW: Mapping[Any, Any] = yaml.safe_load(TEXT)
TRIGGERS: Mapping[str, Any] = WORKFLOW[True]  # how YAML 1.1 reads `on`
JOBS: Mapping[str, Any] = WORKFLOW["jobs"]


def steps(action: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, job in JOBS.items():
        yield from ((name, each) for each in job["steps"] if each.get("uses", "").startswith(f"{action}@"))


def test_actions_are_pinned_by_commit_with_the_version_beside_it() -> None:
    used = re.findall(r"uses: (.+)", TEXT)
    assert len(used) > 15
    assert [each for each in used if not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", each)] == []
    assert len({each.partition("@")[0] for each in used}) == len(set(used)), "one commit for each action"


def test_a_job_may_only_what_it_needs_and_ends() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    more = {name: set(job["permissions"]) - {"contents"} for name, job in JOBS.items() if "permissions" in job}
    assert more == {
        "expired": {"id-token"},
        "diff": set(),
        "comment": {"pull-requests"},
        "package": {"id-token", "attestations"},
    }
    writers = {name for name, job in JOBS.items() if "write" in job.get("permissions", {}).values()}
    assert writers == {"expired", "comment", "package"}
    assert all(job["permissions"].get("contents", "read") == "read" for job in JOBS.values() if "permissions" in job)
    assert all(job["timeout-minutes"] <= 90 for name, job in JOBS.items() if name != "expired")
    assert all(each["with"]["persist-credentials"] is False for _, each in steps("actions/checkout"))
    assert "secrets." not in TEXT, "AWS is reached by OpenID Connect"
    (credentials,) = steps("aws-actions/configure-aws-credentials")
    assert credentials[0] == "expired"
    assert set(credentials[1]["with"]) == {"role-to-assume", "aws-region", "role-duration-seconds"}


def test_credentials_outlive_the_removal_and_only_main_gets_them() -> None:
    job, (credentials,) = JOBS["expired"], steps("aws-actions/configure-aws-credentials")
    assert credentials[1]["with"]["role-duration-seconds"] > job["timeout-minutes"] * 60
    assert job["environment"] == "drydock-destroy"
    assert job["concurrency"] == {"group": "drydock-expired", "cancel-in-progress": False}


def test_who_may_write_runs_no_code_of_a_pull_request() -> None:
    assert JOBS["comment"]["needs"] == "diff"
    assert not [
        each for each in JOBS["comment"]["steps"] if "checkout" in each.get("uses", "") or "scripts/" in str(each)
    ]


def test_nothing_ends_the_hourly_removal_in_the_middle() -> None:
    assert [each["cron"] for each in TRIGGERS["schedule"]] == ["17 * * * *"]
    assert "github.event_name" in WORKFLOW["concurrency"]["group"]
    assert WORKFLOW["concurrency"]["cancel-in-progress"] == "${{ github.event_name == 'pull_request' }}"
    scheduled = {name for name, job in JOBS.items() if job.get("if") != "github.event_name != 'schedule'"}
    assert scheduled == {"expired", "diff", "comment", "package"}
    assert "github.event_name == 'schedule'" in JOBS["expired"]["if"]


def test_its_commands_are_commands() -> None:
    run = [each.get("run", "") for job in JOBS.values() for each in job["steps"]]
    told = [re.sub(r"\$\{\{.*?\}\}", "VALUE", each) for each in run]
    lines = [line for each in told for line in re.findall(r"scripts/run ([^|&;>\n]+)", each)]
    assert len(lines) >= 8
    for line in lines:
        verb, *arguments = shlex.split(line)
        assert verb in VERBS, line
        command: click.Command = import_module(f"drydock.cli.{verb}").command
        command.make_context(verb, arguments)


def test_forks_are_compared_and_not_written_to() -> None:
    assert [each for each in JOBS["comment"]["steps"] if "gh pr comment" in each.get("run", "")]
    assert JOBS["comment"]["if"] == "github.event.pull_request.head.repo.full_name == github.repository"
    assert any("GITHUB_STEP_SUMMARY" in each.get("run", "") for each in JOBS["diff"]["steps"])
