"""Runs a load plan: workers in processes of their own, and what they recorded."""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from drydock.errors import DrydockError
from drydock.loadtest.messages import snapshot_from
from drydock.loadtest.plan_file import KEY_VARIABLE, SECRETS_VARIABLE, plan_facts
from drydock.loadtest.prompts import Prompts
from drydock.loadtest.records import Run, Snapshot
from drydock.loadtest.run_files import load_run
from drydock.loadtest.settings import LoadPlan
from drydock.tools import process


def generate(plan: LoadPlan, on_progress: Callable[[Snapshot], None] = lambda _snapshot: None) -> Run:
    """Send a plan's load and wait for the answers.

    Repetitions that should not find each other's prompts in the server's prefix cache need plans of different seeds.
    SIGINT ends it early: what was recorded comes back, marked incomplete.

    Raises:
        UsageError: the workload's file is wrong.
        DrydockError: the workers could not start, or none could make its load.
        KeyboardInterrupt: it was interrupted before there was anything to keep.
    """
    Prompts(plan)
    failure: dict[str, str] = {}

    def on_line(line: str) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            return
        if "snapshot" in said:
            on_progress(snapshot_from(said["snapshot"]))
        elif "error" in said:
            failure.update(said)

    with tempfile.TemporaryDirectory(prefix="drydock-loadtest-") as folder:
        file, output = Path(folder) / "plan.json", Path(folder) / "run"
        file.write_text(json.dumps(plan_facts(plan)))
        key, others = plan.target.api_key, plan.target.dialect.secrets
        env = {KEY_VARIABLE: key.reveal()} if key else {}
        if others:
            env[SECRETS_VARIABLE] = json.dumps([other.reveal() for other in others])
        done = process.run_streamed(
            [sys.executable, "-m", "drydock.loadtest.node", "all", "--plan", file, "--output", output],
            on_line,
            env=env or None,
            forward_interrupt=True,
        )
        if done.interrupted and (failure or done.returncode != 0):
            raise KeyboardInterrupt
        if failure:
            raise DrydockError(failure["error"], remedy=failure["remedy"])
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if not line.startswith('{"snapshot"')]
            raise DrydockError(
                f"the load generator ended with status {done.returncode}:\n" + "\n".join(lines[-20:]),
                remedy="Look at the machine's memory; give fewer --processes or a lower load, or report this.",
            )
        return load_run(output)
