"""Folders of runs, and what still runs in them."""

import contextlib
import json
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from drydock.errors import ClusterError, UsageError
from drydock.project import Project
from drydock.rehearsal import state
from drydock.rehearsal.children import ProcessRecord, end_recorded, last_lines, read_records, remedy
from drydock.rehearsal.crd_snapshots import HelmCrds
from drydock.rehearsal.lifeline import while_alive
from drydock.rehearsal.state import Command, Doing, Kind, RunState

KEPT_FOLDERS = 20
_GRACE_SECONDS = 15
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    `logs/`, `run.json` and the reports stay; `cluster/` is there as long as something of the cluster is.
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
    def users(self) -> Path:
        """A file for each command that uses the cluster."""
        return self.cluster / "users"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor says, its last line about the end above all."""
        return self.logs / "supervisor.log"

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
        crds: files of CRDs to create at once; one file may hold several.
        snapshots: folder of the cache with CRDs of earlier control planes.
        cache: folder for what rehearsals share.
        price_list: file with on-demand prices.
        spot_price_share: spot price as a share of on-demand.
        port: of the API server; 0 takes a free one.
        helm: path of the Helm that is going to install CRDs; empty where that is not known.
        helm_files: files of these CRDs.
    """

    tools: dict[str, str]
    crds: tuple[str, ...]
    snapshots: str
    cache: str
    price_list: str
    spot_price_share: float
    port: int = 0
    helm: str = ""
    helm_files: tuple[str, ...] = ()

    @property
    def crd_files(self) -> tuple[Path, ...]:
        """See `crds`."""
        return tuple(map(Path, self.crds))

    @property
    def helm_crds(self) -> HelmCrds | None:
        """What Helm is going to install, where that is known."""
        return HelmCrds(Path(self.helm), tuple(map(Path, self.helm_files))) if self.helm else None

    def write(self, file: Path) -> None:
        """Write it down for the supervisor."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> "Order":
        """What `write` wrote."""
        content = json.loads(file.read_text())
        return cls(**{**content, "crds": tuple(content["crds"]), "helm_files": tuple(content["helm_files"])})


@dataclass(frozen=True)
class RunningCluster:
    """A cluster of this machine of which something still runs.

    Attributes:
        folder: of its run.
        kept: left running on purpose.
        supervised: its supervisor lives; otherwise only leftovers of a killed one are there.
        started: Unix time.
        state: what its run says of itself; None for one of another version of Drydock.
        users: commands that use it at the moment.
    """

    folder: RunFolder
    kept: bool
    supervised: bool
    started: float
    state: RunState | None = None
    users: tuple[Command, ...] = ()

    @property
    def name(self) -> str:
        """As `drydock down NAME` takes it."""
        return self.folder.name

    @property
    def kind(self) -> Kind:
        """What it is for."""
        return self.state.kind if self.state else "rehearsal"

    @property
    def deployment(self) -> str:
        """Name of the deployment that stands on it; else empty."""
        return self.state.deployment if self.state else ""

    @property
    def doing(self) -> Doing:
        """What is going on with it at the moment."""
        if not self.supervised:
            return "left by a killed command"
        told: Doing = self.state.doing if self.state else ("kept" if self.kept else "starting")
        if told == "deploying" and self.kept and not self.users:
            return "deployed"
        if told in ("ending", "failed") or self.kept:
            return told
        return told if self.state is None or self.state.owner.runs else "ending"


def new_run_folder(project: Project, name: str, *, kind: Kind = "rehearsal") -> RunFolder:
    """Make a folder that no other run uses, and forget the oldest finished ones.

    Args:
        project: holds the folders.
        name: part of the folder's; for a deployment its own.
        kind: what the cluster is for.
    """
    unique = f"{time.strftime('%Y%m%d-%H%M%S')}-{name}-{secrets.token_hex(2)}"
    folder = RunFolder(project.runs_dir / unique)
    folder.path.mkdir(parents=True, mode=0o700)
    RunState(kind, Command.current(), "starting", name if kind == "deployment" else "").write(folder.path)
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
        state=RunState.read(folder.path),
        users=state.users_in(folder.users),
    )


def find_run(project: Project, kubeconfig: Path) -> RunFolder | None:
    """The run whose cluster a kubeconfig leads to; None for any other cluster."""
    path = kubeconfig.resolve()
    runs = project.runs_dir.resolve()
    return RunFolder(runs / path.relative_to(runs).parts[0]) if path.is_relative_to(runs) else None


@contextmanager
def in_use(project: Project, kubeconfig: Path | None, **changes: Any) -> Iterator[RunFolder | None]:
    """Use a cluster for the block: `down` spares it, and its end ends the block. Of other clusters nothing is known.

    Args:
        project: holds the folders of runs.
        kubeconfig: of the cluster; None takes $KUBECONFIG, as kubectl does.
        changes: of the run's state, by the names of `RunState`, where it does more than being used.

    Yields:
        The run whose cluster it is; None for any other.

    Raises:
        ClusterError: the control plane ended, and why.
    """
    file = kubeconfig or Path(os.environ.get("KUBECONFIG") or os.devnull)
    folder = find_run(project, file)
    if folder is None or not folder.cluster.is_dir():
        yield None
        return
    with state.registered(folder.users), while_alive(lambda: end_of(folder)):
        state.change(folder.path, **changes)
        yield folder


def end_of(folder: RunFolder) -> ClusterError | None:
    """Why a cluster is lost; None while its supervisor and all its programs run."""
    run = RunState.read(folder.path)
    supervised = any(record.name == "supervisor" and record.find() for record in read_records(folder.processes))
    return None if supervised and not (run and run.failure) else describe_end(folder)


def describe_end(folder: RunFolder) -> ClusterError:
    """What failed, who removed it, or the supervisor's last line; and where the logs lie."""
    run = RunState.read(folder.path)
    removed = f"removed by {run.ended_by}" if run and run.ended_by else ""
    text = (run and run.failure) or removed or last_lines(folder.supervisor_log, 1) or "its supervisor was killed"
    way = (run and run.remedy) or remedy(text)
    return ClusterError(
        f"the control plane of {folder.name} ended: {text}",
        remedy="\n  ".join(filter(None, (way, f"Its logs: {folder.logs}"))),
    )


def down(project: Project, name: str | None = None) -> tuple[str, ...]:
    """End clusters and remove what they left; returns their names.

    Args:
        project: holds the folders of runs.
        name: of one run, whatever it does; None ends those of `removable`.

    Raises:
        UsageError: nothing of that name runs.
    """
    clusters = list_clusters(project)
    if name is None:
        chosen: Sequence[RunningCluster] = removable(clusters)
    else:
        chosen = [cluster for cluster in clusters if cluster.name == name]
        if not chosen:
            known = ", ".join(cluster.name for cluster in clusters) or "none"
            raise UsageError(f"no cluster named '{name}' runs", remedy=f"Running: {known}.")
    for cluster in chosen:
        end(cluster.folder)
    _remove_dead(project)
    return tuple(cluster.name for cluster in chosen)


def removable(clusters: Sequence[RunningCluster]) -> list[RunningCluster]:
    """Clusters that no command uses and that belong to no deployment: kept ones, and leftovers of killed commands."""
    return [
        cluster
        for cluster in clusters
        if not cluster.supervised or (cluster.kept and not cluster.deployment and not cluster.users)
    ]


def end_leftovers(project: Project) -> None:
    """End what supervisors left that were killed; clusters that were kept or are watched go on."""
    for cluster in list_clusters(project):
        if not cluster.supervised:
            end(cluster.folder)
    _remove_dead(project)


def end(folder: RunFolder) -> None:
    """End one cluster: by its supervisor, and what that leaves by the recorded pids and creation times."""
    records = read_records(folder.processes)
    state.change(folder.path, doing="ending", ended_by=Command.current())
    supervisor = next((record for record in records if record.name == "supervisor"), None)
    if supervisor:
        _ask_to_end(supervisor)
    list(end_recorded(_latest(records, folder)))
    shutil.rmtree(folder.cluster, ignore_errors=True)


def _latest(records: Sequence[ProcessRecord], folder: RunFolder) -> Sequence[ProcessRecord]:
    return read_records(folder.processes) or records


def _ask_to_end(supervisor: ProcessRecord) -> None:
    """Until it has ended, or had its time; one that its parent has not waited for yet has ended too."""
    with contextlib.suppress(psutil.NoSuchProcess):
        if process := supervisor.find():
            process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + _GRACE_SECONDS
    while supervisor.find() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)


def _remove_dead(project: Project) -> None:
    """Folders of clusters of which nothing runs any more (a machine that was switched off, say)."""
    if not project.runs_dir.is_dir():
        return
    for path in project.runs_dir.iterdir():
        folder = RunFolder(path)
        if folder.cluster.is_dir() and read_records(folder.processes) and _cluster(folder) is None:
            shutil.rmtree(folder.cluster, ignore_errors=True)
