"""A control plane starts with the CRDs that an earlier one stored, and they are those of a usual installation."""

import json
import subprocess
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from drydock.clusters.api import collection
from drydock.clusters.crds import crd_files
from drydock.project import Project
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.control_plane import ETCD_SOCKET, etcd
from drydock.rehearsal.crd_snapshots import FOLDER, ClusterCrds, CrdSnapshot, HelmCrds
from drydock.rehearsal.etcd import Etcd
from drydock.rehearsal.rehearse import suite_cluster, suite_crds
from drydock.rehearsal.runs import new_run_folder
from drydock.suite.charts import AssembledCharts
from drydock.suite.environments import load_environment
from drydock.suite.render import installed_crds
from drydock.tools import process

CRDS = collection("apiextensions.k8s.io/v1", "customresourcedefinitions")
KEY = "/registry/apiextensions.k8s.io/customresourcedefinitions/"
SECONDS = 60
Start = Callable[[], Etcd]


@pytest.fixture
def start_etcd(rehearsal_tools: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts an empty etcd without an API server."""
    running = []

    def start() -> Etcd:
        folder = tmp_path_factory.mktemp("etcd")
        running.append(subprocess.Popen(list(map(str, etcd(rehearsal_tools))), cwd=folder, stderr=subprocess.DEVNULL))
        started = Etcd(folder / ETCD_SOCKET)
        started.wait(SECONDS)
        return started

    yield start
    for each in running:
        each.kill()
        each.wait()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The file of a CRD."""
    return write_crd(tmp_path / "ships.sea.dev.yaml")


def write_crd(file: Path, *, kind: str = "Ship") -> Path:
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ships.sea.dev"},
        "spec": {"group": "sea.dev", "names": {"kind": kind, "plural": "ships"}},
    }
    file.write_text(json.dumps(crd))
    return file


def store(etcd: Etcd, name: str = "ships.sea.dev", *, generation: int = 1, established: str = "True") -> None:
    """What an API server stores of a CRD."""
    conditions = [{"type": "Established", "status": established}]
    crd = {"metadata": {"name": name, "generation": generation}, "status": {"conditions": conditions}}
    etcd.put([{"key": base64(f"{KEY}{name}"), "value": base64(json.dumps(crd))}])


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


def test_what_one_control_plane_stored_is_what_the_next_begins_with(
    start_etcd: Start, tmp_path: Path, file: Path
) -> None:
    first = start_etcd()
    store(first)
    first.put([{"key": base64("/registry/namespaces/kube-system"), "value": base64("an identity")}])
    snapshot = CrdSnapshot(tmp_path / "snapshot")
    assert snapshot.take(first, {"ships.sea.dev"})
    second = start_etcd()
    second.put(snapshot.read() or ())
    assert second.under(KEY) == first.under(KEY)
    assert [b64decode(each["key"]).decode() for each in second.under("/")] == [f"{KEY}ships.sea.dev"]


@pytest.mark.parametrize(
    "stored",
    [
        {"generation": 2},
        {"established": "False"},
        {"name": "boats.sea.dev"},
    ],
    ids=["changed since", "not served", "another one"],
)
def test_crds_that_are_not_as_they_were_installed_are_not_kept(
    start_etcd: Start, tmp_path: Path, stored: Mapping[str, Any]
) -> None:
    etcd = start_etcd()
    store(etcd)
    store(etcd, **stored)
    snapshot = CrdSnapshot(tmp_path / "snapshot")
    assert not snapshot.take(etcd, {"ships.sea.dev"})
    assert snapshot.read() is None


def test_a_damaged_or_half_written_snapshot_is_not_used_and_is_replaced(start_etcd: Start, tmp_path: Path) -> None:
    etcd, snapshot = start_etcd(), CrdSnapshot(tmp_path / "snapshot")
    store(etcd)
    assert snapshot.take(etcd, {"ships.sea.dev"})
    whole = snapshot.file.read_bytes()
    for damaged in (b"", whole[:20], whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1]), b"\n" + whole):
        snapshot.file.write_bytes(damaged)
        assert snapshot.read() is None
    assert snapshot.take(etcd, {"ships.sea.dev"})
    assert snapshot.file.read_bytes() == whole


def test_another_file_api_server_or_helm_makes_another_snapshot(start_etcd: Start, tmp_path: Path, file: Path) -> None:
    servers = [tmp_path / "server", tmp_path / "another"]
    helms = [tmp_path / "helm3", tmp_path / "helm4"]
    for program in (*servers, *helms):
        program.write_text(program.name)
    etcd = start_etcd()
    store(etcd)

    def crds(etcd: Etcd, server: Path, helm: Path) -> ClusterCrds:
        return ClusterCrds(etcd, tmp_path / FOLDER, server, [file], HelmCrds(helm, (file,)))

    def loaded(server: Path = servers[0], helm: Path = helms[0]) -> int:
        empty = start_etcd()
        started = crds(empty, server, helm)
        started.load(SECONDS)
        count = len(empty.under("/"))
        assert started.installed == bool(count)
        return count

    crds(etcd, servers[0], helms[0]).take_installed()
    assert loaded() == 1
    assert loaded(helm=helms[1]) == 0
    assert loaded(server=servers[1]) == 0
    write_crd(file, kind="Vessel")
    assert loaded() == 0


@contextmanager
def control_plane(
    project: Project, tools: Mapping[str, Path], cache: Path, crds: HelmCrds
) -> Iterator[RehearsalCluster]:
    folder = new_run_folder(project, "test", kind="test")
    with suite_cluster(project, tools, folder, cache=cache, helm_crds=crds) as cluster:
        yield cluster


def crds_of(cluster: RehearsalCluster) -> dict[str, Any]:
    """Every CRD without the version that etcd counts."""
    found = cluster.await_api().get(CRDS)["items"]
    return {crd["metadata"]["name"]: {**crd, "metadata": {**crd["metadata"], "resourceVersion": ""}} for crd in found}


def test_a_control_plane_begins_with_what_helm_installed_and_helm_changes_nothing_of_it(
    rehearsal_tools: Mapping[str, Path],
    drydock_project: Project,
    drydock_charts: AssembledCharts,
    tmp_path: Path,
) -> None:
    helm = rehearsal_tools["helm4"]
    chosen = load_environment(drydock_project, "dev").stacked([], ["crds.lws.enabled=true", "crds.keda.enabled=true"])
    files = installed_crds(helm, drydock_charts, chosen)
    assert {each.name for each in files} == {
        each.name for each in crd_files(drydock_project, ["karpenter", "lws", "keda"])
    }

    def install(cluster: RehearsalCluster) -> None:
        values = [argument for owner in ("lws", "keda") for argument in ("--set", f"{owner}.enabled=true")]
        command: list[str | Path] = [
            helm,
            "install",
            "crds",
            drydock_charts.chart("crds"),
            "--kubeconfig",
            cluster.kubeconfig,
            *values,
        ]
        process.run(command)

    crds = HelmCrds(helm, files)
    with control_plane(drydock_project, rehearsal_tools, tmp_path, crds) as usual:
        before = crds_of(usual)
        assert not usual.has_crds()
        install(usual)
        usual.take_crds()
        installed, system = crds_of(usual), identity(usual)
    assert len(before) == len(suite_crds(drydock_project))
    assert installed.keys() == before.keys() | {each.stem for each in files}
    with control_plane(drydock_project, rehearsal_tools, tmp_path, crds) as quick:
        assert crds_of(quick) == installed
        assert quick.has_crds()
        assert quick.await_api().get("/apis/leaderworkerset.x-k8s.io/v1/leaderworkersets")["items"] == []
        assert identity(quick) != system
        install(quick)
        assert crds_of(quick) == installed
    smaller = HelmCrds(helm, files[:1])
    with control_plane(drydock_project, rehearsal_tools, tmp_path, smaller) as other:
        assert crds_of(other) == before
        assert not other.has_crds()


def identity(cluster: RehearsalCluster) -> str:
    return str(cluster.await_api().get("/api/v1/namespaces/kube-system")["metadata"]["uid"])
