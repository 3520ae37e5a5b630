"""Services of pods that run here: each has an address of this machine, and its name is known in every pod.

What kube-proxy and the cluster's DNS do: a Service with ready pods listens, and passes connections on to them in turn;
one without refuses them. A headless Service is the addresses of its pods.
"""

import contextlib
import itertools
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drydock.clusters.api import Api, collection
from drydock.clusters.watching import follow, in_background
from drydock.rehearsal.kubelet.pod_addresses import Address, Addresses

FILE = "services.json"
"""Of every Service that answers, in the cluster's folder: `{"NAMESPACE/SERVICE": {"PORT": "HOST:PORT"}}`."""
_SERVICES = collection("v1", "services")
_SLICES = collection("discovery.k8s.io/v1", "endpointslices")
_SERVICE_NAME = "kubernetes.io/service-name"
_DOMAIN = "svc.cluster.local"
_CHUNK = 1 << 16
_CONNECT_SECONDS = 5

Target = tuple[str, int]
Permit = Callable[[Target, Target, Target], bool]
"""Whether a connection from the first place to the second may be passed on to the third."""


class Relay:
    """Passes the connections to a port on to one of some targets, in turn, as far as they are permitted."""

    def __init__(self, host: str, port: int, permit: Permit) -> None:
        self._permit = permit
        self._listener = socket.create_server((host, port))
        self._turn = itertools.count()
        self.targets: tuple[Target, ...] = ()
        in_background(self._accept)

    def close(self) -> None:
        """Refuse connections; those that are open go on."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                here, _ = self._listener.accept()
            except OSError:
                return
            in_background(self._serve, here)

    def _serve(self, here: socket.socket) -> None:
        with here:
            targets = self.targets
            first = next(self._turn)
            for offset in range(len(targets)):
                target = targets[(first + offset) % len(targets)]
                try:
                    if not self._permit(here.getpeername(), here.getsockname(), target):
                        return
                    there = socket.create_connection(target, timeout=_CONNECT_SECONDS)
                except OSError:
                    continue
                with there:
                    there.settimeout(None)
                    for end in (here, there):
                        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    back = in_background(_copy, there, here)
                    _copy(here, there)
                    back.join()
                return


@dataclass
class Services:
    """The Services of one cluster.

    Args:
        api: of the cluster, as its administrator.
        addresses: of its pods.
        folder: of the cluster.
        permit: says which connections may be passed on.
    """

    api: Api
    addresses: Addresses
    folder: Path
    permit: Permit = lambda *_: True
    _own: Addresses = field(default_factory=Addresses)
    _given: dict[str, Address] = field(default_factory=dict)
    _services: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _slices: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _relays: dict[tuple[str, int], Relay] = field(default_factory=dict)
    _hosts: dict[Path, tuple[str, str]] = field(default_factory=dict)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def start(self) -> None:
        """Follow them until the cluster ends."""
        in_background(self._follow, _SERVICES, self._services)
        in_background(self._follow, _SLICES, self._slices)

    def name_in(self, file: Path, namespace: str, own: str) -> None:
        """Keep a file of the form of /etc/hosts true for a pod, after its own lines, for as long as it is there."""
        with self._lock:
            file.write_text(own + self._names(namespace))
            self._hosts[file] = (namespace, own)

    def _follow(self, path: str, kept: dict[str, Mapping[str, Any]]) -> None:
        for kind, content in follow(self.api, path):
            name = f"{content['metadata']['namespace']}/{content['metadata']['name']}"
            with self._lock:
                kept.pop(name, None)
                if kind != "DELETED":
                    kept[name] = content
                self._change()

    def _change(self) -> None:
        wanted = {
            (name, port["port"]): targets
            for name, service in self._services.items()
            if _has_address(service)
            for port in service["spec"].get("ports") or ()
            if port.get("protocol", "TCP") == "TCP" and (targets := tuple(self._targets(name, port.get("name", ""))))
        }
        for key in self._relays.keys() - wanted.keys():
            self._relays.pop(key).close()
        for key, targets in wanted.items():
            if relay := self._relays.get(key) or self._listen(*key):
                relay.targets = targets
        for name in self._given.keys() - self._services.keys():
            self._own.give_back(self._given.pop(name))
        for name, service in self._services.items():
            if _has_address(service):
                self._address(name)  # known by name before any pod is ready
        self._write()

    def _listen(self, name: str, port: int) -> Relay | None:
        address = self._address(name)
        if address is None:
            return None
        try:
            relay = Relay(address.host, address.port(port), self.permit)
        except OSError as error:
            print(f"Service {name} does not answer at port {port} here: {error.strerror}", flush=True)
            return None
        self._relays[name, port] = relay
        return relay

    def _address(self, name: str) -> Address | None:
        if name not in self._given and (taken := self._own.take()):
            self._given[name] = taken
        return self._given.get(name)

    def _targets(self, name: str, port: str) -> Iterator[Target]:
        """Where the ready pods of a Service that run here listen for one of its ports."""
        for known, endpoint in self._endpoints(name):
            numbers = [each["port"] for each in known.get("ports") or () if (each.get("name") or "") == port]
            for ip in endpoint["addresses"]:
                yield from (target for number in numbers if (target := self.addresses.behind(ip, number)))

    def _endpoints(self, name: str) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        namespace, _, service = name.partition("/")
        for known in self._slices.values():
            metadata = known["metadata"]
            if metadata["namespace"] == namespace and (metadata.get("labels") or {}).get(_SERVICE_NAME) == service:
                for endpoint in known.get("endpoints") or ():
                    if (endpoint.get("conditions") or {}).get("ready", True):
                        yield known, endpoint

    def _write(self) -> None:
        for file, (namespace, own) in list(self._hosts.items()):
            if file.exists():
                _rewrite(file, own + self._names(namespace))
            else:
                del self._hosts[file]
        found: dict[str, dict[str, str]] = {}
        for name, port in sorted(self._relays):
            address = self._given[name]
            ports = self._services[name]["spec"]["ports"]
            label = next((each["name"] for each in ports if each["port"] == port and each.get("name")), str(port))
            found.setdefault(name, {})[label] = f"{address.host}:{address.port(port)}"
        partial = self.folder / f"{FILE}.{os.getpid()}.partial"
        partial.write_text(json.dumps(found))
        partial.replace(self.folder / FILE)

    def _names(self, namespace: str) -> str:
        """Lines of /etc/hosts for a pod of a namespace."""
        lines: list[str] = []
        for name, address in self._given.items():
            lines += _lines(name, address.host, namespace)
        for name, service in self._services.items():
            if not _has_address(service):
                for _, endpoint in self._endpoints(name):
                    for ip in endpoint["addresses"]:
                        if target := self.addresses.behind(ip, 0):
                            lines += _lines(name, target[0], namespace, endpoint.get("hostname", ""))
        return "".join(f"{line}\n" for line in lines)


def _lines(name: str, host: str, namespace: str, pod: str = "") -> Iterator[str]:
    own, _, service = name.partition("/")
    names = [f"{service}.{own}.svc", f"{service}.{own}.{_DOMAIN}", f"{service}.{own}"]
    names += [service] if own == namespace else []
    yield f"{host} {' '.join(names)}"
    if pod:
        yield f"{host} {' '.join(f'{pod}.{each}' for each in names)}"


def _rewrite(file: Path, text: str) -> None:
    """In place, because the file is mounted, and so that no reader finds it empty."""
    with file.open("r+") as output:
        output.write(text)
        output.truncate()


def _has_address(service: Mapping[str, Any]) -> bool:
    return service["spec"].get("type") != "ExternalName" and service["spec"].get("clusterIP") not in (None, "", "None")


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends; then the target's side is shut down."""
    try:
        while data := source.recv(_CHUNK):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
