"""A day under an autoscaler: what it costs and how often objectives are missed, beside pods that are always there.

Time goes in steps of one look of the autoscaler. In each, the ready pods share the load; what they cannot do is
queued and done later, and its wait adds to the time to first token. The rules are those of the
HorizontalPodAutoscaler (k8s.io/kubernetes, pkg/controller/podautoscaler: tolerance of a tenth, doubling or four pods
more in 15 s, the highest wish of the stabilization window when scaling down) and of KEDA at zero pods.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from drydock.plan.scalers import Metric, Scaler
from drydock.plan.surface import Surface
from drydock.plan.traces import DAY, DayTrace

_TOLERANCE = 0.1
_HOUR = 3600.0


@dataclass(frozen=True)
class Moment:
    """One step: requests a second, pods ready and paid, and whether the objectives are met."""

    seconds: float
    rate: float
    ready: int
    pods: int
    missed: bool


@dataclass(frozen=True)
class Day:
    """One day.

    Attributes:
        missed_share: of the requests, those that came in steps in which an objective was missed.
        missed_minutes: of the day, with such requests.
        node_hours: paid, from the wish for a pod to its end.
        most_pods: at once.
    """

    moments: Sequence[Moment]
    missed_share: float
    missed_minutes: float
    node_hours: float
    most_pods: int


class _Pods:
    """Pods that are ready, and those that start: the time at which each is ready."""

    def __init__(self, ready: int, start_seconds: float) -> None:
        self.ready = ready
        self.starting: deque[float] = deque()
        self._start_seconds = start_seconds

    @property
    def total(self) -> int:
        return self.ready + len(self.starting)

    def pass_to(self, now: float) -> None:
        while self.starting and self.starting[0] <= now:
            self.starting.popleft()
            self.ready += 1

    def become(self, wanted: int, now: float) -> None:
        while self.total < wanted:
            self.starting.append(now + self._start_seconds)
        while self.total > wanted and self.starting:
            self.starting.pop()
        self.ready = min(self.ready, wanted)


def autoscaled(
    trace: DayTrace,
    surface: Surface,
    objectives: Mapping[str, float],
    scaler: Scaler,
    *,
    start_seconds: float,
    per_node: int = 1,
) -> Day:
    """A day that follows one like it, so that it begins as it ends."""
    rates = trace.sampled(scaler.period)
    pods = _Pods(scaler.least, start_seconds)
    day = _Course(surface, objectives, scaler, pods)
    for turn in range(2):
        moments = [day.step(turn * DAY + index * scaler.period, rate) for index, rate in enumerate(rates)]
    return _summed(moments, scaler.period, per_node)


def static(
    trace: DayTrace, surface: Surface, objectives: Mapping[str, float], replicas: int, *, per_node: int = 1
) -> Day:
    """The same day with so many pods from midnight to midnight."""
    fixed = Scaler(least=replicas, most=replicas, metrics=())
    return autoscaled(trace, surface, objectives, fixed, start_seconds=0.0, per_node=per_node)


class _Course:
    def __init__(self, surface: Surface, objectives: Mapping[str, float], scaler: Scaler, pods: _Pods) -> None:
        self._surface, self._objectives, self._scaler, self._pods = surface, objectives, scaler, pods
        self._queued = 0.0
        self._arrived = 0.0
        self._last_request = 0.0
        self._wishes: deque[tuple[float, int]] = deque()

    def step(self, now: float, rate: float) -> Moment:
        pods, period, capacity = self._pods, self._scaler.period, self._surface.capacity
        pods.pass_to(now)
        self._note_requests(now, rate * period)
        todo = self._queued + rate * period
        done = min(todo, pods.ready * capacity * period)
        self._queued = todo - done
        each = done / period / pods.ready if pods.ready else 0.0
        missed = self._missed(each)
        moment = Moment(now % DAY, rate, pods.ready, pods.total, missed and todo > 0)
        pods.become(self._wanted(now, each), now)
        return moment

    def _note_requests(self, now: float, arriving: float) -> None:
        """Whole requests: a rate of one in an hour lets a model sleep between two."""
        before = int(self._arrived)
        self._arrived += arriving
        if int(self._arrived) > before:
            self._last_request = now

    def _missed(self, rate: float) -> bool:
        pods = self._pods.ready
        if not pods:
            return True
        wait = 1e3 * self._queued / (pods * self._surface.capacity)
        for name, most in self._objectives.items():
            value = self._surface.measure(name, rate)
            if name.startswith(("ttft", "e2e")):
                value += wait
            if not value <= most:
                return True
        return False

    def _wanted(self, now: float, rate: float) -> int:
        scaler, pods = self._scaler, self._pods
        if scaler.least == 0:
            if pods.total == 0:
                return 1 if self._queued >= 1 else 0
            if now - self._last_request >= scaler.cooldown_seconds and self._queued < 1:
                return 0
        least = max(scaler.least, 1)
        wish = max((self._wish(metric, rate) for metric in scaler.metrics), default=least)
        wish = min(max(wish, least), scaler.most, max(2 * pods.total, pods.total + 4))
        self._wishes.append((now, wish))
        while self._wishes[0][0] < now - scaler.scale_down_seconds:
            self._wishes.popleft()
        return wish if wish >= pods.total else min(pods.total, max(each for _, each in self._wishes))

    def _wish(self, metric: Metric, rate: float) -> int:
        pods, surface = self._pods, self._surface
        current = pods.total
        if metric.look == "kv_usage":
            value = surface.kv_usage(surface.capacity if self._queued > 0 else rate)
            ratio = value / metric.target
            return current if abs(ratio - 1) <= _TOLERANCE or not pods.ready else ceil(pods.ready * ratio)
        running, waiting = pods.ready * surface.running(rate), pods.ready * surface.waiting(rate) + self._queued
        total = {"waiting": waiting, "running": running, "requests": waiting + running}[metric.look]
        ratio = total / (metric.target * current)
        return current if abs(ratio - 1) <= _TOLERANCE else ceil(total / metric.target)


def _summed(moments: Sequence[Moment], period: float, per_node: int) -> Day:
    requests = sum(moment.rate for moment in moments) * period
    missed = [moment for moment in moments if moment.missed]
    return Day(
        moments,
        missed_share=sum(share.rate for share in missed) * period / requests,
        missed_minutes=sum(share.rate > 0 for share in missed) * period / 60,
        node_hours=sum(ceil(moment.pods / per_node) for moment in moments) * period / _HOUR,
        most_pods=max(moment.pods for moment in moments),
    )
