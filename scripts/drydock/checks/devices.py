"""Every accelerator that a pod asks for must be offered by exactly one device plugin (pains 4 and 5)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from drydock.checks.findings import Finding, Severity
from drydock.checks.subject import Subject
from drydock.scheduling.daemons import daemon_types
from drydock.scheduling.instance_types.resources import EFA, NEURON, NEURON_CORE, NVIDIA_GPU
from drydock.scheduling.pods import PodUse
from drydock.scheduling.pools import Pool

MISSING = "device-plugin-missing"
TWICE = "device-plugin-twice"
IDLE = "device-plugin-on-other-nodes"


@dataclass(frozen=True)
class DeviceKind:
    """Devices of one kind.

    Attributes:
        name: as people call them.
        resources: extended resources that their plugin offers.
        images: what the repository name of a plugin's image contains.
        commands: names of the plugin's program; other programs of the image do not count.
        from_bottlerocket: whether Bottlerocket's AMI brings the plugin.
        shares: how the names of resources begin that are parts of a device.
    """

    name: str
    resources: tuple[str, ...]
    images: tuple[str, ...]
    commands: tuple[str, ...]
    from_bottlerocket: bool = False
    shares: tuple[str, ...] = ()


KINDS = (
    DeviceKind(
        name="NVIDIA GPUs",
        resources=(NVIDIA_GPU,),
        images=("k8s-device-plugin", "nvidia-device-plugin"),
        commands=("nvidia-device-plugin",),
        from_bottlerocket=True,
        shares=("nvidia.com/gpu.shared", "nvidia.com/mig-"),
    ),
    DeviceKind(
        name="Neuron devices",
        resources=(NEURON, NEURON_CORE),
        images=("neuron-device-plugin",),
        commands=("k8s-neuron-device-plugin", "neuron-device-plugin"),
    ),
    DeviceKind(
        name="EFA interfaces",
        resources=(EFA,),
        images=("aws-efa-k8s-device-plugin", "efa-device-plugin"),
        commands=("efa-k8s-device-plugin", "aws-efa-k8s-device-plugin"),
    ),
)


def check(subject: Subject) -> Iterator[Finding]:
    """Nodes whose devices no plugin, or more than one, announces to the kubelet."""
    for kind in KINDS:
        plugins = [pod for pod in subject.pods if pod.is_daemon and _is_plugin(pod, kind)]
        for pool in subject.pools:
            if _asked_for(subject, pool, kind):
                yield from _sources(subject, pool, kind, plugins)
        for plugin in plugins:
            yield from _idle(subject, kind, plugin)


def kind_of_plugin(pod: PodUse) -> DeviceKind | None:
    """The devices that a pod announces; None where it is not a device plugin."""
    return next((kind for kind in KINDS if _is_plugin(pod, kind)), None)


def _is_plugin(pod: PodUse, kind: DeviceKind) -> bool:
    for container in pod.spec.get("containers") or ():
        command = [str(word) for word in container.get("command") or ()]
        runs_it = not command or command[0].rpartition("/")[2] in kind.commands
        name = str(container.get("image", "")).partition("@")[0].rpartition("/")[2].partition(":")[0]
        if runs_it and name in kind.images:
            return True
    return False


def _asked_for(subject: Subject, pool: Pool, kind: DeviceKind) -> bool:
    asked = {name for verdict in subject.verdicts_on(pool) for name in verdict.pod.requests}
    return any(name in kind.resources or name.startswith(kind.shares) for name in asked)


def _sources(subject: Subject, pool: Pool, kind: DeviceKind, plugins: Sequence[PodUse]) -> Iterator[Finding]:
    brought = _brought_by(pool, kind)
    landing = {plugin.name: daemon_types(plugin, pool) for plugin in plugins}
    with_devices = _types_with(pool, kind)
    bare = with_devices - frozenset[str]().union(*landing.values()) if not brought else frozenset()
    if bare:
        shown = ", ".join(sorted(bare)[:3])
        excluded = f" ({', '.join(landing)} does not run there)" if landing else ""
        yield subject.finding(
            MISSING,
            pool.manifest,
            f"Nothing announces the {kind.name} of nodes of pool {pool.name} ({shown}) to the kubelet{excluded}: "
            "the nodes would be bought, never become ready for use and never go away.",
            "Turn the device plugin on, and match its affinity and tolerations to the pool's labels and taints.",
            path="spec.template",
            pain=4,
        )
    sources = [brought, *(name for name, types in landing.items() if types & with_devices)]
    named = [source for source in sources if source]
    if len(named) > 1:
        yield subject.finding(
            TWICE,
            pool.manifest,
            f"On nodes of pool {pool.name} the {kind.name} are announced {len(named)} times: by "
            f"{' and by '.join(named)}.",
            "Keep one: turn the chart's device plugin off where the AMI or EKS Auto Mode brings its own.",
            path="spec.template",
            pain=5,
        )


def _brought_by(pool: Pool, kind: DeviceKind) -> str:
    if pool.node_class is None:
        return ""
    if pool.node_class.is_auto_mode:
        return "EKS Auto Mode"
    return (
        "the Bottlerocket AMI"
        if kind.from_bottlerocket and pool.node_class.settings.ami_family == "Bottlerocket"
        else ""
    )


def _types_with(pool: Pool, kind: DeviceKind) -> frozenset[str]:
    return frozenset(
        name for name in pool.types if any(pool.capacity(name).get(resource, 0) for resource in kind.resources)
    )


def _idle(subject: Subject, kind: DeviceKind, plugin: PodUse) -> Iterator[Finding]:
    """A plugin on nodes without its devices fails there, or wastes a pod on each."""
    for pool in subject.pools:
        astray = daemon_types(plugin, pool) - _types_with(pool, kind)
        if astray:
            yield subject.finding(
                IDLE,
                plugin.manifest,
                f"It also runs on nodes of pool {pool.name} that have no {kind.name} "
                f"({', '.join(sorted(astray)[:3])}).",
                "Narrow its node affinity to instance types with the devices.",
                path=plugin.path,
                pain=5,
                severity=Severity.WARNING,
            )
