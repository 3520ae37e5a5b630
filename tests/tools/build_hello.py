"""Builds the program `hello` of a suite in a process of its own: `python -m tests.tools.build_hello ROOT CACHE`."""

import sys
from pathlib import Path

from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.tools.build import ensure

if __name__ == "__main__":
    root, cache = map(Path, sys.argv[1:])
    print(ensure(Project(root, cache), ["hello"], SilentProgress())["hello"])
