"""Arguments that several verbs share."""

import re
from collections.abc import Callable, Iterable
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.core import ParameterSource

from drydock.errors import UsageError
from drydock.project import Project
from drydock.suite.environments import Environment, environment_names, load_environment, load_environments

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_Command = TypeVar("_Command", bound=Callable[..., object])


class EnvironmentName(click.ParamType[str]):
    """Name of an environment, completed in the shell; whether it exists is told when it is loaded."""

    name = "environment"

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list["CompletionItem"]:
        """Names that begin with what was typed."""
        from click.shell_completion import CompletionItem

        names = environment_names(Project.discover())
        return [CompletionItem(each) for each in names if each.startswith(incomplete)]


class ArrivalName(click.Choice[str]):
    """How conversations of an open loop are spaced; the same words with the same meaning in every verb."""

    def __init__(self, *names: str) -> None:
        super().__init__(names or ("constant", "poisson", "gamma"))

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name; the one of earlier versions is refused with what it is called now."""
        if value == "even":
            raise UsageError(
                "--arrival even is called --arrival constant: equal gaps, as in every other verb",
                remedy="--arrival constant; what simulate and calibrate called constant, random moments, is poisson",
            )
        return str(super().convert(value, param, ctx))


class NumberRange(click.FloatRange):
    """A range of numbers that `nan` is outside of."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The number."""
        try:
            float(value)
        except (TypeError, ValueError):
            self.fail(f"{value!r} is not a number.", param, ctx)
        number = float(super().convert(value, param, ctx))
        if isnan(number):
            self.fail(f"{value!r} is not a number.", param, ctx)
        return number


def refuse_unused(names: Iterable[str], why: str, remedy: str) -> None:
    """Refuse options that the command line gives and that nothing would use.

    Args:
        names: of parameters of the current command.
        why: completes "--option: ...".
        remedy: what to do.

    Raises:
        UsageError: the command line gives one of them.
    """
    context = click.get_current_context()
    given = [
        param.opts[0]
        for param in context.command.params
        if param.name in names and context.get_parameter_source(param.name) is ParameterSource.COMMANDLINE
    ]
    if given:
        raise UsageError(f"{', '.join(given)}: {why}", remedy=remedy)


def check_folder(option: str, file: Path | None) -> None:
    """Try whether a file can be made, before the work whose result it would hold.

    Raises:
        UsageError: its folder does not exist or cannot be written to.
    """
    if file and not file.parent.is_dir():
        raise UsageError(f"{option} {file}: there is no folder {file.parent}", remedy=f"mkdir -p {file.parent}")
    if file:
        _try(option, file, file.parent)


def check_writable(option: str, folder: Path) -> None:
    """Make a folder for results and try whether files can be written there, before the work whose result it holds.

    Raises:
        UsageError: they cannot.
    """
    _try(option, folder, folder)


def _try(option: str, named: Path, folder: Path) -> None:
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".drydock-"):
            pass
    except OSError as error:
        raise UsageError(
            f"{option} {named}: {error.strerror}", remedy="Name a folder that can be written to."
        ) from error


def stack_options(command: _Command) -> _Command:
    """`-f` and `--set`, as Helm takes them, on top of the environment's own stack."""
    set_option = click.option(
        "--set",
        "set_values",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set one value, as Helm's --set does; repeatable.",
    )
    file_option = click.option(
        "-f",
        "--values",
        "files",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Helm values file on top of the environment's stack; repeatable.",
    )
    return file_option(set_option(command))


def one_environment(project: Project, name: str, files: tuple[Path, ...], set_values: tuple[str, ...]) -> Environment:
    """The named environment with the stack options on top."""
    return load_environment(project, name).stacked(files, set_values)


def some_environments(
    project: Project, names: tuple[str, ...], files: tuple[Path, ...], set_values: tuple[str, ...]
) -> tuple[Environment, ...]:
    """The named environments, or all, each with the stack options on top."""
    return tuple(environment.stacked(files, set_values) for environment in load_environments(project, names))


def check_account_id(account_id: str) -> None:
    """Look at what `--account-id` was given, before anybody is asked about it.

    Raises:
        UsageError: it is not the number of an AWS account.
    """
    if not re.fullmatch("[0-9]{12}", account_id):
        raise UsageError(
            f"--account-id {account_id}: not an AWS account", remedy="Give its 12 digits, without hyphens or spaces."
        )
