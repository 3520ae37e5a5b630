"""One rehearsal of the benchmark scale: `python -m drydock.loadtest.benchmark.scaled ENVIRONMENT FOLDER SET...`.

EC2's quotas that the environment states do not count: how many nodes there are is then Karpenter's decision alone.
"""

import sys
from dataclasses import replace
from pathlib import Path

from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.rehearsal.rehearse import rehearse
from drydock.report.files import write_report
from drydock.suite.environments import load_environment
from drydock.tools.setup import set_up


def main(name: str, folder: str, *values: str) -> None:
    """Write the report on an environment with these `--set` values into a folder."""
    project, progress = Project.discover(), SilentProgress()
    environment = replace(load_environment(project, name).stacked((), values), quotas={})
    tools = set_up(project, "rehearse", progress).tools
    write_report(rehearse(project, tools, environment, progress=progress).report, Path(folder))


if __name__ == "__main__":
    main(*sys.argv[1:])
