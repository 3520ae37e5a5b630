"""This machine, as Go names it."""

import os
import sys

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


Platform = tuple[str, str]
"""GOOS and GOARCH."""


def go_platform() -> Platform:
    """GOOS and GOARCH of this machine, as ("linux", "arm64")."""
    machine = os.uname().machine.lower()
    return sys.platform, go_architecture(machine)


def go_architecture(machine: str) -> str:
    """GOARCH of a machine as `uname` and Docker name it."""
    return _ARCHITECTURES.get(machine, machine)
