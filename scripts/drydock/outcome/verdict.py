"""Whether a rehearsal is ready, can never be, or is still under way: a function of what was seen."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from drydock.clusters.objects import full_name, is_done, is_served, is_true, labels_of
from drydock.outcome.decisions import Decided, PoolSkipped
from drydock.outcome.idle import going_nodes
from drydock.outcome.karpenter_pools import undecided
from drydock.outcome.observe import WORKLOADS, Scene
from drydock.outcome.obstacles import NUDGE, Obstacle, lives, obstacles
from drydock.outcome.ray import unfinished_ray

SETTLE_SECONDS = 0.3


@dataclass(frozen=True)
class Expected:
    """What an install left to be done.

    Attributes:
        generations: the generation that each workload must have been seen in, by `Kind/namespace/name`.
        since: when it was over, as Unix time.
        ray: whether Ray's operator is among it, and runs.
    """

    generations: Mapping[str, int]
    since: float
    ray: bool = False


@dataclass(frozen=True)
class Verdict:
    """Where a rehearsal stands.

    Attributes:
        ready: every workload is.
        obstacles: why it can never be; none while it still may.
        waiting: for what, in a few words.
    """

    ready: bool
    obstacles: tuple[Obstacle, ...]
    waiting: tuple[str, ...]

    @property
    def final(self) -> bool:
        """Nothing that happens now would change it."""
        return self.ready or bool(self.obstacles)


def judge(
    scene: Scene,
    expected: Expected,
    decisions: Sequence[Decided],
    skipped: Sequence[PoolSkipped],
    *,
    empty_nodes: bool = False,
) -> Verdict:
    """The verdict on what was seen so far.

    Args:
        scene: every object.
        expected: what the install left.
        decisions: what Karpenter could not place, in the order of its log.
        skipped: pools that Karpenter left out of rounds of decisions.
        empty_nodes: wait also for nodes to go that hold nothing but daemons.
    """
    waiting = tuple(_waiting(scene, expected))
    if not waiting:
        going = tuple(f"Node/{each}" for each in going_nodes(scene, time.time())) if empty_nodes else ()
        settled = not going and time.time() - scene.changed >= SETTLE_SECONDS
        return Verdict(settled, (), () if settled else going or ("the last changes",))
    pools = undecided(scene.of("NodePool"), scene.named("EC2NodeClass"))  # nothing is bought before they are decided
    waiting = (*(f"NodePool/{each}" for each in pools), *waiting)
    found = tuple(obstacles(scene, expected.since, decisions, skipped))
    return Verdict(False, found, waiting)


def _waiting(scene: Scene, expected: Expected) -> Iterator[str]:
    seen = {f"{kind}/{full_name(each)}": each for kind in WORKLOADS for each in scene.of(kind)}
    for name, generation in expected.generations.items():
        if name not in seen or seen[name]["metadata"].get("generation", 0) < generation:
            yield name
    for name, workload in seen.items():
        if name in expected.generations and not is_done(name.partition("/")[0], workload):
            yield name
    for pod in scene.of("Pod"):
        if lives(pod) and not is_true(pod, "Ready") and pod["metadata"]["name"] != NUDGE:
            yield f"Pod/{full_name(pod)}"
    for claim in scene.of("NodeClaim"):
        if not is_true(claim, "Initialized"):
            yield f"NodeClaim/{full_name(claim)}"
    yield from _missing_static_nodes(scene)
    for kind in ("Service", "Ingress"):
        yield from (f"{kind}/{full_name(each)}" for each in scene.of(kind) if not is_served(each))
    if expected.ray:
        yield from unfinished_ray(scene)


def _missing_static_nodes(scene: Scene) -> Iterator[str]:
    for pool in scene.of("NodePool"):
        name = pool["metadata"]["name"]
        owned = [each for each in scene.of("NodeClaim") if labels_of(each).get("karpenter.sh/nodepool") == name]
        if len(owned) < pool["spec"].get("replicas", 0):
            yield f"NodePool/{name}"
