"""The one place that starts programs and waits for them."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drydock.errors import ToolError


@dataclass(frozen=True)
class Completed:
    """A finished program: its argument list, exit status and complete output as text."""

    command: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = 600,
    check: bool = True,
) -> Completed:
    """Run a program to its end.

    Args:
        command: program and arguments; no shell is involved.
        cwd: its working directory.
        env: variables set on top of this process's environment.
        stdin: text for its standard input (closed when absent).
        timeout: seconds after which it is killed.
        check: raise on a non-zero exit status.

    Raises:
        ToolError: it could not be started, ran too long, or (with `check`) failed.
    """
    arguments = tuple(str(part) for part in command)
    try:
        done = subprocess.run(
            arguments,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except OSError as error:
        raise ToolError(
            f"cannot start {arguments[0]}: {error.strerror}", command=arguments, returncode=-1, stderr=""
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ToolError(
            f"{Path(arguments[0]).name} did not finish within {timeout:.0f} s: {' '.join(arguments)}",
            command=arguments,
            returncode=-1,
            stderr=str(error.stderr or ""),
        ) from error
    completed = Completed(arguments, done.returncode, done.stdout, done.stderr)
    if check and done.returncode != 0:
        raise ToolError(
            f"{Path(arguments[0]).name} failed with status {done.returncode}: {' '.join(arguments)}\n"
            f"{(done.stderr or done.stdout).strip()}",
            command=arguments,
            returncode=done.returncode,
            stderr=done.stderr,
        )
    return completed


def run_all(commands: Sequence[Sequence[str | Path]], *, env: Mapping[str, str] | None = None) -> list[Completed]:
    """Run independent programs side by side, as many as there are processors; results in the order given.

    Exit statuses are left to the caller.
    """
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        return list(pool.map(lambda command: run(command, env=env, check=False), commands))
