"""Has Karpenter look at the pending pods at the right moment."""

from dataclasses import dataclass

from drydock.rehearsal.api import collection
from drydock.rehearsal.cluster import RehearsalCluster
from drydock.rehearsal.obstacles import NUDGE

_NAMESPACE = "kube-system"
_PODS = collection("v1", "pods", _NAMESPACE)


@dataclass
class Nudge:
    """A pod that no node can host, made once and taken away when Karpenter has seen it.

    Karpenter looks at pods when they appear, which in an install is before the node pools of the same release are
    usable, and then every ten seconds. Any new pod that finds no node makes it look at all of them.
    """

    cluster: RehearsalCluster
    _given: bool = False
    _there: bool = False
    _seen_before: int = 0

    def give(self) -> None:
        """Make the pod, the first time this is called."""
        if self._given:
            return
        self._given = self._there = True
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": NUDGE},
            "spec": {
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 0,
                "nodeSelector": {"drydock.dev/nudge": "true"},
                "containers": [{"name": "none", "image": "none"}],
            },
        }
        self._seen_before = self._times_seen()
        self.cluster.await_api().create(_PODS, pod)

    def take_back(self, *, at_once: bool = False) -> None:
        """Delete the pod, if it is there and Karpenter has seen it (or `at_once`)."""
        if self._there and (at_once or self._times_seen() > self._seen_before):
            self.cluster.await_api().delete(f"{_PODS}/{NUDGE}")
            self._there = False

    def _times_seen(self) -> int:
        return sum(each.pod == f"{_NAMESPACE}/{NUDGE}" for each in self.cluster.decisions())
