"""What is asked of the engines: a workload of the load test as requests for the simulator.

Conversations run beside each other: as many as are under way at the given rate while their users read. Each turn's
prompt holds all before it; what stood in an earlier prompt is found in the prefix cache, where there is one.
"""

from collections.abc import Iterator
from math import ceil
from typing import TYPE_CHECKING

from drydock.simulator.workload import Shape

if TYPE_CHECKING:
    from drydock.loadtest.settings import Workload

_CONVERSATION = 1 << 20
"""Block hashes of one conversation; a prompt has fewer blocks."""


def shapes(
    workload: "Workload", count: int, *, rate: float, block_size: int, prefix_caching: bool, seed: int = 0
) -> tuple[Shape, ...]:
    """So many requests of a workload at `rate` requests a second.

    Hashes of shared prefixes are negative, those of a conversation's own blocks positive.
    """
    import numpy as np

    from drydock.loadtest.prompts import draw_lengths
    from drydock.loadtest.settings import Lengths

    random = np.random.default_rng(seed)
    beside = max(1, ceil(rate * workload.think_seconds)) if workload.turns > 1 else 1
    conversations = ceil(count / workload.turns / beside) * beside
    size = (conversations, workload.turns)
    news = draw_lengths(workload.input, random, size)
    answers = draw_lengths(workload.output or Lengths("lognormal", 220, 200), random, size)
    groups = random.integers(0, workload.prefix_groups, conversations)
    found: list[Shape] = []
    for start in range(0, conversations, beside):
        for turn in range(workload.turns):
            for index in range(start, start + beside):
                before = int(news[index, :turn].sum() + answers[index, :turn].sum())
                prompt = workload.shared_prefix_tokens + before + int(news[index, turn])
                hashes: tuple[int, ...] = ()
                if prefix_caching and (workload.shared_prefix_tokens or workload.turns > 1):
                    shared = workload.shared_prefix_tokens // block_size
                    hashes = tuple(_hashes(prompt // block_size, shared, index, int(groups[index])))
                found.append(Shape(prompt, int(answers[index, turn]), hashes))
    return tuple(found[:count])


def _hashes(blocks: int, shared: int, conversation: int, group: int) -> Iterator[int]:
    for position in range(blocks):
        if position < shared:
            yield -1 - position - group * _CONVERSATION
        else:
            yield position + conversation * _CONVERSATION
