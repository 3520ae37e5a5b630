"""The command line: each verb parses, calls one function and turns its result into output and an exit status.

One module a verb; it is imported only when that verb (or the list of verbs) is asked for.
"""

from importlib import import_module

import click

import drydock as package

VERBS = (
    "init",
    "render",
    "validate",
    "rehearse",
    "faults",
    "journey",
    "open",
    "nodes",
    "down",
    "deploy",
    "destroy",
    "diff",
    "environments",
    "account",
    "facts",
    "images",
    "models",
    "diagram",
    "docs",
    "setup",
    "doctor",
    "bootstrap-argocd",
    "package",
    "crds",
    "plan",
    "loadtest",
    "evaluate",
    "simulate",
    "calibrate",
    "test",
    "bench",
)


class _Verbs(click.Group):
    """Verbs in the order of the way from values to a report, each imported when it is needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb; for an unknown one the error names those that are spelt alike."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            from difflib import get_close_matches

            near = get_close_matches(args[0], VERBS, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"Verbs: {', '.join(VERBS)}."
            raise click.UsageError(f"No such command '{args[0]}'. {hint}", ctx)
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = import_module(f"drydock.cli.{cmd_name.replace('-', '_')}").command
        assert isinstance(command, click.Command)  # noqa: S101 (for the type checker: what a verb module holds)
        return _with_examples_in_lines(command)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            from drydock.tools.extras import missing_extra

            if (known := missing_extra(error, ctx.invoked_subcommand or "")) is None:
                raise
            raise known from error


def _with_examples_in_lines(command: click.Command) -> click.Command:
    r"""Make the `\b` of a raw docstring the character before a block that click must not wrap."""
    command.help = (command.help or "").replace("\\b\n", "\b\n")
    for each in getattr(command, "commands", {}).values():
        _with_examples_in_lines(each)
    return command


@click.command(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package.__version__, "-V", "--version", prog_name="drydock")
def drydock() -> None:
    r"""Prove a change to a generative-AI platform on Amazon EKS before it costs anything.

    \b
    The way of every change, and the verbs that go it:
      values  ->  manifests  ->  findings  ->  cluster   ->  report
                  render         validate      rehearse

    \b
    Start here:
      drydock environments          what can be rendered, validated, rehearsed
      drydock rehearse dev          the whole way for the smallest platform
      drydock validate              check every environment, in seconds

    Exit status: 0 when all is well, 1 when something was found or failed, 2 for wrong usage, 130 when interrupted.
    With --format json a verb that fails prints {"error": {"type", "message", "remedy", "exitStatus"}}.
    """


_with_examples_in_lines(drydock)
