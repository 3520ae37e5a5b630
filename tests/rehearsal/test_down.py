"""What `drydock down` removes and lists: whose a cluster is and who uses it decides. Here they are bare processes."""

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest

from drydock.errors import ClusterError
from drydock.project import Project
from drydock.rehearsal.children import ProcessRecord, write_records
from drydock.rehearsal.runs import RunFolder, in_use, list_clusters, new_run_folder
from drydock.rehearsal.state import Command, Kind, change
from tests.conftest import Drydock

Make = Callable[..., RunFolder]
SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def project(small_project: Callable[[dict[str, str]], Project]) -> Project:
    return small_project({})


@pytest.fixture
def make(project: Project) -> Iterator[Make]:
    """Makes a run whose supervisor is a program that sleeps."""
    with ExitStack() as running:

        def run(name: str, *, kind: Kind = "rehearsal", kept: bool = True, supervised: bool = True) -> RunFolder:
            process = running.enter_context(subprocess.Popen(SLEEP))
            running.callback(process.kill)
            threading.Thread(target=process.wait, daemon=True).start()  # as its parent does
            folder = new_run_folder(project, name, kind=kind)
            folder.cluster.mkdir()
            folder.logs.mkdir()
            created = psutil.Process(process.pid).create_time()
            record = ProcessRecord("supervisor" if supervised else "etcd", process.pid, created)
            write_records(folder.processes, [record])
            if kept:
                folder.kept.touch()
                change(folder.path, doing="kept" if kind == "rehearsal" else "deployed")
            return folder

        yield run


@pytest.fixture
def down(drydock: Drydock, project: Project) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    def command(*arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
        told = {"DRYDOCK_PROJECT": str(project.root), "DRYDOCK_CACHE": str(project.cache_dir), **env}
        return drydock("down", *arguments, env=told)

    return command


Down = Callable[..., "subprocess.CompletedProcess[str]"]


def states(down: Down) -> dict[str, Any]:
    return {each["name"]: each for each in json.loads(down("--list", "--format", "json").stdout)}


def test_what_others_use_stays(make: Make, down: Down, project: Project) -> None:
    deployed = make("live", kind="deployment")
    watched = make("watched", kept=False)
    used = make("used")
    free = make("free")
    with in_use(project, used.kubeconfig):
        told = states(down)
        done = down()
    assert {name: each["state"] for name, each in told.items()} == {
        deployed.name: "deployed",
        watched.name: "starting",
        used.name: "kept",
        free.name: "kept",
    }
    assert told[deployed.name]["deployment"] == "live"
    assert [user["pid"] for user in told[used.name]["users"]] == [os.getpid()]
    assert told[watched.name]["owner"]["pid"] == os.getpid()
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"removed: {free.name}\n"
    assert "`drydock destroy live`" in done.stderr
    assert f"in use by {Command.current()}" in done.stderr
    assert {each.name for each in list_clusters(project)} == {deployed.name, watched.name, used.name}


def test_several_are_removed_only_when_agreed(make: Make, down: Down, project: Project) -> None:
    names = [make(name).name for name in ("one", "two")]
    refused = down()
    assert refused.returncode == 2
    assert all(name in refused.stderr for name in names)
    assert "--yes" in refused.stderr
    assert len(list_clusters(project)) == 2
    agreed = down("--yes", "--format", "json")
    assert agreed.returncode == 0, agreed.stderr
    assert json.loads(agreed.stdout) == {"removed": names, "left": []}


def test_what_a_killed_command_left_is_removed(make: Make, down: Down, project: Project) -> None:
    folder = make("left", kept=False, supervised=False)
    assert states(down)[folder.name]["state"] == "left by a killed command"
    assert down().stdout == f"removed: {folder.name}\n"
    assert list_clusters(project) == ()


def test_a_deployment_is_not_removed_by_name(make: Make, down: Down, project: Project) -> None:
    folder = make("live", kind="deployment")
    refused = down(folder.name)
    assert refused.returncode == 2
    assert "`drydock destroy live`" in refused.stderr
    assert len(list_clusters(project)) == 1


def test_names_and_paths_are_whole_in_a_narrow_pipe(make: Make, down: Down) -> None:
    folder = make("a-name-that-is-longer-than-a-column-of-any-table-in-eighty-columns")
    told = down("--list", COLUMNS="80").stdout
    assert folder.name in told.splitlines()
    assert f"KUBECONFIG={folder.kubeconfig}" in told
    assert not re.search(r"[ \t]$", told, re.MULTILINE)


def test_work_on_a_cluster_that_is_removed_ends_and_says_by_whom(make: Make, down: Down, project: Project) -> None:
    folder = make("removed")

    def wait() -> None:
        with in_use(project, folder.kubeconfig):
            assert down(folder.name).returncode == 0
            subprocess.run(SLEEP, check=False)

    with pytest.raises(ClusterError, match=rf"removed by `drydock down {folder.name}` \(user ") as told:
        wait()
    assert str(folder.logs) in told.value.remedy


def test_a_cluster_of_another_kind_is_only_used(project: Project, tmp_path: Path) -> None:
    with in_use(project, tmp_path / "kubeconfig") as run:
        assert run is None
