"""Messages between a supervisor and the command that started it: JSON, one object a line."""

import json
import threading
from dataclasses import asdict, dataclass
from typing import IO, Any

from drydock.outcome.decisions import Decided, PoolSkipped


@dataclass(frozen=True)
class StepDone:
    """A step of the start is over; times are Unix time and seconds."""

    name: str
    started: float
    seconds: float


@dataclass(frozen=True)
class ApiReady:
    """Objects can be installed; `version` is the API server's, as `v1.36.3`, `has_crds` is `ClusterCrds.installed`."""

    server: str
    version: str
    has_crds: bool


@dataclass(frozen=True)
class KarpenterStarted:
    """Karpenter runs with the account that was seeded; the process `pid` serves its metrics."""

    pid: int


@dataclass(frozen=True)
class Said:
    """Karpenter said something of an object: `NodeClaim/name`, or `Karpenter/controller` of no object."""

    subject: str
    words: str


@dataclass(frozen=True)
class PurchasesHeld:
    """Nothing is bought until purchases are released; `number` is that of the request."""

    number: int


@dataclass(frozen=True)
class CrdsTaken:
    """The CRDs that Helm installed are kept for later control planes, as far as they can be."""


@dataclass(frozen=True)
class Kept:
    """The cluster will outlive the command."""


@dataclass(frozen=True)
class Failed:
    """The cluster is lost."""

    message: str
    remedy: str


Event = (
    StepDone | ApiReady | KarpenterStarted | Decided | PoolSkipped | Said | PurchasesHeld | CrdsTaken | Kept | Failed
)
_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        StepDone,
        ApiReady,
        KarpenterStarted,
        Decided,
        PoolSkipped,
        Said,
        PurchasesHeld,
        CrdsTaken,
        Kept,
        Failed,
    )
}


class Outlet:
    """Writes events; what is no longer read is dropped."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        """Write one event, from any thread."""
        line = json.dumps({"event": type(event).__name__, **asdict(event)})
        with self._lock:
            try:
                print(line, file=self._stream, flush=True)
            except (OSError, ValueError):
                return


def read_event(line: str) -> Event:
    """The event of a line."""
    content = json.loads(line)
    kind = _KINDS[content.pop("event")]
    if "causes" in content:
        content["causes"] = tuple(content["causes"])
    event: Event = kind(**content)
    return event


def read_message(line: str) -> dict[str, Any]:
    """What the command wants: `do`, and what belongs to it."""
    return dict(json.loads(line))
