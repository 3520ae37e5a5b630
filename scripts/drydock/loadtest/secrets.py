"""Values that are sent and never shown: from variables, files and the cluster's Secrets."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from drydock.errors import UsageError


def _sendable(key: str, where: str) -> str:
    if not key.isascii() or not key.isprintable() or " " in key:
        raise UsageError(
            f"what {where} holds cannot be sent as an API key", remedy="One line of ASCII characters without spaces."
        )
    return key


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that no representation shows; `reveal` is the only way to it."""

    _value: str = field(repr=False)

    def __str__(self) -> str:
        return "***"

    def reveal(self) -> str:
        """The value itself, for the one header that needs it."""
        return self._value

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> "Secret":
        """Read what a Secret of a cluster holds; `where` names it.

        Raises:
            UsageError: it is empty, or no key.
        """
        value = content.decode("latin-1").strip()
        if not value:
            raise UsageError(f"{where} holds an empty API key", remedy="Put the key into it.")
        return cls(_sendable(value, where))

    @classmethod
    def from_environment(cls, name: str) -> "Secret":
        """Read an environment variable.

        Raises:
            UsageError: it is not set, empty, or no key.
        """
        value = os.environ.get(name, "").strip()
        if not value:
            raise UsageError(f"the environment variable {name} is not set or empty", remedy=f"export {name}=...")
        return cls(_sendable(value, f"the environment variable {name}"))

    @classmethod
    def from_file(cls, path: Path) -> "Secret":
        """Read a file's only line.

        Raises:
            UsageError: it cannot be read, is empty, or no key.
        """
        try:
            value = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"cannot read the API key from {path}: {error}",
                remedy="Name a file that holds the key, and nothing else.",
            ) from error
        if not value:
            raise UsageError(f"{path} holds no API key", remedy="Write the key into it, on a line of its own.")
        return cls(_sendable(value, str(path)))
