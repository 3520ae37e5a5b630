"""What is asked of the engines: a workload of the load test as requests for the simulator.

Conversations run beside each other: as many as are under way at the given rate while their users read. Each turn's
prompt holds all before it; what stood in an earlier prompt is found in the prefix cache, where there is one.
"""

from collections.abc import Iterator, Mapping
from math import ceil
from typing import TYPE_CHECKING, Any

from drydock.simulator.workload import Shape

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.random import Generator

    from drydock.loadtest.settings import Workload

_CONVERSATION = 1 << 20
"""Block hashes of one conversation; a prompt has fewer blocks."""


def shapes(
    workload: "Workload",
    count: int,
    *,
    rate: float,
    block_size: int,
    prefix_caching: bool,
    seed: int = 0,
    clients: int | None = None,
) -> tuple[Shape, ...]:
    """So many requests of a workload at `rate` requests a second, or of so many `clients` of a closed loop.

    Hashes of shared prefixes are negative, those of a conversation's own blocks positive. Prompts of a data set are
    counted at four bytes a token, as by the simulator's server.

    Raises:
        UsageError: the data set cannot be read.
    """
    import numpy as np

    from drydock.loadtest.prompts import draw_lengths
    from drydock.loadtest.settings import Lengths

    random = np.random.default_rng(seed)
    if workload.dataset is not None:
        return _of_dataset(workload.dataset, count, random, block_size if prefix_caching else 0)
    beside = max(1, clients or ceil(rate * workload.think_seconds)) if workload.turns > 1 else 1
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


def _of_dataset(path: "Path", count: int, random: "Generator", block_size: int) -> tuple[Shape, ...]:
    """Requests of a file's rows, in turn; a row's turns follow each other, with answers between them."""
    from drydock.loadtest.presets import read_dataset
    from drydock.loadtest.prompts import draw_lengths
    from drydock.loadtest.settings import Lengths
    from drydock.simulator.text import answer, block_hashes, chat_tokens, id_tokens

    rows = read_dataset(path)
    found: list[Shape] = []
    for index in range(count):
        row = rows[index % len(rows)]
        said = [(str(message.get("role")), _text(message)) for message in row.messages]
        outputs = draw_lengths(Lengths("lognormal", 220, 200), random, (len(row.turns),)).tolist()
        for turn, drawn in zip(row.turns, outputs, strict=True):
            output = row.output_tokens or max(1, int(drawn))
            said.append(("user", turn if isinstance(turn, str) else _text(turn)))
            tokens = id_tokens(row.token_ids) if row.token_ids else chat_tokens(said)
            found.append(Shape(len(tokens), output, tuple(block_hashes(tokens, block_size)) if block_size else ()))
            said.append(("assistant", "".join(answer(f"{index}", output))))
        if len(found) >= count:
            break
    return tuple(found[:count])


def _text(message: "Mapping[str, Any]") -> str:
    """Of a message, or of its parts that are text."""
    content = message.get("content")
    if isinstance(content, list):
        return "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _hashes(blocks: int, shared: int, conversation: int, group: int) -> Iterator[int]:
    for position in range(blocks):
        if position < shared:
            yield -1 - position - group * _CONVERSATION
        else:
            yield position + conversation * _CONVERSATION
