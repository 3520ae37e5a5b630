"""Folders of rehearsals, and what still runs in them."""

import json
import secrets
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from drydock.errors import UsageError
from drydock.project import Project
from drydock.rehearsal.children import ProcessRecord, end_recorded, read_records

KEPT_FOLDERS = 20
_GRACE_SECONDS = 15


@dataclass(frozen=True)
class RunFolder:
    """The folder of one rehearsal.

    `logs/` and the reports stay; `cluster/` is there as long as something of the cluster is.
    """

    path: Path

    @property
    def name(self) -> str:
        """As `drydock down NAME` takes it."""
        return self.path.name

    @property
    def cluster(self) -> Path:
        """Data, credentials and sockets of the cluster."""
        return self.path / "cluster"

    @property
    def logs(self) -> Path:
        """One log for each program."""
        return self.path / "logs"

    @property
    def order(self) -> Path:
        """What the supervisor is asked to start."""
        return self.cluster / "order.json"

    @property
    def processes(self) -> Path:
        """The processes that the supervisor started, and itself."""
        return self.cluster / "processes.json"

    @property
    def kept(self) -> Path:
        """There when the cluster was left running on purpose."""
        return self.cluster / "kept"

    @property
    def credentials(self) -> Path:
        """Keys, certificates and kubeconfigs."""
        return self.cluster / "credentials"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.credentials / "admin.kubeconfig"


@dataclass(frozen=True)
class Order:
    """What a supervisor is asked to start.

    Attributes:
        tools: paths of the programs by name.
        crds: files of CRDs to apply at once; one file may hold several.
        cache: folder for what rehearsals share.
        price_list: file with on-demand prices.
        spot_price_share: spot price as a share of on-demand.
        port: of the API server; 0 takes a free one.
    """

    tools: dict[str, str]
    crds: tuple[str, ...]
    cache: str
    price_list: str
    spot_price_share: float
    port: int = 0

    def write(self, file: Path) -> None:
        """Write it down for the supervisor."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> "Order":
        """What `write` wrote."""
        content = json.loads(file.read_text())
        return cls(**{**content, "crds": tuple(content["crds"])})


@dataclass(frozen=True)
class RunningCluster:
    """A rehearsal cluster of which something still runs.

    Attributes:
        folder: of its rehearsal.
        kept: left running on purpose.
        supervised: its supervisor lives; otherwise only leftovers of a killed one are there.
        started: Unix time.
    """

    folder: RunFolder
    kept: bool
    supervised: bool
    started: float

    @property
    def name(self) -> str:
        """As `drydock down NAME` takes it."""
        return self.folder.name


def new_run_folder(project: Project, environment: str) -> RunFolder:
    """Make a folder that no other rehearsal uses, and forget the oldest finished ones."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{environment}-{secrets.token_hex(2)}"
    folder = RunFolder(project.runs_dir / name)
    folder.path.mkdir(parents=True)
    finished = sorted(path for path in project.runs_dir.iterdir() if not (path / "cluster").exists())
    for old in finished[:-KEPT_FOLDERS]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def list_clusters(project: Project) -> tuple[RunningCluster, ...]:
    """Every cluster of which something still runs, oldest first."""
    if not project.runs_dir.is_dir():
        return ()
    found = (_cluster(RunFolder(path)) for path in sorted(project.runs_dir.iterdir()))
    return tuple(cluster for cluster in found if cluster)


def _cluster(folder: RunFolder) -> RunningCluster | None:
    records = read_records(folder.processes)
    running = [record for record in records if record.find()]
    if not running:
        return None
    return RunningCluster(
        folder=folder,
        kept=folder.kept.exists(),
        supervised=any(record.name == "supervisor" for record in running),
        started=min(record.created for record in records),
    )


def down(project: Project, name: str | None = None) -> tuple[str, ...]:
    """End clusters and remove what they left; returns their names.

    Args:
        project: holds the folders of rehearsals.
        name: of one rehearsal; None ends those that were kept and the leftovers of killed ones, but none that a
            command still watches.

    Raises:
        UsageError: nothing of that name runs.
    """
    clusters = list_clusters(project)
    if name is None:
        chosen: Sequence[RunningCluster] = [each for each in clusters if each.kept or not each.supervised]
    else:
        chosen = [each for each in clusters if each.name == name]
        if not chosen:
            known = ", ".join(each.name for each in clusters) or "none"
            raise UsageError(f"no rehearsal cluster named '{name}' runs", remedy=f"Running: {known}.")
    for cluster in chosen:
        end(cluster.folder)
    _remove_dead(project)
    return tuple(cluster.name for cluster in chosen)


def end_leftovers(project: Project) -> None:
    """End what supervisors left that were killed; clusters that were kept or are watched go on."""
    for cluster in list_clusters(project):
        if not cluster.supervised:
            end(cluster.folder)
    _remove_dead(project)


def end(folder: RunFolder) -> None:
    """End one cluster: by its supervisor, and what that leaves by the recorded pids and creation times."""
    records = read_records(folder.processes)
    supervisor = next((record for record in records if record.name == "supervisor"), None)
    if supervisor and (process := supervisor.find()):
        _ask_to_end(process)
    list(end_recorded(_latest(records, folder)))
    shutil.rmtree(folder.cluster, ignore_errors=True)


def _latest(records: Sequence[ProcessRecord], folder: RunFolder) -> Sequence[ProcessRecord]:
    return read_records(folder.processes) or records


def _ask_to_end(process: psutil.Process) -> None:
    try:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=_GRACE_SECONDS)
    except (psutil.NoSuchProcess, psutil.TimeoutExpired):
        return


def _remove_dead(project: Project) -> None:
    """Folders of clusters of which nothing runs any more (a machine that was switched off, say)."""
    if not project.runs_dir.is_dir():
        return
    for path in project.runs_dir.iterdir():
        folder = RunFolder(path)
        if folder.cluster.is_dir() and read_records(folder.processes) and _cluster(folder) is None:
            shutil.rmtree(folder.cluster, ignore_errors=True)
