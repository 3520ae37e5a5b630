"""Arguments that several verbs share."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import wraps
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from drydock.errors import UsageError
from drydock.project import Project
from drydock.scheduling.prices import DEFAULT_SPOT_SHARE
from drydock.suite.environments import Environment, environment_names, load_environment, load_environments

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_Command = TypeVar("_Command", bound=Callable[..., object])


class EnvironmentName(click.ParamType[str]):
    """Name of an environment, completed in the shell; whether it exists is checked when it is loaded."""

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


def acceptance_rate_option(command: _Command) -> _Command:
    """How well speculative decoding guesses, for verbs that predict an engine."""
    return click.option(
        "--acceptance-rate",
        type=NumberRange(0, 1),
        metavar="N",
        help="Probability that a token guessed by speculative decoding is right, if those before it are.",
    )(command)


def spot_share_option(command: _Command) -> _Command:
    """`--spot-price-share`, for verbs that price nodes as Karpenter bought them."""
    return click.option(
        "--spot-price-share",
        type=NumberRange(0, 1, min_open=True),
        default=DEFAULT_SPOT_SHARE,
        show_default=True,
        help="Assumed price of spot capacity, as a share of the on-demand price.",
    )(command)


def objective_options(command: _Command) -> _Command:
    """`--objectives` and `--objective`: objectives from a file, or one by one."""
    file = click.option(
        "--objectives",
        "objectives_file",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="YAML file of objectives.",
    )
    single = click.option(
        "--objective",
        "objective_texts",
        multiple=True,
        metavar="NAME=N",
        help="One objective, for example ttft_p95_ms=500; repeatable.",
    )
    return file(single(command))


@dataclass(frozen=True)
class Bring:
    """Charts and manifests of others, as the options of `bring_options` name them."""

    chart: str
    chart_version: str
    repository: str
    release: str
    namespace: str
    manifests: tuple[Path, ...]
    kustomize: tuple[Path, ...]

    def __bool__(self) -> bool:
        return bool(self.chart or self.manifests or self.kustomize)


def bring_options(command: _Command) -> _Command:
    """Options that name charts and manifests of others, in place of an environment; the command gets `bring`."""

    @wraps(command)
    def gathered(*arguments: object, **named: Any) -> object:
        bring = Bring(**{each.name: named.pop(each.name) for each in fields(Bring)})
        return command(*arguments, bring=bring, **named)

    path = click.Path(path_type=Path)
    options = (
        click.option(
            "--chart", default="", metavar="CHART", help="A chart of others: a folder, .tgz or oci:// reference."
        ),
        click.option("--chart-version", default="", metavar="VERSION", help="Version of a chart that is fetched."),
        click.option("--repository", default="", metavar="URL", help="Chart repository that --chart is a name in."),
        click.option("--release", default="", metavar="NAME", help="Name of the chart's release; default the chart's."),
        click.option("--namespace", default="", metavar="NAME", help="Where others' objects go; default `default`."),
        click.option(
            "--manifests", type=path, multiple=True, metavar="PATH", help="A file or folder of manifests; repeatable."
        ),
        click.option(
            "--kustomize", type=path, multiple=True, metavar="DIR", help="A folder for Kustomize; repeatable."
        ),
    )
    decorated: Any = gathered
    for option in reversed(options):
        decorated = option(decorated)
    return cast(_Command, decorated)


def check_stray(bring: Bring) -> None:
    """See that options about what is brought have something to be about.

    Raises:
        UsageError: they have not.
    """
    stray = next((each.name for each in fields(bring) if getattr(bring, each.name)), "")
    if stray and not bring:
        raise UsageError(f"--{stray.replace('_', '-')} is for what --chart, --manifests or --kustomize bring")


def one_stack(
    project: Project, name: str | None, files: tuple[Path, ...], set_values: tuple[str, ...], bring: Bring
) -> Environment:
    """The named environment with the stack options on top, or what `bring` names with them as its chart's values.

    Raises:
        UsageError: neither is given, or both, or something that they name is not there.
    """
    check_stray(bring)
    if not bring:
        if not name:
            raise UsageError(
                "nothing to work on",
                remedy="Name an environment (drydock environments), or bring --chart, --manifests or --kustomize.",
            )
        return one_environment(project, name, files, set_values)
    if name:
        raise UsageError(
            f"{name} and {_given(bring)} together",
            remedy=f"List what belongs to {name} under `releases` or `manifests` of its file (docs/bring-your-own.md).",
        )
    if (files or set_values) and not bring.chart:
        raise UsageError("-f and --set are values of a chart, and there is none", remedy="Name one with --chart.")
    from drydock.progress import PlainProgress
    from drydock.suite.ad_hoc import environment_around, read_brought
    from drydock.tools.build import ensure

    brought = read_brought(
        project,
        chart=bring.chart,
        version=bring.chart_version,
        repository=bring.repository,
        release=bring.release,
        namespace=bring.namespace,
        manifests=bring.manifests,
        kustomize=bring.kustomize,
        files=files,
        set_values=set_values,
    )
    helm = ensure(project, ["helm4"], PlainProgress())["helm4"]
    return environment_around(project, helm, brought)


def _given(bring: Bring) -> str:
    return next(f"--{name}" for name in ("chart", "manifests", "kustomize") if getattr(bring, name))


def one_environment(project: Project, name: str, files: tuple[Path, ...], set_values: tuple[str, ...]) -> Environment:
    """The named environment with the stack options on top.

    Raises:
        UsageError: there is none of that name, or the options are for the suite, which it does not install.
    """
    return _stacked(load_environment(project, name), files, set_values)


def some_environments(
    project: Project, names: tuple[str, ...], files: tuple[Path, ...], set_values: tuple[str, ...]
) -> tuple[Environment, ...]:
    """The named environments, or all, each with the stack options on top."""
    return tuple(_stacked(environment, files, set_values) for environment in load_environments(project, names))


def _stacked(environment: Environment, files: tuple[Path, ...], set_values: tuple[str, ...]) -> Environment:
    if (files or set_values) and (environment.stand_in_nodes or not environment.suite):
        raise UsageError(
            f"-f and --set are values of the suite, which {environment.name} does not install",
            remedy=f"Values of a release stand beside its chart in {environment.file}.",
        )
    return environment.stacked(files, set_values)


def refuse_brought(environment: Environment, what: str) -> None:
    """See that an environment is the suite and nothing else, for verbs that would leave the rest out.

    Raises:
        UsageError: it brings charts or manifests of others, or leaves the suite out.
    """
    if environment.brought or not environment.suite:
        raise UsageError(
            f"{environment.name} brings charts or manifests of others, and {what} the suite alone",
            remedy=f"`drydock render {environment.name} --show-command` prints the commands that install all of it.",
        )


def check_account_id(account_id: str) -> None:
    """Check the value of `--account-id` before anything is confirmed.

    Raises:
        UsageError: it is not the number of an AWS account.
    """
    if not re.fullmatch("[0-9]{12}", account_id):
        raise UsageError(
            f"--account-id {account_id}: not an AWS account", remedy="Give its 12 digits, without hyphens or spaces."
        )
