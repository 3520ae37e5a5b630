"""The command line in this process: a command is parsed only, or run."""

import importlib
import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout

import click

from drydock.cli import drydock
from drydock.errors import DrydockError
from tests.documentation.pages import commands


def parse(words: Sequence[str]) -> str | None:
    """The verb that takes these arguments, with each value but a path converted; None when only help is asked for.

    Raises:
        click.UsageError: an unknown verb, option or value, or an argument too many.
    """
    context = click.Context(drydock, info_name="drydock")
    if not words or words[0].startswith("-"):
        drydock.make_parser(context).parse_args(list(words))
        return None
    verb, command, arguments = drydock.resolve_command(context, list(words))
    if isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
        context = click.Context(command, info_name=verb, parent=context)
        _, command, arguments = command.resolve_command(context, arguments)
    assert command is not None
    context = click.Context(command, info_name=verb, parent=context, **command.context_settings)
    parsed, left, _ = command.make_parser(context).parse_args(arguments)
    if left and not context.allow_extra_args:
        raise click.UsageError(f"unexpected {' '.join(left)}", context)
    for parameter in command.get_params(context):
        value = parsed.get(parameter.name or "")
        if parameter.required and value is None and parameter.get_default(context) is None:
            raise click.MissingParameter(ctx=context, param=parameter)
        if (
            not isinstance(parameter.type, click.Path)
            and parameter.name in parsed
            and isinstance(value, str | tuple | list)
        ):
            parameter.type_cast_value(context, value)
    return verb


def help_examples(verb: str) -> Iterator[list[str]]:
    """The calls of drydock below `Examples:` in the help of a verb."""
    command = importlib.import_module(f"drydock.cli.{verb.replace('-', '_')}").command
    _, _, examples = (command.help or "").partition("Examples:\n")
    yield from (words[1:] for words in commands(examples.partition("\n\n")[0]) if words[0] == "drydock")


def call(words: Sequence[str]) -> tuple[int, str]:
    """Exit status of drydock in this process, and all that it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed), redirect_stderr(printed):
        try:
            status = int(drydock.main(list(words), prog_name="drydock", standalone_mode=False) or 0)
        except click.ClickException as error:
            return error.exit_code, error.format_message()
        except DrydockError as error:
            return error.exit_status, str(error)
    return status, printed.getvalue()
