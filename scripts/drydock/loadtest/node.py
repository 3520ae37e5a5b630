"""`python -m drydock.loadtest.node`: the processes that make the load.

    all --plan FILE --output FOLDER                               a master and its workers, on this machine
    master --plan FILE --output FOLDER --port 5557                in a cluster: waits for the plan's workers
    worker --plan FILE --master-host HOST --port 5557             in a cluster: one of them

The plan is that of `drydock.loadtest.plan_file`, the API key is in the environment variable named there. The master
writes a line of JSON to standard output for each snapshot, and at the end the run (`drydock.loadtest.results`).
Importing Locust makes gevent replace the standard library's blocking calls: this module's processes do nothing else.
"""

import argparse
import json
import math
import os
import sys
from dataclasses import asdict
from pathlib import Path

# Locust goes first: gevent has to replace blocking calls before others take hold of them.
import locust  # noqa: F401

from drydock.errors import DrydockError
from drydock.loadtest.master import Master
from drydock.loadtest.plan_file import KEY_VARIABLE, plan_from
from drydock.loadtest.records import Snapshot
from drydock.loadtest.results import save_run
from drydock.loadtest.settings import LoadPlan, Secret
from drydock.loadtest.worker import run_worker


def main(argv: list[str] | None = None) -> int:
    """Play a part; exit status 0, or 1 with a line of JSON that tells the error."""
    parser = argparse.ArgumentParser(prog="python -m drydock.loadtest.node")
    parser.add_argument("part", choices=["all", "master", "worker"])
    parser.add_argument("--plan", type=Path, required=True)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--master-host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5557)
    arguments = parser.parse_args(argv)
    if (arguments.part == "worker") == (arguments.output is not None):
        parser.error("--output is for all and master, which need it")
    try:
        key = os.environ.pop(KEY_VARIABLE, "")
        plan = plan_from(json.loads(arguments.plan.read_text()), Secret(key) if key else None)
        if arguments.part == "worker":
            run_worker(plan, arguments.master_host, arguments.port, with_parent=False)
        elif arguments.part == "master":
            _conduct(Master(plan, "*", arguments.port, lost=lambda: (), tell=_tell), arguments.output)
        else:
            _all(plan, arguments.output)
    except DrydockError as error:
        print(json.dumps({"error": error.message, "remedy": error.remedy}), flush=True)
        return 1
    return 0


def _all(plan: LoadPlan, output: Path) -> None:
    """Fork the workers before anything runs that a fork would copy, and tell them the port when there is one."""
    readers = [_fork(plan) for _ in range(plan.processes)]
    lost: set[int] = set()

    def ended() -> set[int]:
        for child, _ in readers:
            if child not in lost and os.waitpid(child, os.WNOHANG)[0]:
                lost.add(child)
        return lost

    master = Master(plan, "127.0.0.1", 0, lost=ended, tell=_tell)
    for _, pipe in readers:
        os.write(pipe, b"%d\n" % master.port)
        os.close(pipe)
    _conduct(master, output)


def _fork(plan: LoadPlan) -> tuple[int, int]:
    """A worker's process id and the pipe on which it waits for the master's port."""
    reading, writing = os.pipe()
    child = os.fork()
    if child:
        os.close(reading)
        return child, writing
    status = 1
    try:
        os.close(writing)
        port = os.read(reading, 16)
        if port:
            run_worker(plan, "127.0.0.1", int(port), with_parent=True)
        status = 0
    finally:
        if status:
            sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        os._exit(status)


def _conduct(master: Master, output: Path) -> None:
    save_run(master.run(), output)


def _tell(snapshot: Snapshot) -> None:
    facts = {name: None if math.isnan(value) else value for name, value in asdict(snapshot).items()}
    print(json.dumps({"snapshot": facts}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
