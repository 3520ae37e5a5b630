"""vLLM's engine as a discrete-event simulation: the same one for simulation and for the live server.

The scheduler composes each step, the timer says how long it takes. Steps between which nothing changes (all sequences
decode, none ends, none arrives) are taken together, since their times have a closed form. The result is the same as
step by step.
"""

from heapq import heappop, heappush
from math import inf, sqrt

from drydock.simulator.requests import CapacityError, EngineRequest, Limits, Outcome
from drydock.simulator.scheduler import Scheduler
from drydock.simulator.timing import StepTimer

_ALL_STEPS = 1 << 60


class Engine(Scheduler):
    """Runs steps, takes their time from the timer, and moves sequences along."""

    def __init__(self, limits: Limits, timer: StepTimer, *, now: float = 0.0) -> None:
        super().__init__(limits, asynchronous=timer.coefficients.asynchronous, now=now)
        self.timer = timer
        self._ending: list[tuple[int, int, EngineRequest]] = []
        self._order = 0

    def advance(self, until: float = inf, max_steps: int = _ALL_STEPS) -> Outcome | None:
        """Run the next step, or as many equal ones as nothing interrupts.

        Returns None when no step starts before `until`.
        """
        cutoff = self._cutoff if self._asynchronous else self.now
        woken = False
        while True:
            self._receive(cutoff)
            leaving: list[EngineRequest] = []
            if self._leaving:
                leaving, self._leaving = self._leaving, leaving
            preempted = self._make_room() if self._decodes else []
            work, prefill, pairs = self._compose(preempted)
            for sequence in leaving:
                self._leave(sequence)
            if self._decodes or work:
                break
            if not self.waiting:
                if not self._arriving:
                    return None
                ready = self._arriving[0].ready
                if ready > self.now:
                    if ready > until:
                        return None
                    self.now = ready + self.timer.idle(ready - self.now)
                woken = True
            elif not leaving and not preempted and cutoff >= self.now:
                raise CapacityError("the request at the head of the queue fits neither the budget nor the KV cache")
            cutoff = self.now
        self._cutoff = self.now + self.timer.coefficients.launch if woken else self.now
        if work:
            return self._mixed_step(work, prefill, pairs, preempted)
        return self._decode_steps(max_steps if not preempted and not (leaving and self.waiting) else 1, preempted)

    def _mixed_step(
        self, work: list[tuple[EngineRequest, int]], prefill: int, pairs: float, preempted: list[EngineRequest]
    ) -> Outcome:
        decodes, start = self._decodes, self.now
        seconds = self.timer.mixed(decodes, self._kv, prefill, len(work), pairs)
        self.timer.ran(seconds, decodes + prefill, pairs)
        self.now = start + seconds
        finished = self._count_decodes(1)
        first: list[EngineRequest] = []
        for sequence, tokens in work:
            sequence.computed += tokens
            if sequence.computed == sequence.target:
                self._prefilling.remove(sequence)
                self._first_token(sequence, first, finished)
        return Outcome(start, self.now, 1, decodes, prefill, first, finished, preempted)

    def _decode_steps(self, most: int, preempted: list[EngineRequest]) -> Outcome:
        decodes, start = self._decodes, self.now
        seconds, growth = self.timer.decode(decodes, self._kv)
        steps = 1
        if most > 1:
            steps = min(most, self._until_end(), self._until_blocks())
            if steps > 1 and self._arriving:
                steps = min(steps, self._until_arrival(seconds, growth))
        total = steps * seconds + growth * (steps * (steps - 1) / 2)
        self.timer.ran(total, decodes, 0.0, steps)
        if steps > 1:
            # the last step's own start is when an asynchronous engine composes the next one
            self._cutoff = start + (total - seconds - growth * (steps - 1))
            self._take_blocks(steps)
        self.now = start + total
        return Outcome(start, self.now, steps, decodes, 0, [], self._count_decodes(steps), preempted)

    def _until_end(self) -> int:
        ending = self._ending
        while True:
            at, _, sequence = ending[0]
            if sequence.where == "decode" and sequence.last_step == at:
                return at - self._step
            heappop(ending)

    def _until_blocks(self) -> int:
        """Steps that the free blocks suffice for, never too many (the first has its blocks already)."""
        size = self.limits.block_size
        return 1 + max(0, (self.pool.free // max(1, self._decodes)) * size - size)

    def _take_blocks(self, steps: int) -> None:
        size = self.limits.block_size
        rounds, rest = divmod(steps - 1, size)
        need = rounds * self._decodes
        for step in range(self._step + 2, self._step + 2 + rest):
            need += self._phases[-step % size]
        if need:
            self.pool.take(need)

    def _until_arrival(self, seconds: float, growth: float) -> int:
        """Steps up to the first whose successor is composed after the next arrival."""
        wait = self._arriving[0].ready - self.now
        if wait <= 0:
            return 1
        if growth > 0:
            half = seconds - growth / 2
            count = (sqrt(half * half + 2 * growth * wait) - half) / growth
        else:
            count = wait / seconds
        whole = int(count)
        steps = whole if whole == count else whole + 1
        return steps + 1 if self._asynchronous else max(1, steps)

    def _count_decodes(self, steps: int) -> list[EngineRequest]:
        """Move every decoding sequence on by so many tokens; returns those that end with it."""
        self._step += steps
        self._kv += self._decodes * steps
        finished: list[EngineRequest] = []
        ending = self._ending
        while ending and ending[0][0] <= self._step:
            at, _, sequence = heappop(ending)
            if sequence.where == "decode" and sequence.last_step == at:
                self._finish(sequence)
                finished.append(sequence)
        return finished

    def _first_token(self, sequence: EngineRequest, first: list[EngineRequest], finished: list[EngineRequest]) -> None:
        sequence.generated += 1
        if sequence.first < 0:
            sequence.first = self.now
        first.append(sequence)
        sequence.where = "decode"
        sequence.from_step = self._step
        sequence.last_step = self._step + sequence.output - sequence.generated
        self._decodes += 1
        self._kv += sequence.target
        self._phases[(sequence.target - self._step - 1) % self.limits.block_size] += 1
        if sequence.generated >= sequence.output:
            self._finish(sequence)
            finished.append(sequence)
            return
        self._order += 1
        heappush(self._ending, (sequence.last_step, self._order, sequence))
