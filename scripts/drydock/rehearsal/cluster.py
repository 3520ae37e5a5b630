"""A rehearsal cluster as the code that uses it sees it."""

import contextlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from drydock.clusters.api import Api
from drydock.errors import ClusterError
from drydock.outcome.decisions import Decided, PoolSkipped
from drydock.rehearsal import runs
from drydock.rehearsal.crd_snapshots import HelmCrds
from drydock.rehearsal.credentials import Credentials
from drydock.rehearsal.events import (
    ApiReady,
    CrdsTaken,
    Event,
    Failed,
    KarpenterStarted,
    Kept,
    PurchasesHeld,
    Said,
    StepDone,
    read_event,
)
from drydock.rehearsal.helm import Helm
from drydock.rehearsal.karpenter import metrics
from drydock.rehearsal.machine_check import check_disk, check_open_files
from drydock.rehearsal.seeding import Seed
from drydock.scheduling.prices import Prices, read_prices
from drydock.tools.extras import check_extra

TOOLS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "karpenter")
_STOP_SECONDS = 20
_START_SECONDS = 300
_Kind = TypeVar("_Kind", ApiReady, KarpenterStarted, PurchasesHeld, CrdsTaken, Kept)


class RehearsalCluster:
    """A control plane with Karpenter on this machine; a context manager that ends it.

        with suite_cluster(project, tools, folder) as cluster:
            cluster.seed(Seed(account))
            cluster.helm(helm4).install(chart, environment)

    Args:
        folder: of the rehearsal; see `runs.new_run_folder`.
        tools: paths of the programs in `TOOLS`.
        crds: files of CRDs to create before anything else, Karpenter's among them.
        snapshots: folder of the cache with CRDs of earlier control planes.
        cache: folder that rehearsals share.
        price_list: file of `ensure_price_list`.
        spot_price_share: spot price as a share of on-demand.
        port: of the API server; 0 takes a free one.
        build: gives paths of more programs of the toolchain by their names, for pods that this machine can run;
            without it KWOK keeps those too.
        helm_crds: what Helm is going to install first, where that is known: the control plane starts with it.
    """

    def __init__(
        self,
        folder: runs.RunFolder,
        tools: Mapping[str, Path],
        *,
        crds: Iterable[Path],
        snapshots: Path,
        cache: Path,
        price_list: Path,
        spot_price_share: float,
        port: int = 0,
        build: Callable[[Sequence[str]], Mapping[str, Path]] | None = None,
        helm_crds: HelmCrds | None = None,
    ) -> None:
        self.folder = folder
        self.build = build
        self.spot_price_share = spot_price_share
        self._price_list = price_list
        programs = {name: str(tools[name]) for name in TOOLS}
        self._order = runs.Order(
            programs,
            tuple(map(str, crds)),
            str(snapshots),
            str(cache),
            str(price_list),
            spot_price_share,
            port,
            str(helm_crds.program) if helm_crds else "",
            tuple(map(str, helm_crds.files)) if helm_crds else (),
        )
        self._changed = threading.Condition()
        self._events: list[Event] = []
        self._said: dict[str, str] = {}
        self._listening = False
        self._kept = False
        self._installed = False
        self._holds = 0
        self._supervisor: subprocess.Popen[str] | None = None
        self._api: Api | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the supervisor; what it starts comes up while other work goes on.

        Raises:
            ClusterError: the disk is full, or this user may open too few files.
            UsageError: the extra `rehearse` is not installed.
        """
        check_extra("rehearse")
        check_disk(self.folder.path)
        check_open_files()
        try:
            self.folder.cluster.mkdir(mode=0o700)
            self.folder.logs.mkdir()
            self._order.write(self.folder.order)
            self._spawn()
        except BaseException:
            self.stop()
            raise

    def _spawn(self) -> None:
        with self.folder.supervisor_log.open("wb") as log:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-m", "drydock.rehearsal.supervisor", str(self.folder.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,  # a Ctrl-C in the terminal is for the command alone
            )
        self._listening = True
        threading.Thread(target=self._listen, args=(self._supervisor.stdout,), daemon=True).start()

    def stop(self) -> None:
        """End every program of the cluster and remove what it kept; nothing happens to one that is kept."""
        supervisor = self._supervisor
        if supervisor is None:  # interrupted before there was one
            runs.end(self.folder)
            return
        if self._api and not self._kept:
            self._api.leaving = True
        if supervisor.stdin:
            with contextlib.suppress(OSError):  # it has ended by itself
                supervisor.stdin.close()
        if self._kept:
            return
        try:
            supervisor.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        finally:
            runs.end(self.folder)
            if self._api:
                self._api.close()

    def keep(self) -> None:
        """Let the cluster outlive this process, until `drydock down`."""
        self._send({"do": "keep"})
        self._await(Kept)
        self._kept = True

    def seed(self, seed: Seed) -> None:
        """Prepare the cluster for what an environment expects, besides what it has already; Karpenter (re)starts."""
        self._send({"do": "seed", "seed": seed.to_json()})

    def has_crds(self) -> bool:
        """Whether the CRDs that the first installation brings are there already, as its Helm installs them."""
        return self._await(ApiReady).has_crds and not self._installed

    def take_crds(self) -> None:
        """Keep the CRDs that Helm has just installed for later control planes, if they were known beforehand."""
        self._installed = True
        if self._order.helm:
            self._send({"do": "take crds"})
            self._await(CrdsTaken)

    @contextlib.contextmanager
    def purchases_held(self) -> Iterator[None]:
        """Have Karpenter buy nothing within the block, and for all that there is then at its end."""
        self._holds += 1
        self._send({"do": "hold", "number": self._holds})
        self._await(PurchasesHeld, lambda held: held.number == self._holds)
        try:
            yield
        finally:
            self._send({"do": "release"})

    def await_api(self) -> Api:
        """Access to the API server, once objects can be created.

        Raises:
            ClusterError: the cluster did not start.
        """
        ready = self._await(ApiReady)
        with self._changed:
            if self._api is None:
                self._api = Api(Credentials(self.folder.credentials).access(ready.server))
            return self._api

    def await_karpenter(self) -> int:
        """The process of Karpenter, once it runs with the first account.

        Raises:
            ClusterError: the cluster did not start.
        """
        self._await(KarpenterStarted)
        return self.karpenter_pid

    @property
    def karpenter_pid(self) -> int:
        """The process of Karpenter that was started last; 0 before the first."""
        with self._changed:
            return next((each.pid for each in reversed(self._events) if isinstance(each, KarpenterStarted)), 0)

    def karpenter_metrics(self) -> str:
        """Karpenter's metrics page; empty while there is none."""
        return metrics(self.karpenter_pid, Credentials(self.folder.credentials).metrics_token.read_text())

    @property
    def kubernetes_version(self) -> str:
        """Of the API server."""
        return self._await(ApiReady).version

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, mode 0600."""
        return self.folder.kubeconfig

    def helm(self, program: Path) -> Helm:
        """Helm for this cluster."""
        return Helm(program, self.kubeconfig, self.folder.cluster / "helm")

    def steps(self) -> tuple[StepDone, ...]:
        """Steps of the start that are over."""
        with self._changed:
            return tuple(each for each in self._events if isinstance(each, StepDone))

    def decisions(self) -> tuple[Decided, ...]:
        """What Karpenter could not place so far, in the order of its log."""
        with self._changed:
            return tuple(each for each in self._events if isinstance(each, Decided))

    def skipped_pools(self) -> tuple[PoolSkipped, ...]:
        """Pools that Karpenter left out of a round of decisions, in the order of its log."""
        with self._changed:
            return tuple(each for each in self._events if isinstance(each, PoolSkipped))

    def said(self) -> Mapping[str, str]:
        """Karpenter's last words on each claim, and on what fails, by `NodeClaim/name` or `Karpenter/controller`."""
        with self._changed:
            return dict(self._said)

    def prices(self, region: str) -> Prices:
        """What everything costs here: to Karpenter, to the stand-in for EC2, and in reports."""
        return read_prices(self._price_list, region, spot_share=self.spot_price_share)

    def check(self) -> None:
        """Find out whether the cluster is well.

        Raises:
            ClusterError: it is not, and why.
        """
        with self._changed:
            self._raise_failure()

    def _send(self, message: Mapping[str, Any]) -> None:
        inlet = self._supervisor.stdin if self._supervisor else None
        if inlet is None:
            raise ClusterError("the rehearsal cluster was not started")
        try:
            print(json.dumps(message), file=inlet, flush=True)
        except OSError:
            self.check()
            raise

    def _await(self, kind: type[_Kind], wanted: Callable[[_Kind], bool] = lambda _: True) -> _Kind:
        with self._changed:
            while True:
                for event in self._events:
                    if isinstance(event, kind) and wanted(event):
                        return event
                self._raise_failure()
                if not self._changed.wait(_START_SECONDS):
                    raise ClusterError(
                        f"the rehearsal cluster says nothing for {_START_SECONDS} s",
                        remedy=f"Its logs: {self.folder.logs}",
                    )

    def failure(self) -> ClusterError | None:
        """Why the cluster is lost; None while it is well."""
        with self._changed:
            return self._failure()

    def _raise_failure(self) -> None:
        if failure := self._failure():
            raise failure

    def _failure(self) -> ClusterError | None:
        for event in self._events:
            if isinstance(event, Failed):
                way = "\n  ".join(filter(None, (event.remedy, f"Its logs: {self.folder.logs}")))
                return ClusterError(event.message, remedy=way)
        return None if self._listening else runs.describe_end(self.folder)

    def _listen(self, source: IO[str]) -> None:
        with source:
            for line in source:
                event = read_event(line)
                with self._changed:
                    if isinstance(event, Said):
                        self._said[event.subject] = event.words
                    else:
                        self._events.append(event)
                    self._changed.notify_all()
        with self._changed:
            self._listening = False
            self._changed.notify_all()
