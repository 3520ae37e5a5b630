"""A causal language model of transformers: examples as tokens, batches, and how well it predicts."""

import json
import math
import random
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import storage

Example = tuple[list[int], list[int]]
IGNORED = -100
"""Label of a token that counts for nothing, as torch has it."""


def read_examples(dataset: Path, split: str) -> list[dict[str, str]]:
    """Examples of one split of a prepared data set."""
    return [json.loads(line) for line in (dataset / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]


def encode(tokenizer: Any, example: dict[str, str], max_length: int) -> Example:
    """Tokens of an example, and their labels: what is learnt is the completion, not the prompt."""
    prompt = tokenizer(example["prompt"])["input_ids"] if example["prompt"] else []
    completion = tokenizer(example["completion"], add_special_tokens=not prompt)["input_ids"]
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    tokens = [*prompt, *completion, *end][:max_length]
    return tokens, [*[IGNORED] * len(prompt), *completion, *end][:max_length]


def order(count: int, seed: int, epoch: int) -> list[int]:
    """Positions of the examples in the order of an epoch, the same each time."""
    positions = list(range(count))
    random.Random(f"{seed}/{epoch}").shuffle(positions)  # noqa: S311
    return positions


def learning_rate(step: int, steps: int, highest: float, warmup_share: float) -> float:
    """Learning rate of a step: a linear rise, then half a cosine down to nothing."""
    warmup = max(1, round(steps * warmup_share))
    if step < warmup:
        return highest * (step + 1) / warmup
    return highest * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def padded(examples: Sequence[Example], padding: int) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    """Tokens, labels and attention mask of a batch, filled up to its longest example."""
    width = max(len(tokens) for tokens, _ in examples)
    return (
        [[*tokens, *[padding] * (width - len(tokens))] for tokens, _ in examples],
        [[*labels, *[IGNORED] * (width - len(labels))] for _, labels in examples],
        [[*[1] * len(tokens), *[0] * (width - len(tokens))] for tokens, _ in examples],
    )


def load(address: str) -> tuple[Any, Any]:
    """Model, on the GPU if there is one, and tokenizer, from the Hub, S3 or a folder."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with tempfile.TemporaryDirectory() as folder:
        path = str(storage.get(address, Path(folder))) if storage.is_s3(address) else address
        tokenizer = AutoTokenizer.from_pretrained(path)
        # Weights stay in 32 bit, or small steps would be lost in AdamW; the arithmetic on a GPU is in bfloat16.
        model = AutoModelForCausalLM.from_pretrained(path).float()
        return model.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer


def forward(model: Any, tokenizer: Any, examples: Sequence[Example]) -> tuple[Any, Any, Any]:
    """Loss, logits and labels of a batch."""
    import torch

    device = model.device
    padding = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id or 0
    tokens, labels, mask = (torch.tensor(each, device=device) for each in padded(examples, padding))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        answer = model(input_ids=tokens, attention_mask=mask, labels=labels)
    return answer.loss, answer.logits, labels


def portions(examples: Sequence[Example], tokens: int) -> Iterator[Sequence[Example]]:
    """Examples in groups that have at most so many tokens once they are padded; a longer one is alone.

    Logits and loss over a vocabulary of 150 000 take 4.5 MiB a token in 32 bit, so tokens, not examples, fill a GPU.
    """
    portion: list[Example] = []
    for example in examples:
        width = max(len(each) for each, _ in [*portion, example])
        if portion and width * (len(portion) + 1) > tokens:
            yield portion
            portion = []
        portion.append(example)
    if portion:
        yield portion


def targets(examples: Sequence[Example]) -> int:
    """Tokens that the loss of examples is the mean over: the first token of each is predicted from nothing."""
    return sum(label != IGNORED for _, labels in examples for label in labels[1:])


def measure(model: Any, tokenizer: Any, examples: Sequence[Example], tokens: int) -> dict[str, float]:
    """Loss, perplexity and accuracy of a model, with so many tokens at once.

    `loss` is that of a token, `accuracy` the share of the tokens that the model would have said itself.
    """
    import torch

    model.eval()
    total, right, count = 0.0, 0, 0
    with torch.no_grad():
        for batch in portions(examples, tokens):
            loss, logits, labels = forward(model, tokenizer, batch)
            asked = labels[:, 1:] != IGNORED
            number = int(asked.sum())
            total += loss.item() * number if number else 0.0
            right += int((logits[:, :-1].argmax(-1) == labels[:, 1:])[asked].sum())
            count += number
    loss_of = total / max(1, count)
    return {"loss": loss_of, "perplexity": math.exp(min(loss_of, 700)), "accuracy": right / max(1, count)}
