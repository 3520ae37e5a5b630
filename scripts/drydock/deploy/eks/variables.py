"""The variables of ci/eks: which there are, and which an environment may set."""

import re
from collections.abc import Collection
from pathlib import Path

from drydock.errors import UsageError
from drydock.suite.environments import Environment

_VARIABLE = re.compile(r'^variable "(\w+)"', re.MULTILINE)


def check_variables(
    environment: Environment, configuration: Path, of_command: Collection[str], of_target: Collection[str] = ()
) -> None:
    """Compare `eks` in the environment's file with the variables, since Terraform only warns of one that it lacks.

    Args:
        environment: with `eks`.
        configuration: folder ci/eks.
        of_command: variables that the command line and the environment's name give.
        of_target: variables that follow from `target` and `cluster`.

    Raises:
        UsageError: a key is no variable, or is not the file's to set.
    """
    known = {name for file in configuration.glob("*.tf") for name in _VARIABLE.findall(file.read_text())}
    for key in environment.eks:
        if key in of_command:
            raise UsageError(
                f"{environment.file}: eks.{key}: the command line says that", remedy="See `drydock deploy --help`."
            )
        if key in of_target:
            raise UsageError(
                f"{environment.file}: eks.{key}: the target says that",
                remedy="Set `target` (eks-auto-mode runs the nodes by EKS) or `cluster` in the same file.",
            )
        if key not in known:
            raise UsageError(
                f"{environment.file}: eks.{key}: no variable of {configuration}",
                remedy=f"Known: {', '.join(sorted(known - set(of_command) - set(of_target)))}.",
            )
