"""The rehearsals of the benchmark scale, each a process of its own."""

import subprocess
import sys
from pathlib import Path


def test_the_process_of_a_rehearsal_takes_an_environment(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "drydock.loadtest.benchmark.scaled", "nowhere", str(tmp_path), "a=b"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "unknown environment 'nowhere'" in done.stderr
    assert not list(tmp_path.iterdir())
