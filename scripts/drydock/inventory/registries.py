"""What registries hold: a thin wrapper around crane, which signs in as `docker login` and credential helpers do."""

import json
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from drydock.errors import ToolError
from drydock.tools import process

_SECONDS = 120
_MOST_AT_ONCE = 8


@dataclass(frozen=True)
class Resolved:
    """An image as a registry has it now.

    Attributes:
        image: the reference that was asked for.
        digest: `sha256:...` of its index, or of its manifest when there is one for a single platform.
        architectures: that it exists for.
    """

    image: str
    digest: str
    architectures: tuple[str, ...]


def resolve(crane: Path, images: Iterable[str]) -> tuple[Mapping[str, Resolved], Mapping[str, str]]:
    """Ask each image's registry for its digest and architectures, side by side.

    Returns:
        What was found, and why not for the others, both by image.
    """
    wanted = tuple(dict.fromkeys(images))
    with ThreadPoolExecutor(min(_MOST_AT_ONCE, os.cpu_count() or 1) * 2) as pool:
        answers = dict(zip(wanted, pool.map(lambda image: _ask(crane, image), wanted), strict=True))
    found = {image: answer for image, answer in answers.items() if isinstance(answer, Resolved)}
    return found, {image: answer for image, answer in answers.items() if isinstance(answer, str)}


def _ask(crane: Path, image: str) -> Resolved | str:
    try:
        digest = process.run([crane, "digest", image], timeout=_SECONDS).stdout.strip()
        pinned = f"{image.partition('@')[0]}@{digest}"
        manifest = json.loads(process.run([crane, "manifest", pinned], timeout=_SECONDS).stdout)
        platforms = [rendered_object.get("platform", {}) for rendered_object in manifest.get("manifests", ())]
        if not platforms:
            platforms = [json.loads(process.run([crane, "config", pinned], timeout=_SECONDS).stdout)]
    except ToolError as error:
        return _reason(error)
    # Attestations stand in an index as of the platform unknown/unknown.
    architectures = {platform.get("architecture", "") for platform in platforms} - {"", "unknown"}
    return Resolved(image, digest, tuple(sorted(architectures)))


def _reason(error: ToolError) -> str:
    """The last part of crane's chain of causes, which is the registry's or the network's own word."""
    lines = [line for line in error.stderr.splitlines() if line.startswith("Error:")]
    return lines[-1].removeprefix("Error: ") if lines else error.message
