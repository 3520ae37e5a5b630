"""The `drydock` command: the one place where failures become messages and exit statuses."""

import errno
import os
import signal
import sys
from types import FrameType

from drydock.errors import DrydockError

EXIT_INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its status.

    Exit statuses: 0 all is well; 1 findings, an unready rehearsal or a failure; 2 wrong usage; 130 interrupted.
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
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except DrydockError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"error: {_told(error)}", file=sys.stderr)
        return 1


def _told(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{where}\n  Free some space; `drydock doctor` tells how large Drydock's caches are."
    return f"{error.strerror or error}{where}"


if __name__ == "__main__":
    main()
