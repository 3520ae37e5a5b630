"""What the rehearsal makes of Helm's answers, told by a program in its place."""

from pathlib import Path

import pytest

from drydock.errors import ClusterError
from drydock.rehearsal.helm import Helm
from drydock.suite.environments import Environment

LATE = (
    "Error: INSTALLATION FAILED: resource CustomResourceDefinition//workflows.argoproj.io not ready. "
    "status: InProgress, message: Install in progress\ncontext deadline exceeded"
)
LATE_FOR_HELM_3 = "Error: INSTALLATION FAILED: context deadline exceeded"


def helm(folder: Path, *answers: str) -> Helm:
    """One that fails with each answer in turn, and then succeeds; it keeps what it was asked."""
    lines = ["#!/bin/sh", f'echo "$@" >> {folder}/asked', f"case $(wc -l < {folder}/asked | tr -d ' ') in"]
    lines += [f"{number}) echo '{answer}' >&2; exit 1;;" for number, answer in enumerate(answers, 1)]
    program = folder / "helm"
    program.write_text("\n".join([*lines, "esac\n"]))
    program.chmod(0o700)
    return Helm(program, folder / "kubeconfig", folder / "home")


def asked(folder: Path) -> int:
    return len((folder / "asked").read_text().splitlines())


@pytest.mark.parametrize("answer", [LATE, LATE_FOR_HELM_3])
def test_crds_that_take_the_api_server_long_are_waited_for(answer: str, tmp_path: Path) -> None:
    helm(tmp_path, answer, answer).install(tmp_path, Environment("dev", tmp_path, "", ()))
    assert asked(tmp_path) == 3


@pytest.mark.parametrize(("answers", "times"), [((LATE, LATE, LATE, LATE), 3), (("Error: no such value",), 1)])
def test_what_does_not_pass_is_told(answers: tuple[str, ...], times: int, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="the install of environment dev failed") as failure:
        helm(tmp_path, *answers).install(tmp_path, Environment("dev", tmp_path, "", ()))
    assert answers[0].removeprefix("Error: ").splitlines()[0] in failure.value.message
    assert asked(tmp_path) == times


@pytest.mark.parametrize("skip_crds", [True, False])
def test_crds_that_are_there_are_left_out(skip_crds: bool, tmp_path: Path) -> None:
    helm(tmp_path).install(tmp_path, Environment("dev", tmp_path, "", ()), skip_crds=skip_crds)
    assert ("--skip-crds" in (tmp_path / "asked").read_text().split()) == skip_crds
