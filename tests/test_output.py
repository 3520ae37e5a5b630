"""What verbs print can be copied and pasted, and is valid JSON where that was asked for, also when they fail."""

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path

import click
import pytest

from drydock.cli import VERBS
from drydock.cli.output import columns
from drydock.project import Project
from tests.conftest import ROOT, Drydock

HANDS_OVER = {"test"}
"""Verbs whose output is another program's: pytest has its own formats."""


def commands(verb: str) -> list[click.Command]:
    command = import_module(f"drydock.cli.{verb.replace('-', '_')}").command
    return list(command.commands.values()) if isinstance(command, click.Group) else [command]


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb not in HANDS_OVER])
def test_every_verb_has_json(verb: str) -> None:
    for command in commands(verb):
        (form,) = (each for each in command.params if each.name == "form")
        assert isinstance(form.type, click.Choice)
        assert "json" in form.type.choices


@pytest.mark.parametrize(
    ("arguments", "kind", "status"),
    [
        (["validate", "nope", "--format", "json"], "UsageError", 2),
        (["rehearse", "dev", "--format=json", "--timeout", "soon"], "BadParameter", 2),
        (["plan", "no-such-model", "--json"], "UsageError", 2),
        (["down", "no-such-run", "--format", "json"], "UsageError", 2),
        (["environmental", "--format", "json"], "UsageError", 2),
    ],
)
def test_a_failure_is_json_too(drydock: Drydock, arguments: list[str], kind: str, status: int) -> None:
    done = drydock(*arguments)
    assert done.returncode == status
    error = json.loads(done.stdout)["error"]
    assert (error["type"], error["exitStatus"]) == (kind, status)
    assert error["message"] in done.stderr


def test_an_unknown_verb_and_the_one_that_was_meant(drydock: Drydock) -> None:
    done = drydock("rehearze")
    assert done.returncode == 2
    assert "Did you mean 'rehearse'?" in done.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [("- a\n", "a list, not a mapping"), ("a: [\n", "not YAML: line "), (None, "is a folder"), ("text", "text, not a")],
)
@pytest.mark.parametrize("verb", ["validate", "render", "rehearse"])
def test_what_is_no_values_file_is_wrong_usage(
    drydock: Drydock, tmp_path: Path, verb: str, content: str | None, said: str
) -> None:
    file = tmp_path / "mine.yaml"
    file.mkdir() if content is None else file.write_text(content)
    done = drydock(verb, "dev", "-f", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"-f {file}: {said}" in done.stderr


def test_a_value_that_is_not_given_is_wrong_usage(drydock: Drydock) -> None:
    done = drydock("validate", "dev", "--set", "vllm.models")
    assert done.returncode == 2
    assert "--set vllm.models: no value" in done.stderr


@pytest.mark.parametrize("command", [("rehearse", "dev"), ("deploy", "dev", "--target", "rehearsal"), ("package",)])
def test_a_folder_that_cannot_be_written_is_named_before_the_work(
    drydock: Drydock, tmp_path: Path, command: tuple[str, ...]
) -> None:
    file = tmp_path / "file"
    file.touch()
    done = drydock(*command, "-o", file / "report", timeout=60)
    assert done.returncode == 2
    assert f"-o {file / 'report'}: Not a directory" in done.stderr


def test_one_broken_environment_keeps_no_other_from_being_listed(
    drydock: Drydock, small_project: Callable[[dict[str, str]], Project]
) -> None:
    project = small_project(
        {
            "values/environments/bad.yaml": "stak: []\n",
            "values/environments/good.yaml": "description: fine\nstack: [empty.yaml]\n",
        }
    )
    env = {"DRYDOCK_PROJECT": str(project.root), "DRYDOCK_CACHE": str(project.cache_dir)}
    done = drydock("environments", "--format", "json", env=env)
    assert done.returncode == 1
    good, bad = json.loads(done.stdout)
    assert good["name"] == "good"
    assert "'stak' was unexpected" in bad["error"]["message"]
    shown = drydock("environments", env=env)
    assert shown.returncode == 1
    assert "good" in shown.stdout
    assert "bad.yaml" in shown.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("environments",),
        ("deploy", "--list"),
        ("doctor",),
        ("down", "--list"),
        ("plan", "llama-3.1-8b"),
        ("simulate", "--gpu", "h100", "--model", "llama-3-8b", "--concurrency", "1", "--duration", "1"),
    ],
)
def test_a_narrow_pipe_cuts_nothing_and_pads_nothing(drydock: Drydock, command: tuple[str, ...]) -> None:
    narrow, wide = (drydock(*command, env={"COLUMNS": width}).stdout for width in ("40", "4000"))
    assert _without_sizes(narrow) == _without_sizes(wide)
    assert "…" not in narrow
    assert not re.search(r"[ \t]$", narrow, re.MULTILINE)


def test_a_narrow_terminal_cuts_no_cell() -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "drydock", "plan", "llama-3.1-8b"]
    with subprocess.Popen(command, stdout=theirs, env={**os.environ, "TERM": "xterm", "COLUMNS": "40"}):
        os.close(theirs)
        shown = b"".join(iter(partial(_read, ours), b"")).decode()
    os.close(ours)
    assert "\x1b[1m" in shown
    assert "requests of 131,072 tokens at once" in shown
    assert "…" not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # how Linux reports that no program has it open any more
        return b""


def _without_sizes(shown: str) -> str:
    """Other tests write into the cache meanwhile."""
    return re.sub(r" +", " ", re.sub(r"[0-9.]+ (bytes|kB|MB|GB)", "SIZE", shown))


def test_columns_end_with_their_last_cell() -> None:
    assert columns(("a", "long name"), [("x" * 100, "1"), ("y", "")]).splitlines() == [
        f"{'A':<100}  LONG NAME",
        f"{'x' * 100}  1",
        "y",
    ]


def test_commands_in_messages_are_as_the_program_was_called(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "run"), "plan"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert f"`{ROOT / 'scripts' / 'run'} plan --list` shows" in done.stderr
