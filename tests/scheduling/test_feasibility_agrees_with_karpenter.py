"""What the static check says of generated problems is what the real Karpenter then does with them."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from drydock.clusters.api import Api, collection
from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.cluster import TOOLS, RehearsalCluster
from drydock.rehearsal.crd_snapshots import FOLDER
from drydock.rehearsal.runs import new_run_folder
from drydock.rehearsal.seeding import Seed
from drydock.scheduling.feasibility import PodVerdict, PoolVerdict
from drydock.scheduling.instance_types.quantity import amounts
from drydock.scheduling.prices import ensure_price_list
from drydock.scheduling.relaxation import required_terms
from drydock.suite.environments import CapacityReservation
from drydock.tools.crd_files import ensure_crds
from tests.checks.helpers import judge
from tests.scheduling.generated import CASE, EFA, ZONES, Case, cases, daemon_sets, node_classes, to_yaml

SEED = int(os.environ.get("DRYDOCK_AGREEMENT_SEED", "20261"))
COUNT = int(os.environ.get("DRYDOCK_AGREEMENT_CASES", "60"))
SECONDS = 900
POD_ENI = "vpc.amazonaws.com/pod-eni"
RESERVATIONS = (
    CapacityReservation("cr-0000000000000000a", "m5.2xlarge", "us-west-2a", 5, "default", {"purpose": "test"}),
    CapacityReservation("cr-0000000000000000b", "g6.12xlarge", "us-west-2b", 5, "default", {"purpose": "test"}),
    CapacityReservation("cr-0000000000000000c", "p5.48xlarge", "us-west-2c", 5, "capacity-block", {"purpose": "test"}),
    CapacityReservation("cr-0000000000000000d", "inf2.xlarge", "us-west-2a", 5, "default", {"purpose": "other"}),
)
PATHS = {
    "EC2NodeClass": collection("karpenter.k8s.aws/v1", "ec2nodeclasses"),
    "NodePool": collection("karpenter.sh/v1", "nodepools"),
    "NodeClaim": collection("karpenter.sh/v1", "nodeclaims"),
    "StorageClass": collection("storage.k8s.io/v1", "storageclasses"),
    "PersistentVolumeClaim": collection("v1", "persistentvolumeclaims", "default"),
    "DaemonSet": collection("apps/v1", "daemonsets", "default"),
    "Pod": collection("v1", "pods", "default"),
}


@pytest.fixture(scope="module")
def cluster(drydock_project: Project, drydock_tool: Callable[[str], Path]) -> Iterator[RehearsalCluster]:
    """A rehearsal cluster with the node classes of the generated cases."""
    crds = ensure_crds(drydock_project, PlainProgress())["karpenter"]
    folder = new_run_folder(drydock_project, "agreement")
    tools = {name: drydock_tool(name) for name in TOOLS}
    files = sorted(each for each in crds.iterdir() if each.is_file())
    cache = drydock_project.cache_dir / "rehearsal"
    snapshots = drydock_project.cache_dir / FOLDER
    prices = ensure_price_list(drydock_project, PlainProgress())
    with RehearsalCluster(
        folder, tools, crds=files, snapshots=snapshots, cache=cache, price_list=prices, spot_price_share=0.35
    ) as running:
        classes = node_classes()
        specs = tuple(each["spec"] for each in classes)
        running.seed(Seed(Account("agreement", "us-west-2", ZONES, specs, RESERVATIONS)))
        api = running.await_api()
        for each in (*classes, *daemon_sets()):
            api.create(PATHS[each["kind"]], each)
        running.await_karpenter()
        yield running


def test_verdicts_and_instance_types_agree(cluster: RehearsalCluster) -> None:
    generated = cases(SEED, COUNT)
    static = _static(generated)
    seen = _rehearsed(cluster, generated)
    wrong = [line for case in generated for line in _disagreement(static[case.name], seen[case.name])]
    counts = Counter("hosted" if "labels" in each else "refused" for each in seen.values())
    print(f"{len(generated)} cases: {dict(counts)}, {len(wrong)} disagreements")
    assert not wrong, "\n".join(wrong)
    assert min(counts["hosted"], counts["refused"]) >= COUNT // 5, "the cases are too one-sided to say much"


def _static(generated: list[Case]) -> dict[str, PodVerdict]:
    objects = [*node_classes(), *daemon_sets(), *(each for case in generated for each in (*case.objects, case.pod))]
    verdicts = judge(to_yaml(objects), zones=ZONES, reservations=RESERVATIONS)
    return {verdict.pod.manifest.name: verdict for verdict in verdicts}


def _rehearsed(cluster: RehearsalCluster, generated: list[Case]) -> dict[str, Mapping[str, Any]]:
    """By case: the metadata of the NodeClaim that Karpenter made for its pod, or why it made none."""
    api = cluster.await_api()
    for case in generated:
        for each in case.objects:
            api.create(PATHS[each["kind"]], each)
    _await(lambda: _pools_known(api, len(generated)), "node pools are not ready")
    for case in generated:
        api.create(PATHS["Pod"], case.pod)
    seen: dict[str, Mapping[str, Any]] = {}

    def decided() -> bool:
        cluster.check()
        for claim in api.get(PATHS["NodeClaim"])["items"]:
            labels = claim["metadata"]["labels"]
            if "node.kubernetes.io/instance-type" in labels and "allocatable" in claim.get("status", {}):
                seen[labels[CASE]] = {"labels": labels, "allocatable": claim["status"]["allocatable"]}
        for each in cluster.decisions():
            name = each.pod.partition("/")[2]
            if name.startswith("case-") and name not in seen:
                seen[name] = {"reason": each.reason}
        return len(seen) == len(generated)

    _await(decided, "Karpenter decided nothing for some pods", lambda: {each.name for each in generated} - set(seen))
    return seen


def _pools_known(api: Api, least: int) -> bool:
    """Every node class is ready, and every pool too unless no instance type can ever match it."""
    pools = api.get(PATHS["NodePool"])["items"]
    classes = api.get(PATHS["EC2NodeClass"])["items"]
    return len(pools) >= least and all(_is_ready(each) for each in (*classes, *pools))


def _is_ready(content: Mapping[str, Any]) -> bool:
    conditions = content.get("status", {}).get("conditions", [])
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _await(done: Callable[[], bool], otherwise: str, missing: Callable[[], object] = lambda: "") -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline, f"{otherwise} after {SECONDS} s: {missing()}"
        time.sleep(0.5)


def _disagreement(static: PodVerdict, seen: Mapping[str, Any]) -> Iterator[str]:
    name = static.pod.manifest.name
    if "labels" not in seen:
        if static.is_feasible:
            hosts = {each.pool.name: sorted(each.types)[:3] for each in static.pools if each.hosts}
            yield f"{name}: we say {hosts}, Karpenter: {seen['reason']}"
        return
    labels = seen["labels"]
    chosen = labels["node.kubernetes.io/instance-type"]
    pool = next(each for each in static.pools if each.pool.name == labels["karpenter.sh/nodepool"])
    if not pool.hosts:
        yield f"{name}: Karpenter buys {chosen} from {pool.pool.name}, we say: {pool.exclusion}"
    elif chosen not in pool.types:
        yield f"{name}: Karpenter buys {chosen} from {pool.pool.name}, we allow {sorted(pool.types)[:5]}"
    else:
        yield from _different_room(name, pool, chosen, seen["allocatable"])
    first = next((each.pool.name for each in static.pools if each.hosts), "")
    if _has_one_wish(static) and first != pool.pool.name:
        yield f"{name}: Karpenter takes pool {pool.pool.name}, we expect it to take {first} first"


def _different_room(name: str, verdict: PoolVerdict, chosen: str, told: Mapping[str, str]) -> Iterator[str]:
    ours = {resource: value for resource, value in verdict.pool.allocatable(chosen).items() if value}
    ours = {resource: value for resource, value in ours.items() if resource != EFA or resource in told}
    theirs = {resource: value for resource, value in amounts(told).items() if value and resource != POD_ENI}
    if ours != theirs:
        yield f"{name}: of a {chosen} Karpenter has {theirs} allocatable, we {ours}"


def _has_one_wish(static: PodVerdict) -> bool:
    """Whether nothing but the order of the pools decides which one Karpenter takes."""
    affinity = (static.pod.spec.get("affinity") or {}).get("nodeAffinity") or {}
    soft = any(taint["effect"] == "PreferNoSchedule" for each in static.pools for taint in each.pool.taints)
    preferred = "preferredDuringSchedulingIgnoredDuringExecution" in affinity
    return not soft and not preferred and len(required_terms(static.pod)) == 1
