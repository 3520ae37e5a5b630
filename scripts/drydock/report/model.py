"""A rehearsal's result as plain data; `report.json` is exactly this (docs/report.md)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from drydock.errors import DrydockError

REPORT_VERSION = 1
HOURS_PER_MONTH = 730
"""AWS's own convention for monthly estimates: 365 days x 24 h / 12."""


@dataclass(frozen=True)
class StepReport:
    """One step of the main job: when it began (seconds since the command) and how long it took."""

    name: str
    start_seconds: float
    seconds: float


@dataclass(frozen=True)
class PodReport:
    """One pod of the release.

    Attributes:
        name, namespace: of the pod.
        workload: `Kind/name` of the topmost owner.
        node, instance_type: where it was bound; empty while it is not.
        accelerators: extended resources that it requests, by resource name.
        created_seconds, scheduled_seconds, ready_seconds: since the install began; None for what has not happened.
        phase: `Ready`, `Pending`, `Unschedulable` or `Failed`.
        reason: for a pod that is not ready, why, in the words of Karpenter or the scheduler.
        exclusions: for a pod that no pool can host, the requirement that each pool fails on, by pool.
    """

    name: str
    namespace: str
    workload: str
    node: str
    instance_type: str
    accelerators: dict[str, int]
    created_seconds: float
    scheduled_seconds: float | None
    ready_seconds: float | None
    phase: str
    reason: str
    exclusions: dict[str, str]


@dataclass(frozen=True)
class NodeReport:
    """One node that Karpenter bought.

    Attributes:
        name, pool, instance_type, zone, capacity_type, architecture: of the node.
        accelerators: by resource name, (used, available).
        cpu, memory: (requested, allocatable) in cores and GiB.
        dollars_per_hour: Karpenter's own price of the offering; of reserved capacity the on-demand price.
        pods: names of the pods that it holds.
    """

    name: str
    pool: str
    instance_type: str
    zone: str
    capacity_type: str
    architecture: str
    accelerators: dict[str, tuple[int, int]]
    cpu: tuple[float, float]
    memory: tuple[float, float]
    dollars_per_hour: float
    pods: tuple[str, ...]


@dataclass(frozen=True)
class WarningReport:
    """A warning event that a person would act on, repeated `count` times."""

    object: str
    reason: str
    message: str
    count: int


@dataclass(frozen=True)
class ColdStartReport:
    """What the first pod of a workload with an accelerator waits for on EC2, where no node is there: estimates.

    Attributes:
        workload, namespace: as of its pods.
        image: of the container that has the accelerator.
        node_seconds: until a node is there.
        pull_seconds: until the image is pulled; None for an image whose size is not known.
        startup_seconds: the longest that its probes allow it to load; None where none can end it.
        seconds: of those that are known, together.
    """

    workload: str
    namespace: str
    image: str
    node_seconds: int
    pull_seconds: int | None
    startup_seconds: int | None
    seconds: int


@dataclass(frozen=True)
class FaultReport:
    """What users saw of a fault that struck while requests were sent.

    Attributes:
        name: of the fault.
        held: whether the promise was kept.
        promise: what must hold.
        requests: sent from then on until all were answered again.
        lost: of them, without an answer.
        recovered_seconds: from the fault until requests were answered again for good; 0 where none was lost, None
            where they never were.
        ready_pods: of the model, before.
        errors: how the lost ones failed, and how often.
    """

    name: str
    held: bool
    promise: str
    requests: int
    lost: int
    recovered_seconds: float | None
    ready_pods: int
    errors: str


@dataclass(frozen=True)
class ModelReport:
    """Whether an engine meets the environment's objectives on what was bought for it, by the simulator of `plan`.

    Attributes:
        workload, namespace: as of its pods.
        model: its name in requests.
        instance_type, gpu: where its pods run.
        replicas: ready pods of the workload.
        load: what was simulated, in words; empty where nothing was.
        measures: of the objectives, ms.
        missed: a sentence for each objective that is not met.
        meets: None where it is not known.
        reason: why it is not known.
    """

    workload: str
    namespace: str
    model: str
    instance_type: str
    gpu: str
    replicas: int
    load: str = ""
    measures: Mapping[str, float] = field(default_factory=dict)
    missed: tuple[str, ...] = ()
    meets: bool | None = None
    reason: str = ""


@dataclass(frozen=True)
class RehearsalReport:
    """Everything a rehearsal found.

    Attributes:
        version: of this shape; a field is never renamed or removed without a new one.
        environment: its name.
        started: RFC 3339 time of the command.
        ready: whether every workload became ready.
        seconds: from command to verdict.
        kubernetes_version, karpenter_version, helm_version: of the programs that ran.
        steps, pods, nodes, warnings: see their classes.
        dollars_per_hour: sum over the nodes.
        assumptions: what the figures rest on (such as the share of on-demand that spot is priced at).
        limits: what this rehearsal cannot show.
        install_began_seconds: since the command, when the install began, from which the seconds of pods count;
            None when it never did.
        cold_starts, models, faults: see their classes.
        target: where it ran: `rehearsal`, `kind`, `eks` or `existing`.
    """

    environment: str
    started: str
    ready: bool
    seconds: float
    kubernetes_version: str
    karpenter_version: str
    helm_version: str
    steps: tuple[StepReport, ...]
    pods: tuple[PodReport, ...]
    nodes: tuple[NodeReport, ...]
    warnings: tuple[WarningReport, ...]
    dollars_per_hour: float
    assumptions: tuple[str, ...]
    limits: tuple[str, ...]
    version: int = REPORT_VERSION
    install_began_seconds: float | None = None
    cold_starts: tuple[ColdStartReport, ...] = ()
    models: tuple[ModelReport, ...] = ()
    target: str = "rehearsal"
    faults: tuple[FaultReport, ...] = ()

    @property
    def held(self) -> bool:
        """Whether every workload became ready, and every fault did what was promised and no more."""
        return self.ready and all(fault.held for fault in self.faults)

    @property
    def occasion(self) -> str:
        """For headings: a rehearsal, or a deployment and where."""
        return "rehearsal" if self.target == "rehearsal" else f"deployment on {self.target}"

    @property
    def dollars_per_month(self) -> float:
        """The hourly total over AWS's 730-hour month."""
        return self.dollars_per_hour * HOURS_PER_MONTH

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready data, the monthly total included."""
        return {**asdict(self), "dollars_per_month": self.dollars_per_month}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """The report that `to_dict` gave, also after a way through JSON.

        Raises:
            DrydockError: it is of another version.
        """
        if data.get("version") != REPORT_VERSION:
            raise DrydockError(
                f"a report of version {data.get('version')} was given; this Drydock reads version {REPORT_VERSION}",
                remedy="Read it with the Drydock that wrote it, or rehearse again.",
            )
        fields = {key: value for key, value in data.items() if key != "dollars_per_month"}
        return cls(
            **{
                **fields,
                "steps": tuple(StepReport(**step) for step in data["steps"]),
                "pods": tuple(PodReport(**pod) for pod in data["pods"]),
                "nodes": tuple(_node(node) for node in data["nodes"]),
                "warnings": tuple(WarningReport(**warning) for warning in data["warnings"]),
                "assumptions": tuple(data["assumptions"]),
                "limits": tuple(data["limits"]),
                "cold_starts": tuple(ColdStartReport(**start) for start in data.get("cold_starts", ())),
                "models": tuple(
                    ModelReport(**{**model, "missed": tuple(model["missed"])}) for model in data.get("models", ())
                ),
                "faults": tuple(FaultReport(**fault) for fault in data.get("faults", ())),
            }
        )


def _node(data: Mapping[str, Any]) -> NodeReport:
    accelerators = {resource: (used, available) for resource, (used, available) in data["accelerators"].items()}
    pairs = {key: tuple(data[key]) for key in ("cpu", "memory", "pods")}
    return NodeReport(**{**data, **pairs, "accelerators": accelerators})
