"""Fixtures that every stage's tests share."""

import os
import re
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import pytest
import yaml

from drydock.deploy.kind.docker import Docker
from drydock.errors import DrydockError, ToolchainError
from drydock.project import Project
from drydock.rehearsal.kubelet import isolation
from drydock.tools import process
from drydock.tools.on_path import find_terraform, provider_mirror
from tests.distribution import pytest_xdist_make_scheduler  # noqa: F401 (a hook)
from tests.no_control_plane import sitecustomize  # noqa: F401 (what tests call in this process is refused too)

ROOT = Path(__file__).resolve().parents[1]
NO_CONTROL_PLANE = ROOT / "tests" / "no_control_plane"
STARTERS = {"aws", "drydock", "drydock_tool", "hello_suite", "installed", "litellm", "start_server"}
"""Fixtures that start the command, Helm, a compiler or a server."""
_MISSING = pytest.StashKey[dict[str, str]]()

# Control planes live for a minute here: collecting garbage would take a fifth of their processor time.
os.environ.setdefault("GOGC", "400")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts jobs in the background so, and what the tests start and interrupt would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _terraform_lacks() -> str:
    try:
        find_terraform()
    except ToolchainError as error:
        return error.message
    return "" if provider_mirror() else "TF_CLI_CONFIG_FILE names no file that says where the AWS provider comes from"


def kind_images() -> tuple[str, str]:
    """The kind node's image and the one with Python that tests use: the suite's own, or those that variables name."""
    (node,) = yaml.safe_load((ROOT / "ci/kind/cluster.yaml").read_text())["nodes"]
    base = re.search(r"^ARG BASE=(\S+)", (ROOT / "ci/kind/Containerfile").read_text(), re.MULTILINE)
    assert base
    return os.environ.get("DRYDOCK_TEST_NODE_IMAGE", node["image"]), os.environ.get("DRYDOCK_TEST_BASE_IMAGE", base[1])


def _docker_lacks() -> str:
    return "" if shutil.which("docker") else "docker is not on PATH"


def _container_runtime_lacks() -> str:
    try:
        docker = Docker()
        docker.info()
        process.run([docker.program, "image", "inspect", *kind_images()])
    except DrydockError as error:
        return error.message.splitlines()[-1]
    return ""


def _kubectl_lacks() -> str:
    return "" if shutil.which("kubectl") else "kubectl is not on PATH"


_LACKS: dict[str, Callable[[], str]] = {
    "container_runtime": _container_runtime_lacks,
    "docker": _docker_lacks,
    "kubectl": _kubectl_lacks,
    "namespaces": isolation.unavailable,
    "terraform": _terraform_lacks,
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "namespaces: needs Linux that lets this user make namespaces")
    config.addinivalue_line(
        "markers", "programs: starts the command, Helm or a server; set by itself for fixtures that do"
    )
    config.addinivalue_line("markers", "kubectl: needs kubectl on PATH")
    config.stash[_MISSING] = {mark: told for mark, lacks in _LACKS.items() if (told := lacks())}


def pytest_report_header(config: pytest.Config) -> list[str]:
    missing = config.stash[_MISSING]
    return [
        f"{mark}: tests are deselected: {missing[mark]}" if mark in missing else f"{mark}: tests run" for mark in _LACKS
    ]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests that start a control plane or other programs, put the longest first, deselect what cannot run here."""
    for item in items:
        if _starts_cluster(item):
            item.add_marker("cluster")
        if isinstance(item, pytest.Function) and STARTERS & set(item._fixtureinfo.name2fixturedefs):
            item.add_marker("programs")
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)
    _deselect(config, items)


def _starts_cluster(item: pytest.Item) -> bool:
    """Whether a fixture of a test is a control plane, or everything that one is started with."""
    if not isinstance(item, pytest.Function):
        return False
    fixtures = item._fixtureinfo.name2fixturedefs
    results = (str(found[-1].func.__annotations__.get("return", "")) for found in fixtures.values())
    return "rehearsal_tools" in fixtures or any(re.search(r"\b(RehearsalCluster|Deployed)\b", each) for each in results)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Let nothing that a test runs start a control plane, unless the test is marked `cluster`: see no_control_plane."""
    with pytest.MonkeyPatch.context() as patch:
        if not item.get_closest_marker("cluster"):
            patch.setenv("PYTHONPATH", str(NO_CONTROL_PLANE), prepend=os.pathsep)
        return (yield)


def _deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what needs something that is not here, unless DRYDOCK_REQUIRE says that it has to be."""
    for mark, told in config.stash[_MISSING].items():
        if mark in os.environ.get("DRYDOCK_REQUIRE", "").split(","):
            raise pytest.UsageError(f"DRYDOCK_REQUIRE={mark}: {told}")
        without = [each for each in items if each.get_closest_marker(mark)]
        config.hook.pytest_deselected(items=without)
        items[:] = [each for each in items if not each.get_closest_marker(mark)]


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package as its wheel unpacks."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, timeout=600)
    (wheel,) = folder.glob("drydock-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


class Drydock(Protocol):
    """Runs the `drydock` command as a user would."""

    def __call__(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 1500
    ) -> subprocess.CompletedProcess[str]:
        """Its exit status and what it printed."""


@pytest.fixture(scope="session")
def drydock() -> Drydock:
    """See Drydock."""

    def run(
        *arguments: str | Path, env: Mapping[str, str] | None = None, cwd: Path = ROOT, timeout: float = 1500
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "drydock", *map(str, arguments)],
            env={**os.environ, **(env or {})},
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def small_project(tmp_path: Path) -> Callable[[Mapping[str, str]], Project]:
    """Makes a suite out of the given files (path: text), with an empty umbrella and its own cache."""

    def make(files: Mapping[str, str]) -> Project:
        root = tmp_path / "suite"
        umbrella = "apiVersion: v2\nname: genai-platform\nversion: 0.0.1\n"
        for path, text in {"charts/genai-platform/Chart.yaml": umbrella, "values/empty.yaml": "", **files}.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return Project(root, tmp_path / "cache")

    return make
