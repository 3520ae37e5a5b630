"""The `drydock` command: the one place where failures become messages and exit statuses."""

import errno
import json
import os
import signal
import sys
from types import FrameType
from typing import Any

from drydock.errors import EXIT_INTERRUPTED, DrydockError


def main() -> None:
    """Run the command line and exit with its status.

    Exit statuses: 0 all is well; 1 findings, an unready rehearsal or a failure; 2 wrong usage; 130 interrupted.
    A verb that fails under `--format json` prints `{"error": {"type", "message", "remedy", "exitStatus"}}`.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    sys.exit(_run())


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run() -> int:
    import click

    from drydock.cli import drydock

    try:
        return int(drydock.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        return _failed(type(error).__name__, error.format_message(), "", error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        return _failed("Interrupted", "interrupted", "", EXIT_INTERRUPTED, said="interrupted")
    except DrydockError as error:
        return _failed(type(error).__name__, error.message, error.remedy, error.exit_status, said=f"error: {error}")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        message, remedy = _told(error)
        said = "\n  ".join(filter(None, (f"error: {message}", remedy)))
        return _failed("OSError", message, remedy, 1, said=said)


def _failed(kind: str, message: str, remedy: str, status: int, *, said: str = "") -> int:
    """Say it on standard error, and where JSON was asked for on standard output too; returns the exit status."""
    from drydock.cli.output import pasteable, wants_json

    if said:
        print(pasteable(said), file=sys.stderr)
    if wants_json(sys.argv[1:]):
        error: dict[str, Any] = {"type": kind, "message": message, "remedy": pasteable(remedy), "exitStatus": status}
        print(json.dumps({"error": error}, indent=2), flush=True)
    return status


def _told(error: OSError) -> tuple[str, str]:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}", "Free some space; `drydock doctor` lists how large Drydock's caches are."
    return f"{error.strerror or error}{where}", ""


if __name__ == "__main__":
    main()
