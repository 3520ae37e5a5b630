"""How verbs print: tables whose cells can be copied, and JSON that is valid also when the verb fails."""

import json
import os
import re
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click

from drydock.checks.findings import Finding
from drydock.errors import DrydockError

_Command = TypeVar("_Command", bound=Callable[..., object])
_HINT = re.compile(r"(?<=`)drydock(?= [a-z])")
_GAP = "  "
_ALIAS = "drydock.json"


def format_option(*others: str, default: str = "table") -> Callable[[_Command], _Command]:
    """`--format`, with `json` among its choices, and `--json` for older scripts, which `--help` does not show."""
    choices = list(dict.fromkeys((default, "json", *others)))

    def note(context: click.Context, _option: click.Parameter, value: bool) -> None:
        context.meta[_ALIAS] = value

    def chosen(context: click.Context, _option: click.Parameter, value: str) -> str:
        return "json" if context.meta.get(_ALIAS) else value

    def decorate(command: _Command) -> _Command:
        shown = click.option(
            "--format", "form", type=click.Choice(choices), default=default, show_default=True, callback=chosen
        )
        alias = click.option(
            "--json", "alias", is_flag=True, hidden=True, is_eager=True, expose_value=False, callback=note
        )
        return shown(alias(command))

    return decorate


def columns(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of left-aligned columns; no cell is cut or wrapped, and no line ends with spaces."""
    if not rows:
        return ""
    lines = [tuple(header.upper() for header in headers), *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(headers))]
    return "\n".join(
        _GAP.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def called() -> str:
    """How this program was called, as people can type it again: `drydock` or `scripts/run`."""
    process, _, name = os.environ.get("DRYDOCK_CALLED_AS", "").partition(":")
    return name if process == str(os.getpid()) else "drydock"  # else that of a process which started this one


def pasteable(text: str) -> str:
    """A message whose commands in backquotes begin with the program as it was called."""
    return _HINT.sub(lambda _: called(), text)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; it need not be valid otherwise."""
    pairs = zip(arguments, [*arguments[1:], ""], strict=True)
    return any(one in ("--json", "--format=json") or (one == "--format" and other == "json") for one, other in pairs)


def failure_json(error: DrydockError, findings: Sequence[Finding] = ()) -> str:
    """What a verb prints that fails under `--format json`; with the findings that made it fail, where there are any."""
    content: dict[str, Any] = {"error": {**error.to_dict(), "remedy": pasteable(error.remedy)}}
    if findings:
        content["findings"] = [finding.to_dict() for finding in findings]
    return json.dumps(content, indent=2)
