"""A build that ends early, and builds side by side."""

import signal
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from tenacity import retry, retry_if_exception_type, retry_if_result, stop_after_delay, wait_fixed

from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.tools.build import ensure
from tests.conftest import ROOT
from tests.tools.conftest import HelloSuite

FUNCTIONS = "\n".join(
    f"func f{n}(a []int) int {{ s := 0; for i, x := range a {{ s += x*i + {n} }}; return s }}" for n in range(60_000)
)


def slow() -> str:
    """A source file that takes long to compile, and that Go has never compiled before."""
    return f"package main\n\n// {uuid4()}\n{FUNCTIONS}"


def start(project: Project) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.tools.build_hello", str(project.root), str(project.cache_dir)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


ENDED = retry_if_exception_type(psutil.NoSuchProcess)  # one of them, between two looks


@retry(retry=retry_if_result(lambda found: not found) | ENDED, wait=wait_fixed(0.02), stop=stop_after_delay(300))
def compilers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """What a build has started, as soon as Go's compiler is among it."""
    if process.poll() is not None:
        pytest.fail(f"the build ended before it compiled anything:\n{process.communicate()[1]}")
    below = psutil.Process(process.pid).children(recursive=True)
    return below if any(each.name() == "compile" for each in below) else []


def interrupt(project: Project, sign: signal.Signals) -> list[psutil.Process]:
    """Send a signal to nothing but the process that builds, in the middle of it; what it had started."""
    with start(project) as process:
        below = compilers_of(process)
        process.send_signal(sign)
        process.communicate(timeout=180)
        assert process.returncode != 0
    return below


def test_an_interrupted_build_leaves_nothing(hello_suite: HelloSuite) -> None:
    project = hello_suite(slow=slow())
    below = interrupt(project, signal.SIGINT)
    assert psutil.wait_procs(below, timeout=120)[1] == []
    assert [path.name for path in (project.cache_dir / "tools").iterdir()] == [".lock"]


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_after_an_interrupted_build_the_next_one_succeeds(hello_suite: HelloSuite, sign: signal.Signals) -> None:
    for process in interrupt(hello_suite(slow=slow()), sign):
        if process.is_running():  # a killed drydock cannot end its compiler
            process.kill()
    project = hello_suite(slow="package main\n")
    program = ensure(project, ["hello"], SilentProgress())["hello"]
    assert subprocess.run([program], capture_output=True, check=True).stdout == b"hello version v1.2.3\n"
    assert {path.name for path in (project.cache_dir / "tools").iterdir()} == {".lock", program.parent.name}


def test_two_builds_side_by_side_give_one_tool(hello_suite: HelloSuite) -> None:
    project = hello_suite()
    with start(project) as first, start(project) as second:
        outputs = [process.communicate(timeout=300) for process in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0), outputs
    paths = {Path(output.strip()) for output, _ in outputs}
    assert len(paths) == 1
    assert paths.pop().is_file()
