"""Keys of caches: digests of what a result follows from."""

import hashlib
import importlib.util
import os
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

import drydock


def content_key(parts: Iterable[object]) -> str:
    """A short digest of the parts, in their order."""
    digest = hashlib.sha256()
    for part in parts:
        text = str(part).encode()
        digest.update(len(text).to_bytes(8, "big"))
        digest.update(text)
    return digest.hexdigest()[:24]


def file_identity(path: Path) -> str:
    """Changes when a program, or a folder of generated files, is replaced; nothing is read."""
    status = path.stat()
    return f"{path} {status.st_size} {status.st_mtime_ns}"


@lru_cache(maxsize=1)
def code_identity() -> str:
    """Changes with Drydock's own code and data, and with the release of Moto that the instance types come from."""
    digest = hashlib.sha256()
    folder = Path(drydock.__file__).parent
    for directory, subdirectories, files in os.walk(folder):
        subdirectories[:] = sorted(set(subdirectories) - {"__pycache__", "bundled", "rehearsal", "report", "cli"})
        for name in sorted(files):
            with open(os.path.join(directory, name), "rb") as file:  # noqa: PTH118, PTH123 (many files, on the warm path)
                digest.update(hashlib.sha256(file.read()).digest())
    moto = importlib.util.find_spec("moto")
    if moto is not None and moto.origin is not None:
        digest.update(file_identity(Path(moto.origin)).encode())
    return digest.hexdigest()
