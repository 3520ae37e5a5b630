"""What a pod that runs here asks for and does not get: said in the report, since a real node gives it."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from drydock.rehearsal.kubelet import isolation
from drydock.rehearsal.kubelet.programs import Program, program_for


def held(programs: Sequence[Program]) -> Iterator[str]:
    """How the processes of pods were held, as sentences for the report; none where nothing ran."""
    if not programs:
        return
    if why := isolation.unavailable():
        yield (
            f"The processes of pods were not isolated ({why}): their users, read-only root file systems, mounts, "
            f"capabilities, {', '.join(isolation.NOT_TRIED)} were not tried, limits of memory alone; programs that "
            "need paths of their own did not run."
        )
    else:
        yield (
            "The processes of pods had the user, the root file system, the mounts and the limit of memory of their "
            f"containers, and no capabilities; {', '.join(isolation.NOT_TRIED)} were not tried."
        )
    if sys.platform == "linux":
        yield "NetworkPolicies were tried on what these processes connect to through Services, and on nothing else."
    else:
        yield "NetworkPolicies were not tried: this is not Linux."


def not_honoured(workloads: Mapping[str, Mapping[str, Any]], programs: Sequence[Program]) -> Iterator[str]:
    """What pods asked for without effect, as sentences for the report.

    Args:
        workloads: specs of pods by what makes them.
        programs: that run in place of images.
    """
    found: dict[tuple[str, ...], list[str]] = {}
    for name, spec in sorted(workloads.items()):
        if features := tuple(dict.fromkeys(_features(spec, programs))):
            found.setdefault(features, []).append(name)
    for features, names in found.items():
        yield f"Without effect in pods of {', '.join(names)}: {', '.join(features)}."


def _features(spec: Mapping[str, Any], programs: Sequence[Program]) -> Iterator[str]:
    ours = [container for container in spec["containers"] if program_for(container, programs)]
    if not ours:
        return
    for container in spec.get("initContainers") or ():
        if program_for(container, programs) is None:
            yield f"init container {container['name']}"
    for container in spec["containers"]:
        if container not in ours:
            yield f"container {container['name']}"
    for key in ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"):
        if spec.get(key):
            yield key
    if "activeDeadlineSeconds" in spec:
        yield "activeDeadlineSeconds"
    for volume in spec.get("volumes") or ():
        if "hostPath" in volume:
            yield f"hostPath {volume['hostPath']['path']}"
        if (volume.get("emptyDir") or {}).get("sizeLimit"):
            yield f"sizeLimit of volume {volume['name']}"
    initial = [container for container in spec.get("initContainers") or () if program_for(container, programs)]
    for container in (*ours, *initial):
        yield from _of_container(container)


def _of_container(container: Mapping[str, Any]) -> Iterator[str]:
    if "stopSignal" in (container.get("lifecycle") or {}):
        yield "stopSignal"
    if container.get("restartPolicyRules"):
        yield "restartPolicyRules"
    for capability in ((container.get("securityContext") or {}).get("capabilities") or {}).get("add") or ():
        yield f"capability {capability}"
    for mount in container.get("volumeMounts") or ():
        if mount.get("subPathExpr"):
            yield f"subPathExpr of volume {mount['name']}"
