"""A command that rehearses, to be interrupted by a test: `python driver.py SUITE CACHE TOOLS ENVIRONMENT [keep]`."""

import json
import resource
import sys
from pathlib import Path

from drydock.errors import DrydockError
from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.rehearsal.rehearse import rehearse
from drydock.suite.environments import load_environment

INTERRUPTED = 130
FAILED = 1


def main() -> int:
    """Exit as the command line does."""
    suite, cache, tools, environment, *options = sys.argv[1:]
    project = Project(Path(suite), Path(cache))
    if "few-files" in options:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW, FEW))
    try:
        rehearsed = rehearse(
            project,
            {name: Path(path) for name, path in json.loads(tools).items()},
            load_environment(project, environment),
            progress=PlainProgress(),
            keep="keep" in options,
        )
    except KeyboardInterrupt:
        return INTERRUPTED
    except DrydockError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    print(rehearsed.kubeconfig or "")
    return 0 if rehearsed.report.ready else FAILED


FEW = 64

if __name__ == "__main__":
    sys.exit(main())
