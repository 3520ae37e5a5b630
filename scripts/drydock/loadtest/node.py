"""`python -m drydock.loadtest.node`: the processes that make the load.

    all --plan FILE --output FOLDER                                       a master and its workers, on this machine
    master --plan FILE --output FOLDER --listen HOST:PORT --serve HOST:PORT   in a cluster: waits for the plan's workers
    worker --plan FILE --master HOST:PORT                                 in a cluster: one of them

The plan is that of `drydock.loadtest.plan_file`, with the endpoint of `--url` and the prompts of `--dataset` where they
are given; the API key is in the environment variable named there. `all` writes a line of JSON to standard output for
each snapshot, and at the end the run (`drydock.loadtest.run_files`); `master` serves both
(`drydock.loadtest.results_server`).
Importing Locust makes gevent replace the standard library's blocking calls: this module's processes do nothing else.
"""

import argparse
import json
import os
import socket
import sys
import time
from dataclasses import replace
from pathlib import Path

# Locust goes first: gevent has to replace blocking calls before others take hold of them.
import locust  # noqa: F401

from drydock.errors import DrydockError
from drydock.loadtest.master import Master
from drydock.loadtest.messages import snapshot_facts
from drydock.loadtest.plan_file import KEY_VARIABLE, SECRETS_VARIABLE, plan_from
from drydock.loadtest.records import Snapshot
from drydock.loadtest.results_server import ResultsServer
from drydock.loadtest.run_files import save_run
from drydock.loadtest.secrets import Secret
from drydock.loadtest.settings import LoadPlan
from drydock.loadtest.worker import run_worker


def main(argv: list[str] | None = None) -> int:
    """Play a part; exit status 0, or 1 with a line of JSON that holds the error."""
    parser = argparse.ArgumentParser(prog="python -m drydock.loadtest.node")
    parts = parser.add_subparsers(dest="part", required=True)
    for name in ("all", "master", "worker"):
        part = parts.add_parser(name)
        part.add_argument("--plan", type=Path, required=True)
        part.add_argument("--url")
        part.add_argument("--dataset", type=Path)
        if name != "worker":
            part.add_argument("--output", type=Path, required=True)
        if name != "all":
            part.add_argument("--start-seconds", type=float, default=60.0)
        if name == "master":
            part.add_argument("--listen", type=_address, default=("0.0.0.0", 5557))  # noqa: S104 (a pod's)
            part.add_argument("--serve", required=True)
            part.add_argument("--keep-seconds", type=float, default=900.0)
        if name == "worker":
            part.add_argument("--master", type=_address, required=True)
    arguments = parser.parse_args(argv)
    try:
        plan = _plan(arguments)
        if arguments.part == "worker":
            host, port = arguments.master
            _await_name(host, arguments.start_seconds)
            run_worker(plan, host, port, with_parent=False)
        elif arguments.part == "master":
            _serve(plan, arguments)
        else:
            _all(plan, arguments.output)
    except DrydockError as error:
        print(json.dumps({"error": error.message, "remedy": error.remedy}), flush=True)
        return 1
    return 0


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _plan(arguments: argparse.Namespace) -> LoadPlan:
    key = os.environ.pop(KEY_VARIABLE, "").strip()
    others = json.loads(os.environ.pop(SECRETS_VARIABLE, "[]"))
    plan = plan_from(json.loads(arguments.plan.read_text()), Secret(key) if key else None, others)
    if arguments.url:
        plan = replace(plan, target=replace(plan.target, base_url=arguments.url))
    if arguments.dataset:
        plan = replace(plan, workload=replace(plan.workload, dataset=arguments.dataset))
    return plan


def _await_name(host: str, seconds: float) -> None:
    """A worker may come before its master, and a Service's name before its pod's address."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.getaddrinfo(host, None)
        except OSError as error:
            if time.monotonic() > deadline:
                raise DrydockError(
                    f"the master {host} is not there after {seconds:g} s: {error}",
                    remedy="Look at the master's pod: kubectl describe pod, kubectl logs.",
                ) from error
            time.sleep(1)
        else:
            return


def _serve(plan: LoadPlan, arguments: argparse.Namespace) -> None:
    """Conduct in a cluster: what happens is served until it was fetched, a failure too."""
    host, port = arguments.listen

    def tell(snapshot: Snapshot) -> None:
        server.progress["snapshot"] = snapshot_facts(snapshot)

    master = Master(plan, host, port, lost=lambda: (), tell=tell, connect_seconds=arguments.start_seconds)
    server = ResultsServer(arguments.serve, arguments.output, master.interrupt)
    server.start()
    try:
        _conduct(master, arguments.output)
    except DrydockError as error:
        server.progress |= {"error": error.message, "remedy": error.remedy}
        raise
    finally:
        server.progress["done"] = True
        server.wait_collected(arguments.keep_seconds)


def _all(plan: LoadPlan, output: Path) -> None:
    """Fork the workers before anything runs that a fork would copy, and send them the port when there is one."""
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
    print(json.dumps({"snapshot": snapshot_facts(snapshot)}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
