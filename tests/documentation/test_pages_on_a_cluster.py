"""The pages' commands for a cluster, on one rehearsal that was kept as docs/rehearsal.md says."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT, Drydock
from tests.documentation.pages import BLOCKS

pytestmark = [pytest.mark.cluster, pytest.mark.kubectl]

PAGES = sorted({block.page for block in BLOCKS if "cluster" in block.how})
SAMPLES = ROOT / "tests" / "charts" / "value_samples"


@dataclass(frozen=True)
class Kept:
    """A rehearsal that was kept: its name, and the kubeconfig that the command printed."""

    name: str
    kubeconfig: Path


@pytest.fixture(scope="module")
def kept(drydock: Drydock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    report = tmp_path_factory.mktemp("report")
    done = drydock("rehearse", "dev", "--live", "--keep", "-o", report)
    assert done.returncode == 0, done.stderr
    exported = re.search(r"^export KUBECONFIG=(.+)$", done.stdout, re.MULTILINE)
    named = re.search(r"down (\S+-dev\S*)`", done.stdout + done.stderr)
    assert exported
    assert named
    yield Kept(named[1], Path(exported[1]))
    ended = drydock("down", named[1])
    assert (ended.returncode, named[1] in ended.stdout + ended.stderr) == (0, True)
    assert not Path(exported[1]).exists()


@pytest.fixture
def shell(kept: Kept, reader: Path, tmp_path: Path, drydock_tool: Callable[[str], Path]) -> Mapping[str, str]:
    """Variables of a reader whose cluster it is, and whose values are those that a chart needs."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    (programs / "helm").symlink_to(drydock_tool("helm4"))
    (programs / "drydock").symlink_to(Path(sys.executable).parent / "drydock")
    (home / ".kube").mkdir(parents=True)
    shutil.copy(kept.kubeconfig, home / ".kube" / "test")
    needs = yaml.safe_load((SAMPLES / "jupyterhub.yaml").read_text())["base"]
    (reader / "my-hub.yaml").write_text(yaml.safe_dump(needs))
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(home),
        "KUBECONFIG": str(kept.kubeconfig),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache")),
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_for_a_cluster_do_what_the_page_says(page: Path, shell: Mapping[str, str], reader: Path) -> None:
    for block in (block for block in BLOCKS if block.page == page and "cluster" in block.how):
        commands = re.sub(r"\\\n", "", block.content).splitlines()
        for command in filter(str.strip, commands):
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", command],
                env=dict(shell),
                cwd=reader,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )
            said = f"{block.name}: {command}\n{done.stdout}{done.stderr}"
            assert done.returncode == int(block.how.get("exit", 0)), said
