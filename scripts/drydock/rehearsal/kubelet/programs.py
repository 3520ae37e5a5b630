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
from drydock.suite.manifests import Manifest

_FILE = Path(__file__).resolve().parents[2] / "data" / "runnable-images.yaml"


@dataclass(frozen=True)
class Runnable:
    """An image that this machine can run.

    Attributes:
        image: the end of its repository's name.
        tool: of the toolchain, or empty for `module` of this package.
        entrypoint, defaults, arguments, environment, models, unnamed: see data/runnable-images.yaml.
    """

    image: str
    tool: str
    module: str
    entrypoint: tuple[str, ...]
    defaults: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    models: bool
    unnamed: bool


@dataclass(frozen=True)
class Program:
    """What runs in place of an image.

    Attributes:
        image: the end of the repository's name.
        command: the program.
        entrypoint, defaults, arguments, environment: see data/runnable-images.yaml.
    """

    image: str
    command: tuple[str, ...]
    entrypoint: tuple[str, ...]
    defaults: tuple[str, ...]
    arguments: tuple[str, ...]
    environment: Mapping[str, str]

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
        lists = {key: tuple(content[key]) for key in ("command", "entrypoint", "defaults", "arguments")}
        return cls(content["image"], environment=content["environment"], **lists)


@cache
def runnable_images() -> tuple[Runnable, ...]:
    """All that data/runnable-images.yaml names."""
    return tuple(
        Runnable(
            image=image,
            tool=each.get("tool", ""),
            module=each.get("module", ""),
            entrypoint=tuple(each.get("entrypoint", ())),
            defaults=tuple(each.get("defaults", ())),
            arguments=tuple(each.get("arguments", ())),
            environment=each.get("environment", {}),
            models=each.get("models", False),
            unnamed=each.get("unnamed", False),
        )
        for image, each in load_yaml_file(_FILE).items()
    )


def find_runnable(manifests: Sequence[Manifest], *, models: bool) -> tuple[Runnable, ...]:
    """The images of an environment's pods that this machine can run; those of models only when asked for."""
    used = {image for manifest in manifests for image in _images(manifest.content)}
    return tuple(
        each
        for each in runnable_images()
        if (models or not each.models)
        and (each.unnamed or any(re.search(pattern(each.image), image) for image in used))
    )


def programs(
    runnable: Sequence[Runnable], ensure: Callable[[Sequence[str]], Mapping[str, Path]]
) -> tuple[Program, ...]:
    """What runs in place of the images; `ensure` gives paths of tools by their names."""
    tools = [each.tool for each in runnable if each.tool]
    paths = ensure(tools) if tools else {}
    return tuple(
        Program(
            image=each.image,
            command=(str(paths[each.tool]),) if each.tool else (sys.executable, "-m", each.module),
            entrypoint=each.entrypoint,
            defaults=each.defaults,
            arguments=each.arguments,
            environment=each.environment,
        )
        for each in runnable
    )


def pattern(image: str) -> str:
    """A regular expression for references to an image, in any registry and of any tag or digest."""
    return f"(^|/){re.escape(image)}(:|@|$)"


def program_for(container: Mapping[str, Any], known: Iterable[Program]) -> Program | None:
    """The program that runs in place of a container's."""
    return next((each for each in known if each.stands_for(container)), None)


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
