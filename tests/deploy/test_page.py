"""The commands in docs/deploy.md are commands: their verbs and options exist, and so do the files that they name."""

import re
import shlex
from importlib import import_module

import click
import pytest
import yaml

from drydock.cli import VERBS
from drydock.testing.integration import MARKS
from tests.conftest import ROOT

PAGES = ("deploy.md", "pytest.md")
BLOCK = re.compile(r"```console\n(.*?)```", re.DOTALL)


def commands(program: str) -> list[str]:
    blocks = "".join(block for page in PAGES for block in BLOCK.findall((ROOT / "docs" / page).read_text()))
    lines = [line.split(" #")[0].strip() for line in blocks.splitlines()]
    return [line for line in lines if line.startswith(f"{program} ")]


@pytest.mark.parametrize("line", commands("drydock"))
def test_drydock_takes_it(line: str) -> None:
    _, verb, *arguments = shlex.split(line)
    assert verb in VERBS
    command: click.Command = import_module(f"drydock.cli.{verb}").command
    command.make_parser(click.Context(command)).parse_args(arguments)


@pytest.mark.parametrize("line", commands("pytest"))
def test_pytest_takes_it(line: str, pytestconfig: pytest.Config) -> None:
    _, *arguments = shlex.split(line)
    given = pytestconfig._parser.parse_known_args(arguments)
    assert all((ROOT / each).exists() for each in given.file_or_dir)
    known = {"kind", "existing", None}
    assert given.cluster_type in known


def test_the_page_has_the_steps_of_the_way() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text()
    steps = re.findall(r"^## (\d)\. ", page, re.MULTILINE)
    assert steps == ["1", "2", "3", "4", "5", "6"]
    assert len(commands("drydock")) > 8


def test_the_list_of_what_targets_lack_names_marks_that_there_are() -> None:
    targets = yaml.safe_load((ROOT / "scripts/drydock/data/targets.yaml").read_text())
    assert {mark for target in targets.values() for mark in target["lacks"]} <= set(MARKS)
    assert set(targets) == {"rehearsal", "kind", "eks", "eks-auto-mode", "existing"}
