"""A container's process can do what its pod allows and no more."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from drydock.clusters.api import Access, Api
from drydock.errors import ClusterError
from drydock.rehearsal.kubelet import isolation
from drydock.rehearsal.kubelet.pod_addresses import Address
from drydock.rehearsal.kubelet.pod_volumes import VolumeMaker
from drydock.rehearsal.kubelet.references import References

ESCAPE = Path(__file__).with_name("escape.py")
POD: dict[str, Any] = {"metadata": {"name": "held"}, "spec": {"securityContext": {"runAsNonRoot": True}}}
LOCKED = {"readOnlyRootFilesystem": True, "runAsUser": 1234, "runAsGroup": 99}

pytestmark = pytest.mark.namespaces


def held(
    folder: Path, *command: str, security: Mapping[str, Any], mounts: tuple[isolation.Mount, ...] = ()
) -> list[str]:
    container = {"name": "app", "securityContext": security}
    plan = isolation.plan(
        POD, container, command, {"LEVEL": "high"}, mounts, (*isolation.python_folders(), str(ESCAPE)), folder
    )
    return plan.as_command(folder / "plan.json")


@pytest.fixture(scope="module")
def escaped(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What came of each attempt of escape.py."""
    folder = tmp_path_factory.mktemp("pod")
    for name in ("state", "config"):
        (folder / name).mkdir()
    secret = folder / "secret"
    secret.write_text("of another")
    mounts = (
        isolation.Mount(str(folder / "state"), "/var/lib/state", read_only=False),
        isolation.Mount(str(folder / "config"), "/usr/local/etc/config", read_only=True),
    )
    arguments = (sys.executable, str(ESCAPE), "/var/lib/state", "/usr/local/etc/config", str(secret))
    command = held(folder, *arguments, security=LOCKED, mounts=mounts)
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=True, timeout=120)
    assert (folder / "state" / "new").read_text() == "x", "what it writes in a volume is in the volume"
    outcome: dict[str, Any] = json.loads(done.stdout)
    return outcome


@pytest.mark.parametrize(
    ("attempt", "outcome"),
    [
        ("write in the mount", "done: 1"),
        ("write in a ConfigMap", "[Errno 30] Read-only file system: '/usr/local/etc/config/new'"),
        ("write in /tmp", "[Errno 30] Read-only file system: '/tmp/new'"),
        ("write in /", "[Errno 30] Read-only file system: '/new'"),
        ("write in /usr", "[Errno 30] Read-only file system: '/usr/new'"),
        ("change the kernel", "[Errno 30] Read-only file system: '/proc/sys/kernel/printk'"),
        ("mount", "[Errno 1] Operation not permitted"),
        ("see other processes", "done: [1]"),
    ],
)
def test_what_an_attempt_comes_to(escaped: Mapping[str, Any], attempt: str, outcome: str) -> None:
    assert escaped[attempt] == outcome


@pytest.mark.parametrize("attempt", ["read another's file", "read a token", "become root", "enter by a process"])
def test_what_is_not_its_own_is_out_of_reach(escaped: Mapping[str, Any], attempt: str) -> None:
    assert escaped[attempt].startswith("[Errno ")


def test_it_is_the_user_of_the_pod_without_capabilities(escaped: Mapping[str, Any]) -> None:
    assert escaped["ids"] == [1234, 99]
    assert {int(capabilities, 16) for capabilities in escaped["capabilities"]} == {0}
    assert (escaped["hostname"], escaped["folder"]) == ("held", "/")


def test_its_variables_are_those_of_the_pod(escaped: Mapping[str, Any]) -> None:
    environment = dict(escaped["environment"])
    environment.pop("LC_CTYPE", None)  # Python sets it
    assert environment.keys() == {"PATH", "HOME", "HOSTNAME", "LEVEL"}


def test_a_root_that_may_be_written_keeps_nothing(tmp_path: Path) -> None:
    command = held(tmp_path, "/bin/sh", "-c", "echo x > /new && cat /new", security={"runAsUser": 7})
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout == "x\n"
    assert not Path("/new").exists()
    assert not list(tmp_path.rglob("new"))


def test_a_root_user_has_no_capabilities_either(tmp_path: Path) -> None:
    script = "grep CapEff /proc/self/status; chown 1:1 /tmp"
    command = held(tmp_path, "/bin/sh", "-c", script, security={"runAsNonRoot": False})
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split() == ["CapEff:", "0000000000000000"]
    assert done.returncode != 0


def test_one_that_may_not_be_root_and_is_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(isolation.RefusedUserError, match="non-root"):
        held(tmp_path, "/bin/sh", security={"runAsUser": 0})


def test_the_status_is_that_of_the_program(tmp_path: Path) -> None:
    for script, status in (("exit 7", 7), ("sh -c 'kill -KILL $$' & wait $!", 137)):
        command = held(tmp_path, "/bin/sh", "-c", script, security=LOCKED)
        assert subprocess.run(command, env={}, check=False, timeout=120).returncode == status
    missing = held(tmp_path, "/no/such/program", security=LOCKED)
    done = subprocess.run(missing, env={}, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, "/no/such/program" in done.stderr) == (128, True)


def test_all_that_it_started_ends_with_it(tmp_path: Path) -> None:
    """Also by a signal that nothing can catch."""
    command = held(tmp_path, "/bin/sh", "-c", "sleep 1000 & sleep 1000 & echo up; wait", security=LOCKED)
    with subprocess.Popen(command, env={}, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout
        assert running.stdout.readline() == "up\n"
        started = psutil.Process(running.pid).children(recursive=True)
        assert len(started) == len(("sh", "sleep", "sleep"))
        os.kill(running.pid, signal.SIGKILL)
        running.wait(60)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []


def test_a_link_that_a_container_made_leads_nowhere_else(tmp_path: Path) -> None:
    """The volume of a claim outlives its pod, and a later one mounts a part of it."""
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    pod = {"metadata": {"name": "held", "namespace": "some"}, "spec": {"volumes": [claim]}}
    address = Address("10.130.0.1", "127.130.0.1", whole=True)
    maker = VolumeMaker(tmp_path / "pod", tmp_path / "claims", References(unreached(), pod, address))
    part = {"volumeMounts": [{"name": "data", "mountPath": "/data", "subPath": "part"}]}
    (bound,) = maker.binds(part)
    assert (bound.source, bound.target) == (str(tmp_path / "claims/some/data/part"), "/data")
    Path(bound.source).rmdir()
    for target in ("/etc", "/no/such/folder"):
        Path(bound.source).symlink_to(target)
        with pytest.raises(ClusterError, match="leads out of the volume"):
            maker.binds(part)
        Path(bound.source).unlink()


def unreached() -> Api:
    """Of a server that is not there, for what makes no call."""
    here = Path("nowhere")
    return Api(Access("https://127.0.0.1:9", here, here, here))


STARTER = """
import subprocess, sys
from pathlib import Path
from drydock.clusters.api import Access, Api
from drydock.errors import ClusterError
from drydock.rehearsal.kubelet import isolation
from drydock.rehearsal.kubelet.pod_addresses import Address
from drydock.rehearsal.kubelet.pod_volumes import VolumeMaker
from drydock.rehearsal.kubelet.references import References
pod = {"metadata": {"name": "held"}, "spec": {}}
command = ("/bin/sh", "-c", "sleep 1000 & echo up; wait")
plan = isolation.plan(pod, {"name": "app"}, command, {}, (), (), Path(sys.argv[1]))
subprocess.run(plan.as_command(Path(sys.argv[1], "plan.json")), env={})
"""


def test_it_ends_with_what_started_it(tmp_path: Path) -> None:
    """A supervisor that is killed leaves no process of a pod, before anything cleans up after it."""
    command = [sys.executable, "-c", STARTER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        assert starter.stdout.readline() == "up\n"
        started = psutil.Process(starter.pid).children(recursive=True)
        assert len(started) >= len(("init", "sh", "sleep"))
        os.kill(starter.pid, signal.SIGKILL)
        starter.wait(60)
    _, alive = psutil.wait_procs(started, timeout=60)
    assert alive == []


def test_a_plan_is_read_by_its_user_alone_and_removed(tmp_path: Path) -> None:
    """It holds the values of Secrets."""
    command = held(tmp_path, "/bin/sh", "-c", "exit 0", security=LOCKED)
    file = tmp_path / "plan.json"
    assert file.stat().st_mode & 0o077 == 0
    subprocess.run(command, env={}, check=True, timeout=120)
    assert not file.exists()
