"""Limits of memory: a container that takes more than its own is killed, as the kernel would."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

import psutil

from drydock.rehearsal.kubelet.container import Container
from drydock.scheduling.instance_types.quantity import amounts

_POLL_SECONDS = 1.0


def watch_memory(containers: Callable[[], Iterable[Container]]) -> None:
    """Poll for as long as the supervisor lives; the body of a thread."""
    pause = threading.Event()
    while not pause.wait(_POLL_SECONDS):
        limited = {container.pid: container for container in containers() if limit_of(container) and container.pid}
        if limited:
            for pid in _over_limit({pid: limit_of(container) for pid, container in limited.items()}):
                limited[pid].kill_for_memory()


def limit_of(container: Container) -> int:
    """Bytes that a container may take; 0 where it has no limit."""
    return int(amounts((container.spec.get("resources") or {}).get("limits")).get("memory", 0))


def _over_limit(limits: Mapping[int, int]) -> list[int]:
    """Roots of process trees that take more than their limit; pages that processes share count once."""
    trees = _trees(limits)
    return [
        root
        for root, processes in trees.items()
        if sum(map(_resident, processes)) > limits[root] and sum(map(_proportional, processes)) > limits[root]
    ]


def _trees(roots: Iterable[int]) -> dict[int, list[psutil.Process]]:
    """Every process below each root, itself included, by one pass over all of the machine."""
    below: dict[int, list[psutil.Process]] = defaultdict(list)
    everything = {process.pid: process for process in psutil.process_iter(["ppid"])}
    for process in everything.values():
        below[process.info["ppid"]].append(process)
    trees = {}
    for root in roots:
        tree = [everything[root]] if root in everything else []
        for process in tree:
            tree.extend(below[process.pid])
        trees[root] = tree
    return trees


def _resident(process: psutil.Process) -> int:
    """An upper bound that costs little."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0


def _proportional(process: psutil.Process) -> int:
    try:
        found = process.memory_full_info()
    except psutil.Error:
        return 0
    return int(getattr(found, "pss", found.uss))
