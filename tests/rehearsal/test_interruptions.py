"""Nothing of a rehearsal outlives it, however it ends, unless it was kept; what was kept or left goes with `down`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from drydock.errors import ClusterError
from drydock.project import Project
from drydock.rehearsal.children import read_records
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.rehearse import suite_cluster
from drydock.rehearsal.runs import down, list_clusters, new_run_folder
from tests.rehearsal.small import Pods, node_class, node_pool, to_yaml, workload

DRIVER = Path(__file__).with_name("driver.py")
NOTICED_SECONDS = 20
"""Until a command that waits on a control plane has ended after it, on a busy machine."""
SECONDS = 240
"""Until a process that must end has ended."""


@pytest.fixture
def project(small_project: Callable[[Mapping[str, str]], Project], drydock_project: Project) -> Project:
    """A suite whose environment `slow` waits for a node, and `idle` for nothing; it shares what rehearsals share."""
    pods = workload("Deployment", "app", Pods(pool="cpu"))
    nodes = [node_class("cpu"), node_pool("cpu", "cpu", {"karpenter.k8s.aws/instance-category": ["c"]})]
    made = small_project(
        {
            "charts/genai-platform/values.yaml": "pods: true\n",
            "charts/genai-platform/templates/nodes.yaml": to_yaml(nodes),
            "charts/genai-platform/templates/pods.yaml": "{{- if .Values.pods }}\n" + to_yaml([pods]) + "{{- end }}\n",
            "values/idle.yaml": "pods: false\n",
            "values/environments/slow.yaml": "description: waits for a node\nstack: [empty.yaml]\n",
            "values/environments/idle.yaml": "description: waits for nothing\nstack: [idle.yaml]\n",
        }
    )
    (made.charts_dir / "crds").symlink_to(drydock_project.charts_dir / "crds")
    made.cache_dir.mkdir()
    (drydock_project.cache_dir / "rehearsal").mkdir(exist_ok=True, parents=True)
    (made.cache_dir / "rehearsal").symlink_to(drydock_project.cache_dir / "rehearsal")
    return made


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(project: Project, rehearsal_tools: dict[str, Path]) -> Iterator[Start]:
    """Starts the driver; whatever a failed test leaves is ended."""
    started: list[subprocess.Popen[str]] = []
    tools = json.dumps({name: str(path) for name, path in rehearsal_tools.items()})

    def command(environment: str, *options: str) -> "subprocess.Popen[str]":
        arguments = [sys.executable, str(DRIVER), str(project.root), str(project.cache_dir), tools, environment]
        process = subprocess.Popen(
            [*arguments, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=project.root
        )
        started.append(process)
        return process

    yield command
    for process in started:
        process.kill()
        process.communicate()
    for cluster in list_clusters(project):
        down(project, cluster.name)


def processes_of(project: Project) -> list[str]:
    """Processes that work in the project's cache or were told of it."""
    found = []
    for process in psutil.process_iter():
        try:
            told = [process.cwd(), *process.cmdline()]
        except psutil.Error:
            continue
        if process.pid != os.getpid() and any(str(project.runs_dir) in each for each in told):
            found.append(f"{process.pid} {' '.join(told[1:])}")
    return found


def await_nothing(project: Project) -> None:
    """Until no process is left, and then no cluster's folder."""
    deadline = time.monotonic() + SECONDS
    while left := processes_of(project):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    assert list(project.runs_dir.glob("*/cluster")) == []
    assert list_clusters(project) == ()


def read_until(process: "subprocess.Popen[str]", text: str) -> None:
    """Read its progress up to a line that holds the text."""
    assert process.stderr
    for line in process.stderr:
        if text in line:
            return
    raise AssertionError(f"the command ended without telling '{text}'")


MOMENTS = {
    "while it renders": "",
    "while the control plane starts": "Render the environment",
    "while Helm installs": "Start the control plane",
    "while it waits for a node": "Install with Helm",
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS.keys())
def test_ctrl_c_leaves_nothing(start: Start, project: Project, moment: str) -> None:
    process = start("slow")
    if moment:
        read_until(process, moment)
    else:
        _await_run(project)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130
    (run,) = project.runs_dir.iterdir()
    assert f"The logs of this run: {run / 'logs'}" in errors
    await_nothing(project)


def test_a_killed_command_leaves_nothing(start: Start, project: Project) -> None:
    process = start("slow")
    read_until(process, "Install with Helm")
    process.kill()
    process.communicate()
    await_nothing(project)


def test_a_kept_cluster_answers_until_down(start: Start, project: Project) -> None:
    process = start("idle", "keep")
    output, _ = process.communicate(timeout=SECONDS * 2)
    assert process.returncode == 0
    kubeconfig = Path(output.strip())
    assert kubeconfig.stat().st_mode & 0o077 == 0, "others must not read the kubeconfig"
    (cluster,) = list_clusters(project)
    assert cluster.kept
    assert cluster.doing == "kept"
    assert cluster.folder.kubeconfig == kubeconfig
    assert _nodepools(kubeconfig) == ["cpu"]
    assert down(project) == (cluster.name,)
    await_nothing(project)


def test_down_finds_what_a_killed_supervisor_left(start: Start, project: Project) -> None:
    start("idle", "keep").communicate(timeout=SECONDS * 2)
    (cluster,) = list_clusters(project)
    supervisor = next(each for each in read_records(cluster.folder.processes) if each.name == "supervisor")
    os.kill(supervisor.pid, signal.SIGKILL)
    psutil.wait_procs([psutil.Process(supervisor.pid)] if psutil.pid_exists(supervisor.pid) else [], timeout=SECONDS)
    (left,) = list_clusters(project)
    assert not left.supervised
    assert left.doing == "left by a killed command"
    assert down(project) == (cluster.name,)
    await_nothing(project)


def test_down_leaves_a_rehearsal_under_way_alone(start: Start, project: Project) -> None:
    process = start("slow")
    read_until(process, "Install with Helm")
    assert down(project) == ()
    (cluster,) = list_clusters(project)
    assert (cluster.kind, cluster.doing, cluster.users) == ("rehearsal", "installing", ())
    assert cluster.state
    assert cluster.state.owner.pid == process.pid
    assert down(project, cluster.name) == (cluster.name,)
    _, errors = process.communicate(timeout=NOTICED_SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in errors
    assert f"the control plane of {cluster.name} ended: removed by `" in errors
    assert f"pid {os.getpid()})" in errors
    assert str(cluster.folder.logs) in errors
    await_nothing(project)


def test_two_rehearsals_run_side_by_side(start: Start, project: Project) -> None:
    first, second = start("idle", "keep"), start("idle", "keep")
    outputs = [each.communicate(timeout=SECONDS * 3)[0].strip() for each in (first, second)]
    assert (first.returncode, second.returncode) == (0, 0)
    assert len(set(outputs)) == 2
    assert [_nodepools(Path(each)) for each in outputs] == [["cpu"], ["cpu"]]
    assert len(down(project)) == 2
    await_nothing(project)


def test_too_few_open_files_are_told(start: Start, project: Project) -> None:
    _, errors = start("idle", "few-files").communicate(timeout=SECONDS * 3)
    assert "open files" in errors
    assert "Traceback" not in errors
    await_nothing(project)


def test_a_program_that_dies_is_told_with_its_last_lines(project: Project, rehearsal_tools: dict[str, Path]) -> None:
    folder = new_run_folder(project, "dies")
    with suite_cluster(project, rehearsal_tools, folder) as cluster:
        cluster.await_api()
        etcd = next(each for each in read_records(folder.processes) if each.name == "etcd")
        os.kill(etcd.pid, signal.SIGKILL)
        with pytest.raises(ClusterError, match="ended by signal 9") as told:
            _check_until(cluster, time.monotonic() + SECONDS)
    assert str(folder.logs / "etcd.log") in told.value.message
    await_nothing(project)


def test_a_taken_port_is_told(project: Project, rehearsal_tools: dict[str, Path]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with (
            pytest.raises(ClusterError, match=f"port {port} of 127.0.0.1 is taken"),
            suite_cluster(project, rehearsal_tools, new_run_folder(project, "port"), port=port) as cluster,
        ):
            cluster.await_api()
    await_nothing(project)


def _check_until(cluster: RehearsalCluster, deadline: float) -> None:
    while time.monotonic() < deadline:
        cluster.check()
        time.sleep(0.1)


def _await_run(project: Project) -> None:
    deadline = time.monotonic() + SECONDS
    while not list(project.runs_dir.glob("*/cluster")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _nodepools(kubeconfig: Path) -> list[str]:
    from kubernetes import client, config

    config.load_kube_config(config_file=str(kubeconfig))
    found = client.CustomObjectsApi().list_cluster_custom_object("karpenter.sh", "v1", "nodepools")
    return [each["metadata"]["name"] for each in found["items"]]
