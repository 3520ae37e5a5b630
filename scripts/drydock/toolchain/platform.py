"""This machine, as Go names it."""

import os
import sys

_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def go_platform() -> tuple[str, str]:
    """GOOS and GOARCH of this machine, as ("linux", "arm64")."""
    machine = os.uname().machine.lower()
    return sys.platform, _ARCHITECTURES.get(machine, machine)
