"""A port of this machine that leads to pods of a cluster: connections go to them in turn.

To a pod of a real cluster, each connection is a port-forward of its own: through the API server and the kubelet into
the pod's network, which takes its share of both and adds milliseconds, more under load. A pod of a rehearsal that runs
on this machine is reached where it listens.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import cycle
from typing import Any

from drydock.errors import ClusterError
from drydock.loadtest.cluster.models import Pod
from drydock.loadtest.cluster.peers import is_own

_REACHABLE = "rehearsal.drydock.dev/reachable-at"
"""Annotation of a rehearsal's pod that runs on this machine: NAME=HOST:PORT for each named port (docs/rehearsal.md)."""
_CHUNK = 1 << 16

Dial = Callable[[], socket.socket]


@contextmanager
def relayed(api: Any, pods: Sequence[Pod]) -> Iterator[str]:
    """URL of a port that leads to one of the pods for each connection, while the block runs.

    Raises:
        ClusterError: the API server does not forward ports of the first pod.
    """
    local = [address for pod in pods if (address := local_address(pod))]
    if len(local) == len(pods) == 1:
        host, port = local[0]
        yield f"http://{host}:{port}"
        return
    lock = threading.Lock()
    dials = [_to_here(address) for address in local] or [_through_api(api, pod, lock) for pod in pods]
    _try(dials[0], pods[0])
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        threading.Thread(target=_accept, args=(listener, cycle(dials)), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def local_address(pod: Pod) -> tuple[str, int] | None:
    """Where a pod listens on this machine; None for one that is elsewhere."""
    for part in pod.annotations.get(_REACHABLE, "").split(","):
        name, _, address = part.partition("=")
        host, _, port = address.rpartition(":")
        if name == pod.port_name and port.isdigit():
            return host, int(port)
    return None


def _to_here(address: tuple[str, int]) -> Dial:
    return lambda: socket.create_connection(address)


def _through_api(api: Any, pod: Pod, lock: threading.Lock) -> Dial:
    from kubernetes import client
    from kubernetes.stream import portforward

    connect = client.CoreV1Api(api).connect_get_namespaced_pod_portforward

    def dial() -> socket.socket:
        with lock:  # the library changes the client while it connects
            forward = portforward(connect, pod.name, pod.namespace, ports=str(pod.port))
        found: socket.socket = forward.socket(pod.port)
        return found

    return dial


def _try(dial: Dial, pod: Pod) -> None:
    from kubernetes.client.exceptions import ApiException

    try:
        dial().close()
    except (OSError, ApiException) as error:
        raise ClusterError(
            f"cannot reach port {pod.port} of pod {pod.name}: {getattr(error, 'reason', None) or error}",
            remedy="The kubeconfig's user needs the right to create pods/portforward. In a rehearsal models answer "
            "with `drydock rehearse --live --keep` alone.",
        ) from error


def _accept(listener: socket.socket, dials: Iterator[Dial]) -> None:
    while True:
        try:
            here, _ = listener.accept()
        except OSError:  # closed: the block is over
            return
        threading.Thread(target=_serve, args=(here, next(dials)), daemon=True).start()


def _serve(here: socket.socket, dial: Dial) -> None:
    from kubernetes.client.exceptions import ApiException

    with here:
        if not is_own(here):  # another user of this machine: the port is for the load alone
            return
        here.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            there = dial()
        except (OSError, ApiException):  # the client sees a connection that closes, and counts it
            return
        back = threading.Thread(target=_copy, args=(there, here), daemon=True)
        back.start()
        _copy(here, there)
        back.join()
        there.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    """Until the source ends; then the target's side is shut down."""
    with suppress(OSError):
        while data := source.recv(_CHUNK):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
