"""What goes into the engine and what comes out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from drydock.errors import DrydockError


@dataclass(frozen=True, slots=True)
class Limits:
    """What the engine's arguments fix: `blocks` of `block_size` tokens, sequences and tokens a step, and so on."""

    blocks: int
    block_size: int = 16
    max_num_seqs: int = 1024
    max_num_batched_tokens: int = 8192
    chunked_prefill: bool = True
    max_loras: int = 0


Where = Literal["new", "waiting", "prefill", "decode", "done"]


@dataclass(slots=True, eq=False)
class EngineRequest:
    """One request in the engine.

    Attributes:
        prompt, output: tokens; the output's length is known beforehand, as the model's words are not simulated.
        hashes: of the prompt's full blocks, empty when nothing is shared.
        lora: name of an adapter, empty for the base model.
        ready: s, when the engine core receives it.
        scheduled, first, end: s, first put into a batch; end of the steps that made the first and the last token.
        cached: prompt tokens found in the prefix cache.
        generated: tokens made so far, but for those of the decode under way.
        owner: whatever the caller wants to find again.
    """

    prompt: int
    output: int
    hashes: Sequence[int] = ()
    lora: str = ""
    owner: object = None
    ready: float = 0.0
    scheduled: float = -1.0
    first: float = -1.0
    end: float = -1.0
    cached: int = 0
    generated: int = 0
    preemptions: int = 0
    where: Where = "new"
    target: int = 0
    computed: int = 0
    anonymous: int = 0
    shared: list[int] = field(default_factory=list)
    from_step: int = 0
    last_step: int = 0


@dataclass(slots=True)
class Outcome:
    """One step, or several equal ones, that ended at `end`.

    Attributes:
        start, end: s.
        steps: how many.
        decodes: sequences that got one token in each.
        prefill: prompt tokens computed.
        first: sequences that got the first token of a (new) prefill.
        finished, preempted: sequences.
    """

    start: float
    end: float
    steps: int
    decodes: int
    prefill: int
    first: list[EngineRequest]
    finished: list[EngineRequest]
    preempted: list[EngineRequest]


class CapacityError(DrydockError):
    """A request needs more KV-cache blocks than there are."""
