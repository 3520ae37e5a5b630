"""The order in which a cluster comes up: whatever does not need another thing starts at once."""

import queue
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drydock.clusters.api import Api, ApiError
from drydock.clusters.watching import in_background
from drydock.errors import ClusterError
from drydock.outcome import fleet
from drydock.outcome.decisions import NOT_READY, PoolSkipped, RoundBegan
from drydock.rehearsal import control_plane, karpenter, marker
from drydock.rehearsal.children import Child, Children, describe_end, last_lines
from drydock.rehearsal.crd_snapshots import ClusterCrds
from drydock.rehearsal.credentials import Credentials, create_credentials, write_kubeconfigs
from drydock.rehearsal.etcd import Etcd
from drydock.rehearsal.events import (
    ApiReady,
    CrdsTaken,
    KarpenterStarted,
    Outlet,
    PurchasesHeld,
    Said,
    StepDone,
)
from drydock.rehearsal.gate import Gate
from drydock.rehearsal.kubelet.agent import Kubelet
from drydock.rehearsal.kubelet.argo_executor import CONTROLLER, finish_workflow_pods
from drydock.rehearsal.kubelet.endpoint import serve_kubelet
from drydock.rehearsal.kubelet.pod_addresses import Addresses
from drydock.rehearsal.kubelet.programs import Program
from drydock.rehearsal.kubelet.service_relays import Services
from drydock.rehearsal.kubelet.tunnel import serve_tunnel, write_configuration
from drydock.rehearsal.kwok import kwok, write_stages
from drydock.rehearsal.load_balancers import serve_ingresses, serve_services
from drydock.rehearsal.nodes import NodeStandIn, await_settled
from drydock.rehearsal.runs import Order, RunFolder
from drydock.rehearsal.seeding import Seed
from drydock.rehearsal.volume_drivers import bound_pods, provision_volumes, remove_volumes
from drydock.rehearsal.webhook import Patch, TooEarlyError, serve_admission
from drydock.scheduling.prices import Prices, read_prices
from drydock.tools import process

if TYPE_CHECKING:
    from drydock.rehearsal.aws.stand_in import AwsStandIn

READY_SECONDS = 300
_PAUSE_SECONDS = 0.05
_ANSWER_SECONDS = 2
"""For one answer of the API server: whatever else has its port may never give one."""
_PORT_ATTEMPTS = 3
_PORT_TAKEN = "address already in use"


@dataclass
class BringUp:
    """Starts the programs of one cluster, and Karpenter again whenever the account changed.

    Args:
        folder: of the rehearsal.
        order: what to start.
        children: starts and ends programs.
        outlet: reports progress to the command.
        on_failure: called when something that the cluster rests on fails while it runs.
    """

    folder: RunFolder
    order: Order
    children: Children
    outlet: Outlet
    on_failure: Callable[[Exception], None]
    _gate: Gate = field(default_factory=Gate)
    _api: Api | None = None
    _seeds: "queue.SimpleQueue[Seed]" = field(default_factory=queue.SimpleQueue)
    _starting: Child | None = None
    _addresses: Addresses = field(default_factory=Addresses)
    _kwok: Child | None = None
    _balanced: set[str] = field(default_factory=set)
    _routed: set[str] = field(default_factory=set)
    _crds: ClusterCrds = field(init=False)

    def __post_init__(self) -> None:
        order, server = self.order, self._tools["kube-apiserver"]
        etcd = Etcd(control_plane.ETCD_SOCKET)
        self._crds = ClusterCrds(etcd, Path(order.snapshots), server, order.crd_files, order.helm_crds)

    def seed(self, seed: Seed) -> None:
        """Ask for what an environment expects to be there; Karpenter starts with the first."""
        self._seeds.put(seed)

    def hold(self, number: int) -> None:
        """Have nothing bought until `release`."""
        self._gate.hold()
        self.outlet.tell(PurchasesHeld(number))

    def release(self) -> None:
        """Have Karpenter buy, once it knows what every pool can give, for every pod that there is by then."""
        in_background(self._release, self._gate.turn)

    def take_crds(self) -> None:
        """Keep the CRDs that Helm has just installed for later control planes."""
        self._crds.take_installed()
        self.outlet.tell(CrdsTaken())

    def _release(self, turn: int) -> None:
        if self._api:
            marker.remove(self._api)
            if self._gate.mark(turn, await_settled(self._api), bound_pods(self._api)):
                marker.create(self._api)

    def _remove_marker(self) -> None:
        if self._api:
            marker.remove(self._api)

    def may_end(self, child: Child) -> bool:
        """Whether the end of a program is dealt with here (an API server that found its port taken)."""
        return child is self._starting and _PORT_TAKEN in last_lines(child.log)

    def run(self) -> None:
        """Start everything, then serve seeds until the end: Karpenter restarts with each that holds more.

        Raises:
            ClusterError: something does not start.
        """
        beside = ThreadPoolExecutor(max_workers=2)
        first = beside.submit(self._first_seed)
        credentials, server = self._start_api_server()
        self._api = api = Api(credentials.access(server))
        webhook = beside.submit(self._start_nodes, api, credentials, first)
        beside.shutdown(wait=False)  # the first seed may never come
        self._start_beside(api, credentials)
        version = str(api.get("/version")["gitVersion"])
        self.outlet.tell(ApiReady(server, version, self._crds.installed))
        aws, seed = first.result()
        services = Services(api, self._addresses, self.folder.cluster)
        kubelet = Kubelet(api, self.children, server, self.folder.cluster, self._addresses, services)
        serve_kubelet(credentials, kubelet.find)
        self._run_pods(kubelet, credentials, seed.programs)
        webhook.result()
        self._serve_addresses(api, seed)
        launch = karpenter.Launch(self.children, self._tools, credentials, seed.account, server, aws, seed.gates)
        while True:
            running = self._start_karpenter(api, launch)
            while (wanted := self._next(api, kubelet, credentials, launch, _minor(version))) == launch:
                self.outlet.tell(KarpenterStarted(running.process.pid))
            launch = wanted
            karpenter.await_saved(api)
            running.end()

    def _next(
        self, api: Api, kubelet: Kubelet, credentials: Credentials, launch: karpenter.Launch, version: str
    ) -> karpenter.Launch:
        """How Karpenter is to run with the next seed; its programs run at once."""
        seed = self._seeds.get()
        self._run_pods(kubelet, credentials, seed.programs)
        self._serve_addresses(api, seed)
        account = launch.aws.add(seed.account, version)
        gates = {gate: on or launch.gates.get(gate, False) for gate, on in seed.gates.items()}
        return replace(launch, account=account, gates={**launch.gates, **gates})

    def _serve_addresses(self, api: Api, seed: Seed) -> None:
        """Load balancers of the classes that the seed names and no earlier one did."""
        services, ingresses = ({*seed.load_balancer_classes} - self._balanced, {*seed.ingress_classes} - self._routed)
        if services:
            self._balanced |= services
            in_background(serve_services, api, services)
        if ingresses:
            self._routed |= ingresses
            in_background(serve_ingresses, api, ingresses)

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        started, began = time.time(), time.monotonic()
        yield
        self.outlet.tell(StepDone(name, started, time.monotonic() - began))

    def _first_seed(self) -> "tuple[AwsStandIn, Seed]":
        """The stand-in for AWS, holding the account of the first seed that the command sends, and that seed."""
        with self._step("stand-in for AWS"):
            from drydock.rehearsal.aws.actions import Market
            from drydock.rehearsal.aws.shortages import FILE as SHORTAGES
            from drydock.rehearsal.aws.stand_in import AwsStandIn

            aws = AwsStandIn(Market(Path(self.order.cache), cache(self._prices_in), shortages=Path(SHORTAGES)))
        version = _minor(process.run([self._tools["kube-apiserver"], "--version"]).stdout.split()[-1])
        seed = self._seeds.get()
        with self._step("seeding of AWS"):
            seed = replace(seed, account=aws.add(seed.account, version))
        threading.Thread(target=aws.warm, daemon=True).start()
        return aws, seed

    def _prices_in(self, region: str) -> Prices:
        return read_prices(Path(self.order.price_list), region, spot_share=self.order.spot_price_share)

    @property
    def _tools(self) -> dict[str, Path]:
        return {name: Path(path) for name, path in self.order.tools.items()}

    def _start_api_server(self) -> tuple[Credentials, str]:
        with self._step("etcd and API server"):
            self.children.start("etcd", control_plane.etcd(self._tools))
            credentials = create_credentials(self.folder.credentials)
            self._crds.load(READY_SECONDS)
            egress = self.folder.cluster / "egress.json"
            serve_tunnel(self._addresses.behind)
            write_configuration(egress)
            for _ in range(_PORT_ATTEMPTS):
                port = self.order.port or _free_port()
                server = f"https://127.0.0.1:{port}"
                command = control_plane.api_server(self._tools, credentials, port, egress)
                self._starting = self.children.start("kube-apiserver", command)
                if self._await_ready(Api(credentials.access(server)), self._starting):
                    self._starting = None
                    write_kubeconfigs(credentials, server)
                    return credentials, server
                if self.order.port:
                    raise ClusterError(
                        f"port {port} of 127.0.0.1 is taken by another program",
                        remedy="Choose another one, or none: then a free port is taken.",
                    )
        raise ClusterError(f"found no free port in {_PORT_ATTEMPTS} attempts", remedy="Try again.")

    def _await_ready(self, api: Api, server: Child) -> bool:
        """Until the API server is ready; False when its port was taken. Nothing can be watched before it answers."""
        deadline = time.monotonic() + READY_SECONDS
        seen = "no connection"
        with api:
            while time.monotonic() < deadline:
                if server.process.poll() is not None:
                    if self.may_end(server):
                        return False
                    raise ClusterError(describe_end(server)[0], remedy=describe_end(server)[1])
                try:
                    if api.text("/readyz", timeout=_ANSWER_SECONDS) == "ok":
                        return True
                except ApiError as error:
                    seen = error.message
                time.sleep(_PAUSE_SECONDS)
        raise ClusterError(f"the API server is not ready after {READY_SECONDS} s; last seen: {seen}")

    def _start_beside(self, api: Api, credentials: Credentials) -> None:
        """What needs the API server and nothing else."""
        with self._step("controllers, scheduler and CRDs"):
            scheduler = control_plane.scheduler(self._tools, credentials, self.folder.cluster)
            self.children.start("kube-controller-manager", control_plane.controller_manager(self._tools, credentials))
            self.children.start("kube-scheduler", scheduler)
            self._crds.create(api)
            in_background(provision_volumes, api)
            in_background(remove_volumes, api)

    def _run_pods(self, kubelet: Kubelet, credentials: Credentials, programs: Sequence[Program]) -> None:
        """Have the kubelet run pods with these programs too, and KWOK keep all others."""
        known = kubelet.programs
        if not kubelet.allow(programs) and self._kwok:
            return
        if _runs_workflows(kubelet.programs) and not _runs_workflows(known):
            in_background(finish_workflow_pods, kubelet.api)
        if self._kwok:
            self._kwok.end()
        stages = self.folder.cluster / "stages.yaml"
        write_stages(stages, [each.selector for each in kubelet.programs])
        self._kwok = self.children.start("kwok", kwok(self._tools, credentials, stages))

    def _start_karpenter(self, api: Api, launch: karpenter.Launch) -> Child:
        with self._step("start of Karpenter"):
            running = launch.start(self._line_teller())
        self.outlet.tell(KarpenterStarted(running.process.pid))
        return running

    def _start_nodes(self, api: Api, credentials: Credentials, first: "Future[tuple[AwsStandIn, Seed]]") -> None:
        """See to nodes as they appear; over before Karpenter starts, and so is what `first` gives."""

        def count_reserved(counts: Counter[str]) -> None:
            first.result()[0].market.in_use = counts

        def ended(instance_type: str, capacity_type: str, zone: str) -> None:
            first.result()[0].market.ended(instance_type, capacity_type, zone)

        nodes = NodeStandIn(api, count_reserved, ended)
        nodes.start()

        def new_claim(claim: Mapping[str, Any]) -> Patch:
            if not nodes.is_of_static_pool(claim) and not self._gate.admits():
                raise TooEarlyError("what the install brings is not known yet")
            if not nodes.pools_settled():  # another pool may be the better one
                raise TooEarlyError("not every node pool is known to be usable or not")
            zones = nodes.class_zones(claim)
            if not zones:
                raise TooEarlyError("the zones of the node class are not known")
            aws = first.result()[0]
            offers = aws.offers()
            narrowed = fleet.narrow(claim["spec"]["requirements"], zones, offers)
            if narrowed and (reserved := fleet.reserved_launch(narrowed, offers)):
                aws.market.vcpus.expect_reserved(*reserved)
            return [{"op": "replace", "path": "/spec/requirements", "value": narrowed}] if narrowed else ()

        with self._step("webhook for nodes"):
            serve_admission(api, credentials, new_claim, nodes.correct_new, self.on_failure)

    def _line_teller(self) -> Callable[[str], None]:
        reader = karpenter.LogReader()

        def tell(line: str) -> None:
            event = reader.read(line)
            if event is None:
                return
            if not isinstance(event, Said) and self._gate.heard(event, marker.NAME):
                in_background(self._remove_marker)
            if isinstance(event, RoundBegan) or (isinstance(event, PoolSkipped) and event.reason == NOT_READY):
                return
            self.outlet.tell(event)

        return tell


def _runs_workflows(programs: Sequence[Program]) -> bool:
    return any(each.image == CONTROLLER for each in programs)


def _minor(version: str) -> str:
    """`1.36` of `v1.36.3`."""
    return ".".join(version.lstrip("v").split(".")[:2])


def _free_port() -> int:
    """A loopback port that is free now; the API server cannot be handed an open socket."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
