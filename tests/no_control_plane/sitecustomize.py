"""Python imports this in each process below a test that is not marked `cluster`: none starts a control plane."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path

_PROGRAMS = {"etcd", "kube-apiserver"}
_LAUNCHERS = {"sh", "bash", "env", "nice", "nohup", "setsid", "timeout", "prlimit", "taskset"}
_EVENTS = {"subprocess.Popen", "os.exec", "os.posix_spawn", "os.system"}


def _words(value: object) -> list[str]:
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsdecode(value).split()
    return [word for each in value for word in _words(each)] if isinstance(value, Iterable) else []


def _refuse(event: str, arguments: tuple[object, ...]) -> None:
    """Refuse the programs, also behind a shell or a launcher, where this folder is in PYTHONPATH."""
    if event not in _EVENTS or str(Path(__file__).parent) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        return
    program = Path(os.fsdecode(arguments[0])).name if isinstance(arguments[0], str | bytes | os.PathLike) else ""
    launched = event == "os.system" or program in _LAUNCHERS
    for word in [program, *(_words(arguments[:2]) if launched else ())]:
        if Path(word).name in _PROGRAMS:
            raise RuntimeError(f"a test that starts {word} needs pytest.mark.cluster")


sys.addaudithook(_refuse)
