"""Whatever the order in which things come to be known, and however slowly: the same is bought, with the same verdict.

One cluster that starts from an empty cache; each test installs pools and pods of its own names on it, and leaves them.
"""

import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from drydock.clusters.api import Api, collection
from drydock.project import Project
from drydock.rehearsal.children import read_records
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.rehearse import suite_cluster
from drydock.rehearsal.release import Release
from drydock.rehearsal.runs import new_run_folder
from drydock.rehearsal.seeding import Seed
from drydock.suite.environments import CapacityReservation
from tests.rehearsal.small import GPU, Content, Pods, device_plugin, node_class, node_pool, small_release, workload

CLAIMS = collection("karpenter.sh/v1", "nodeclaims")
POOLS = collection("karpenter.sh/v1", "nodepools")
TYPE, POOL = "node.kubernetes.io/instance-type", "karpenter.sh/nodepool"
FAMILIES = {"karpenter.k8s.aws/instance-family": ["g4dn", "g5", "g6"], "karpenter.sh/capacity-type": ["on-demand"]}
SPREAD = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
SECONDS = 400
Purchase = Mapping[tuple[str, str], int]


@pytest.fixture(scope="module")
def cluster(
    rehearsal_tools: dict[str, Path], drydock_project: Project, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RehearsalCluster]:
    """One that finds nothing in the cache that rehearsals share."""
    folder, cache = new_run_folder(drydock_project, "test"), tmp_path_factory.mktemp("cache")
    with suite_cluster(drydock_project, rehearsal_tools, folder, cache=cache) as cluster:
        yield cluster


Make = Callable[..., Release]


@pytest.fixture
def make(cluster: RehearsalCluster, rehearsal_tools: dict[str, Path], tmp_path: Path) -> Make:
    """Makes a release of the objects; its pools and pods carry its name."""

    def made(name: str, *objects: Content) -> Release:
        return small_release(
            cluster, rehearsal_tools["helm4"], tmp_path / name, [node_class(f"{name}-class"), *objects]
        )

    return made


def gpus(name: str, replicas: int) -> list[Content]:
    """A pool with any of a few families, its plugin, and pods with a GPU each that spread as the charts' do."""
    deployment = workload("Deployment", name, Pods({GPU: "1"}, pool=name, tolerate=[GPU]), replicas=replicas)
    deployment["spec"]["template"]["spec"]["topologySpreadConstraints"] = [
        {
            "topologyKey": key,
            "maxSkew": 1,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": name}},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in SPREAD
    ]
    return [
        node_pool(name, f"{name.split('-', maxsplit=1)[0]}-class", FAMILIES, taints=[GPU]),
        device_plugin(f"{name}-plugin", name),
        deployment,
    ]


def bought(api: Api, prefix: str) -> Purchase:
    """Nodes by pool and instance type (empty before it is launched), of the pools whose names begin so."""
    labels = (each["metadata"]["labels"] for each in api.get(CLAIMS)["items"])
    return Counter((each[POOL], each.get(TYPE, "")) for each in labels if each[POOL].startswith(prefix))


def install(release: Release) -> None:
    release.install()
    outcome = release.wait(SECONDS)
    assert outcome.ready, outcome.verdict


def test_one_ten_and_thirty_pods_with_a_gpu_each_buy_as_many_nodes(make: Make, cluster: RehearsalCluster) -> None:
    release = make("scale", *gpus("scale-1", 1), *gpus("scale-10", 10), *gpus("scale-30", 30))
    install(release)
    api = cluster.await_api()
    assert bought(api, "scale") == {(f"scale-{count}", "g4dn.xlarge"): count for count in (1, 10, 30)}
    nodes = Counter(pod["spec"]["nodeName"] for pod in release.scene.of("Pod") if "app" in pod["metadata"]["labels"])
    plugins = [each["spec"]["nodeName"] for each in release.scene.of("Pod") if "plugin" in each["metadata"]["name"]]
    assert sorted(nodes) == sorted(plugins), "a node that holds nothing but its plugin"


def test_karpenter_starts_only_when_its_webhook_is_asked(make: Make, cluster: RehearsalCluster) -> None:
    make("order", *gpus("order", 1))
    cluster.await_karpenter()
    steps = {each.name: each for each in reversed(cluster.steps())}
    webhook, start = steps["webhook for nodes"], steps["start of Karpenter"]
    assert webhook.started + webhook.seconds <= start.started
    assert "Karpenter's prices" not in steps


def test_a_pool_that_comes_late_is_bought_from_all_the_same(make: Make, cluster: RehearsalCluster) -> None:
    cheap, plugin, deployment = gpus("late-cheap", 2)
    dear = node_pool("late-dear", "late-class", {"karpenter.k8s.aws/instance-family": ["g5"]}, taints=[GPU])
    heavy = {**cheap, "spec": {**cheap["spec"], "weight": 50}}
    deployment["spec"]["template"]["spec"]["nodeSelector"] = {"for": "late"}
    for pool in (heavy, dear):
        pool["spec"]["template"]["metadata"]["labels"] = {"for": "late"}
    make("late", dear, heavy)
    api = cluster.await_api()
    with cluster.purchases_held():
        for each in (node_class("late-class"), dear, plugin, deployment):
            create(api, each)
        until(lambda: "not known yet" in cluster.said().get("Karpenter/provisioner", ""))
        create(api, heavy)
    until(lambda: sum(count for (_, kind), count in bought(api, "late").items() if kind) >= 2)
    assert bought(api, "late") == {("late-cheap", "g4dn.xlarge"): 2}


def test_karpenter_that_is_started_again_in_the_middle_buys_nothing_twice(
    make: Make, cluster: RehearsalCluster
) -> None:
    release = make("again", *gpus("again", 3))
    release.install()
    api, before = cluster.await_api(), cluster.karpenter_pid
    until(lambda: bought(api, "again") == {("again", "g4dn.xlarge"): 3})
    more = CapacityReservation("cr-0000000000000000a", "m5.2xlarge", "us-west-2a", 5, "default", {})
    account = replace(release.account, capacity_reservations=(more,))
    cluster.seed(Seed(account))
    outcome = release.wait(SECONDS)
    assert outcome.ready, outcome.verdict
    assert cluster.karpenter_pid != before
    assert bought(api, "again") == {("again", "g4dn.xlarge"): 3}


def test_processes_that_stop_for_a_while_change_nothing(make: Make, cluster: RehearsalCluster) -> None:
    release = make("stopped", *gpus("stopped", 5))
    with busy(4), stopping(cluster, random.Random(7)):
        install(release)
    assert bought(cluster.await_api(), "stopped") == {("stopped", "g4dn.xlarge"): 5}


def create(api: Api, content: Content) -> None:
    kind = content["kind"].lower()
    plural = f"{kind}es" if kind.endswith("s") else f"{kind}s"
    namespace = content["metadata"].get("namespace", "default") if content["apiVersion"] == "apps/v1" else ""
    assert api.create(collection(content["apiVersion"], plural, namespace), content)


@retry(retry=retry_if_result(lambda met: not met), stop=stop_after_delay(SECONDS), wait=wait_fixed(0.2))
def until(met: Callable[[], bool]) -> bool:
    """Wait until something is so."""
    return met()


@contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that compute and do nothing else."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


@contextmanager
def stopping(cluster: RehearsalCluster, choice: random.Random) -> Iterator[None]:
    """Stop one process of the cluster after the other, each for up to two seconds."""
    over = threading.Event()

    def stop() -> None:
        while not over.wait(choice.uniform(0.1, 1)):
            record = choice.choice([each for each in read_records(cluster.folder.processes) if each.name != "etcd"])
            process = record.find()
            if process is None:
                continue
            process.send_signal(signal.SIGSTOP)
            try:
                over.wait(choice.uniform(0.1, 2))
            finally:
                process.send_signal(signal.SIGCONT)

    thread = threading.Thread(target=stop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
