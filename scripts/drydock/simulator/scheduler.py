"""What vLLM's scheduler keeps and decides: queues, blocks and the composition of each step, without its time.

Rules, as vLLM V1 has them: running sequences first, then waiting ones first come first served, within one budget of
tokens a step; prompts in chunks where that is allowed; one KV block for every `block_size` tokens; when no block is
free the sequence that began to run last gives up its blocks, goes to the front of the queue and is computed again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from math import inf

from drydock.simulator.blocks import BlockPool
from drydock.simulator.requests import CapacityError, EngineRequest, Limits


class Scheduler:
    """Sequences from their arrival to their end; an `Engine` runs the steps."""

    def __init__(self, limits: Limits, *, asynchronous: bool, now: float) -> None:
        self.limits = limits
        self.pool = BlockPool(limits.blocks, limits.block_size)
        self.now = now
        self.preemptions = 0
        self.queried_tokens = 0
        self.cached_tokens = 0
        self.on_end: Callable[[EngineRequest], Sequence[int]] | None = None
        self.running: dict[EngineRequest, None] = {}
        self.waiting: deque[EngineRequest] = deque()
        self._arriving: deque[EngineRequest] = deque()
        self._prefilling: list[EngineRequest] = []
        self._decodes = 0
        self._kv = 0
        self._step = 0
        self._phases = [0] * limits.block_size
        self._leaving: list[EngineRequest] = []
        self._asynchronous = asynchronous
        self._cutoff = now
        self._loras: dict[str, int] = {}

    # -- what callers do

    def submit(self, sequence: EngineRequest) -> None:
        """Hand over a request; its `ready` may lie in the future but not before that of an earlier one."""
        need = self.pool.blocks_for(sequence.prompt + sequence.output - 1)
        if need > self.pool.total:
            raise CapacityError(
                f"a request of {sequence.prompt} + {sequence.output} tokens needs {need} KV-cache blocks,"
                f" the engine has {self.pool.total}",
                remedy="Ask for fewer tokens, or give the engine more memory.",
            )
        self._arriving.append(sequence)

    def abort(self, sequence: EngineRequest) -> None:
        """Forget a request wherever it is."""
        if sequence.where == "new":
            self._arriving.remove(sequence)
        elif sequence.where == "waiting":
            self.waiting.remove(sequence)
        elif sequence.where in {"prefill", "decode"}:
            del self.running[sequence]
            self._stop(sequence)
            self._release(sequence)
        sequence.where = "done"

    @property
    def busy(self) -> bool:
        """Whether any request is known and not finished."""
        return bool(self.running or self.waiting or self._arriving)

    @property
    def next_ready(self) -> float:
        """When the next request arrives, s; infinite when none is known."""
        return self._arriving[0].ready if self._arriving else inf

    @property
    def decoding(self) -> int:
        """Sequences that decode."""
        return self._decodes

    @property
    def tokens_held(self) -> int:
        """Tokens whose keys and values running sequences keep in their blocks."""
        return self._kv + sum(sequence.computed for sequence in self._prefilling)

    # -- composing a step

    def _receive(self, cutoff: float) -> None:
        arriving = self._arriving
        while arriving and arriving[0].ready <= cutoff:
            sequence = arriving.popleft()
            sequence.where = "waiting"
            self.waiting.append(sequence)

    def _make_room(self) -> list[EngineRequest]:
        """Give each decoding sequence that fills a block a new one, preempting the last running where none is free."""
        preempted: list[EngineRequest] = []
        while True:
            need = self._phases[-(self._step + 1) % self.limits.block_size]
            if need <= self.pool.free:
                break
            victim = self._last_running()
            self._preempt(victim)
            preempted.append(victim)
        if need:
            self.pool.take(need)
        return preempted

    def _last_running(self) -> EngineRequest:
        """The sequence that began to run last, of those that have not ended with the step under way."""
        return next(sequence for sequence in reversed(self.running) if sequence.where != "done")

    def _preempt(self, victim: EngineRequest) -> None:
        del self.running[victim]
        self._stop(victim)
        self._release(victim)
        victim.computed = 0
        victim.where = "waiting"
        victim.preemptions += 1
        self.preemptions += 1
        self.waiting.appendleft(victim)

    def _compose(self, preempted: list[EngineRequest]) -> tuple[list[tuple[EngineRequest, int]], int, float]:
        """Choose prompt chunks for the step: (sequence, tokens) each, all tokens, and query-key pairs.

        Adds to `preempted`; a step that preempts admits nothing new.
        """
        limits = self.limits
        budget = limits.max_num_batched_tokens - self._decodes
        work: list[tuple[EngineRequest, int]] = []
        pairs = 0.0
        for sequence in tuple(self._prefilling) if self._prefilling else ():
            if budget <= 0 or sequence.where != "prefill":
                continue
            tokens = min(budget, sequence.target - sequence.computed)
            if not self._grow_or_preempt(sequence, tokens, preempted):
                break
            pairs += tokens * (sequence.computed + tokens / 2)
            budget -= tokens
            work.append((sequence, tokens))
        if self.waiting and not preempted:
            pairs += self._admit(budget, work)
        prefill = 0
        for _, tokens in work:
            prefill += tokens
        return work, prefill, pairs

    def _admit(self, budget: int, work: list[tuple[EngineRequest, int]]) -> float:
        limits, pool, waiting = self.limits, self.pool, self.waiting
        pairs = 0.0
        held_back: list[EngineRequest] = []
        while waiting and budget > 0 and len(self.running) < limits.max_num_seqs:
            sequence = waiting[0]
            if sequence.lora and sequence.lora not in self._loras and len(self._loras) >= limits.max_loras:
                held_back.append(waiting.popleft())
                continue
            target = sequence.prompt + sequence.generated
            hashes = sequence.hashes[: (target - 1) // limits.block_size] if sequence.hashes else ()
            known = hashes[: pool.cached_prefix(hashes)] if hashes else ()
            cached = len(known) * limits.block_size
            tokens = target - cached
            if tokens > budget:
                if not limits.chunked_prefill:
                    break
                tokens = budget
            blocks = pool.blocks_for(cached + tokens) - len(known)
            if blocks + (pool.unused_among(known) if known else 0) > pool.free:
                break
            waiting.popleft()
            self._begin(sequence, target, known, cached)
            if not self._grow(sequence, tokens):
                raise AssertionError("room was made for this chunk")
            pairs += tokens * (cached + tokens / 2)
            budget -= tokens
            work.append((sequence, tokens))
        waiting.extendleft(reversed(held_back))
        return pairs

    def _begin(self, sequence: EngineRequest, target: int, known: Sequence[int], cached: int) -> None:
        if sequence.hashes:
            self.queried_tokens += target
            self.cached_tokens += cached
        if known:
            self.pool.share(known)
            sequence.shared = list(known)
        if sequence.scheduled < 0:
            sequence.scheduled = max(sequence.ready, min(self.now, self._cutoff) if self._asynchronous else self.now)
            sequence.cached = cached
        if sequence.lora:
            self._loras[sequence.lora] = self._loras.get(sequence.lora, 0) + 1
        sequence.where = "prefill"
        sequence.target = target
        sequence.computed = cached
        self.running[sequence] = None
        self._prefilling.append(sequence)

    def _grow_or_preempt(self, sequence: EngineRequest, tokens: int, preempted: list[EngineRequest]) -> bool:
        """Blocks for the next tokens of a prompt, from those that began to run later; False when it is the last."""
        while not self._grow(sequence, tokens):
            victim = self._last_running()
            self._preempt(victim)
            preempted.append(victim)
            if victim is sequence:
                return False
        return True

    def _grow(self, sequence: EngineRequest, tokens: int) -> bool:
        """Blocks for the next tokens of a prompt; False when there are too few."""
        size = self.limits.block_size
        end = sequence.computed + tokens
        blocks = -(-end // size) - sequence.anonymous - len(sequence.shared)
        if blocks > self.pool.free:
            return False
        self.pool.take(blocks)
        sequence.anonymous += blocks
        if sequence.hashes:
            own = self.pool.publish(sequence.hashes[sequence.computed // size : end // size])
            sequence.anonymous -= len(own)
            sequence.shared += own
        return True

    # -- leaving

    def _finish(self, sequence: EngineRequest) -> None:
        self._stop(sequence)
        sequence.where = "done"
        sequence.end = self.now
        if self._asynchronous:
            # the next step is composed already: slot and blocks come free for the one after it
            self._leaving.append(sequence)
        else:
            self._leave(sequence)

    def _leave(self, sequence: EngineRequest) -> None:
        if sequence in self.running:
            del self.running[sequence]
            if self.on_end is not None:
                self._publish_all(sequence, self.on_end(sequence))
            self._release(sequence)

    def _publish_all(self, sequence: EngineRequest, hashes: Sequence[int]) -> None:
        """Let the next turn of a conversation find prompt and answer."""
        full = hashes[len(sequence.hashes) : sequence.computed // self.limits.block_size]
        own = self.pool.publish(full)
        sequence.anonymous -= len(own)
        sequence.shared += own

    def _stop(self, sequence: EngineRequest) -> None:
        """Take a sequence out of the batch, its blocks still its own."""
        if sequence.where == "decode":
            done = self._step - sequence.from_step
            sequence.generated += done
            sequence.computed = sequence.target + done
            self._decodes -= 1
            self._kv -= sequence.computed
            self._phases[(sequence.target - sequence.from_step - 1) % self.limits.block_size] -= 1
            sequence.anonymous = self._held(sequence) - len(sequence.shared)
        elif sequence in self._prefilling:
            self._prefilling.remove(sequence)

    def _held(self, sequence: EngineRequest) -> int:
        return self.pool.blocks_for(sequence.computed)

    def _release(self, sequence: EngineRequest) -> None:
        self.pool.release(sequence.anonymous, sequence.shared)
        sequence.anonymous = 0
        sequence.shared = []
        if sequence.lora:
            users = self._loras[sequence.lora] - 1
            if users:
                self._loras[sequence.lora] = users
            else:
                del self._loras[sequence.lora]
