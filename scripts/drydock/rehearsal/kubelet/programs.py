"""Which images this machine can run, and how."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from drydock.documents import load_yaml_file
from drydock.rehearsal.kubelet.isolation import python_folders
from drydock.suite.manifests import Manifest

_FILE = Path(__file__).resolve().parents[2] / "data" / "runnable-images.yaml"


@dataclass(frozen=True)
class Runnable:
    """An image that this machine can run.

    Attributes:
        image: the end of its repository's name.
        tool: of the toolchain, or empty.
        python: a Python environment of data/programs, or empty.
        module: of this package, or empty.
        entrypoint, defaults, arguments, environment, live, isolated, unnamed: see data/runnable-images.yaml.
    """

    image: str
    tool: str
    python: str
    module: str
    entrypoint: tuple[str, ...]
    defaults: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    live: bool
    isolated: bool
    unnamed: bool


@dataclass(frozen=True)
class Program:
    """What runs in place of an image.

    Attributes:
        image: the end of the repository's name.
        command: the program.
        entrypoint, defaults, arguments, environment: see data/runnable-images.yaml.
        needs: files and folders of this machine that the program consists of, the system's own aside.
        isolated: its processes are held as containers are, where this machine can.
    """

    image: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    defaults: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    needs: tuple[str, ...] = ()
    isolated: bool = True

    def stands_for(self, container: Mapping[str, Any]) -> bool:
        """Whether a container runs its image's program, and not another one that is in there too."""
        first = tuple(container.get("command") or self.entrypoint)[: len(self.entrypoint)]
        return bool(re.search(pattern(self.image), container["image"])) and first == self.entrypoint

    @property
    def selector(self) -> str:
        """The same as an expression of jq over a pod: it gives nothing for other pods."""
        image, entrypoint = json.dumps(pattern(self.image)), json.dumps(self.entrypoint)
        first = f"((.command // {entrypoint})[:{len(self.entrypoint)}])"
        return f".spec.containers.[] | select((.image | test({image})) and {first} == {entrypoint}) | .name"

    def to_json(self) -> dict[str, Any]:
        """For the supervisor."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Program":
        """What `to_json` gave."""
        lists = {key: tuple(content[key]) for key in ("command", "entrypoint", "defaults", "arguments", "needs")}
        return cls(content["image"], environment=content["environment"], isolated=content["isolated"], **lists)


@cache
def runnable_images() -> tuple[Runnable, ...]:
    """All that data/runnable-images.yaml names."""
    return tuple(
        Runnable(
            image=image,
            tool=each.get("tool", ""),
            python=each.get("python", ""),
            module=each.get("module", ""),
            entrypoint=tuple(each.get("entrypoint", ())),
            defaults=tuple(each.get("defaults", ())),
            arguments=tuple(each.get("arguments", ())),
            environment=each.get("environment", {}),
            live=each.get("live", False),
            isolated=each.get("isolated", False),
            unnamed=each.get("unnamed", False),
        )
        for image, each in load_yaml_file(_FILE).items()
    )


def find_runnable(manifests: Sequence[Manifest], *, live: bool) -> tuple[Runnable, ...]:
    """The images of an environment's pods that this machine can run; those of servers only when asked for."""
    used = {image for manifest in manifests for image in _images(manifest.content)}
    return tuple(
        runnable
        for runnable in runnable_images()
        if (live or not runnable.live)
        and (runnable.unnamed or any(re.search(pattern(runnable.image), image) for image in used))
    )


def programs(
    runnable: Sequence[Runnable], ensure: Callable[[Sequence[str]], Mapping[str, Path]]
) -> tuple[Program, ...]:
    """What runs in place of the images; `ensure` gives paths of tools and of Python environments by their names."""
    wanted = [name for program in runnable if (name := program.tool or program.python)]
    paths = ensure(wanted) if wanted else {}
    return tuple(_program(program, paths) for program in runnable)


def _program(runnable: Runnable, paths: Mapping[str, Path]) -> Program:
    command: tuple[str, ...]
    needs: tuple[str, ...]
    if runnable.tool:
        command, needs = (str(paths[runnable.tool]),), (str(paths[runnable.tool]),)
    elif runnable.python:
        folder = paths[runnable.python]
        command, needs = (str(folder / "bin" / "python"),), (str(folder), *python_folders())
    else:
        command, needs = (sys.executable, "-m", runnable.module), python_folders()
    return Program(
        image=runnable.image,
        command=command,
        entrypoint=runnable.entrypoint,
        defaults=runnable.defaults,
        arguments=runnable.arguments,
        environment=runnable.environment,
        needs=needs,
    )


def pattern(image: str) -> str:
    """A regular expression for references to an image, in any registry and of any tag or digest."""
    return f"(^|/){re.escape(image)}(:|@|$)"


def program_for(container: Mapping[str, Any], known: Iterable[Program]) -> Program | None:
    """The program that runs in place of a container's."""
    return next((program for program in known if program.stands_for(container)), None)


def _images(node: Any) -> Iterator[str]:
    """Images of containers anywhere in an object."""
    if isinstance(node, Mapping):
        for container in node.get("containers") or ():
            if isinstance(container, Mapping) and isinstance(container.get("image"), str):
                yield container["image"]
        for value in node.values():
            yield from _images(value)
    elif isinstance(node, list):
        for value in node:
            yield from _images(value)
