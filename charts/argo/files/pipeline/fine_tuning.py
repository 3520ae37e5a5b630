"""Stage 3, fine-tuning: train a model, and go on from the last checkpoint when the node was taken away.

Every checkpoint goes to `--checkpoint` under a folder of its own, and `latest.json` names it once it is whole. SIGTERM,
which comes up to two minutes before a spot instance goes, saves one more and ends with status 75, on which the workflow
tries again.
"""

import argparse
import base64
import json
import math
import os
import signal
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import language_model
import model_configuration
import storage
from language_model import Example
from model_configuration import Settings

INTERRUPTED = 75
"""Exit status: what was reached is saved, try again (EX_TEMPFAIL of sysexits)."""


class Interruption:
    """Whether the process was asked to end."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._note)

    def _note(self, _signal: int, _frame: Any) -> None:
        self.asked = True


def latest_step(checkpoint: str, settings: Settings) -> int:
    """Steps that the last whole checkpoint of the same settings holds, 0 without one."""
    try:
        latest = storage.read_json(storage.join(checkpoint, "latest.json"))
    except storage.NotThereError:
        return 0
    return int(latest["step"]) if latest["settings"] == asdict(settings) else 0


def save(checkpoint: str, step: int, settings: Settings, state: dict[str, Any]) -> None:
    """Put a checkpoint under its step, and only then name it."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        torch.save(state, Path(folder) / "state.pt")
        storage.put(Path(folder), storage.join(checkpoint, f"step-{step}"))
    publish(checkpoint, step, settings)


def publish(checkpoint: str, step: int, settings: Settings) -> None:
    """Name the checkpoint of a step as the last one, and remove the one before: each takes 12 bytes a parameter."""
    before = latest_step(checkpoint, settings)
    storage.write_json({"step": step, "settings": asdict(settings)}, storage.join(checkpoint, "latest.json"))
    if before not in (0, step):
        storage.remove(storage.join(checkpoint, f"step-{before}"))


def restore(checkpoint: str, step: int, device: Any) -> dict[str, Any]:
    """State of a checkpoint."""
    import torch

    with tempfile.TemporaryDirectory() as folder:
        file = storage.get(storage.join(checkpoint, f"step-{step}"), Path(folder)) / "state.pt"
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        return state


def train(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    settings: Settings,
    checkpoint: str,
    interruption: Interruption,
) -> bool:
    """Train to the end, or to an interruption; whether the end was reached."""
    import torch

    per_epoch = math.ceil(len(examples) / settings.batch_size)
    steps = per_epoch * settings.epochs
    optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    done = latest_step(checkpoint, settings)
    if done:
        state = restore(checkpoint, done, model.device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
    print(json.dumps({"examples": len(examples), "steps": steps, "from_step": done}), flush=True)
    model.train()
    for step in range(done, steps):
        epoch, position = divmod(step, per_epoch)
        chosen = language_model.order(len(examples), settings.seed, epoch)
        batch = chosen[position * settings.batch_size :][: settings.batch_size]
        rate = language_model.learning_rate(step, steps, settings.learning_rate, settings.warmup_share)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = _learn(model, tokenizer, [examples[each] for each in batch], settings.max_length)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if interruption.asked or (step + 1) % settings.checkpoint_steps == 0:
            save(checkpoint, step + 1, settings, {"model": model.state_dict(), "optimizer": optimizer.state_dict()})
            print(json.dumps({"step": step + 1, "loss": loss, "checkpoint": True}), flush=True)
        if interruption.asked:
            return False
    return True


def _learn(model: Any, tokenizer: Any, examples: Sequence[Example], tokens: int) -> float:
    """Add up the gradients of a batch, so many tokens at once, as if it had been one: its loss, 0 without a target."""
    count = language_model.targets(examples)
    total = 0.0
    for portion in language_model.portions(examples, tokens):
        if own := language_model.targets(portion):
            loss, _, _ = language_model.forward(model, tokenizer, portion)
            (loss * (own / count)).backward()
            total += loss.item() * own / count
    return total


def arguments_of(environment: Mapping[str, str]) -> list[str]:
    """The arguments that the variables TRAINING_* make: those that people choose are in base64.

    Raises:
        BadSettingError: the name of the trial could be more than a name.
    """
    models, name, changes = (
        base64.b64decode(environment[f"TRAINING_{part}"]).decode() for part in ("MODELS", "NAME", "CHANGES")
    )
    if not model_configuration.is_name(name):
        raise model_configuration.BadSettingError(f"{name!r} names no trial")
    folder = environment["TRAINING_FOLDER"]
    return [
        f"--dataset={storage.join(folder, 'dataset')}",
        f"--configuration={storage.join(folder, 'configuration.json')}",
        f"--changes={changes}",
        f"--checkpoint={storage.join(folder, 'checkpoints', name)}",
        f"--model={storage.join(models, environment['TRAINING_RUN'], name)}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Train a model; the exit status. Without arguments they come from the environment, as in a RayJob."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--configuration", required=True)
    parser.add_argument("--changes", type=json.loads, default={}, help="JSON object of settings of a trial")
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--model", required=True, help="address of the trained model")
    if argv is None and "TRAINING_NAME" in os.environ:
        argv = arguments_of(os.environ)
    arguments = parser.parse_args(argv)
    interruption = Interruption()
    settings = model_configuration.load(arguments.configuration, arguments.changes)
    with tempfile.TemporaryDirectory() as folder:
        dataset = storage.get(arguments.dataset, Path(folder) / "dataset")
        model, tokenizer = language_model.load(settings.base_model)
        rows = language_model.read_examples(dataset, "train")
        encoded = [language_model.encode(tokenizer, row, settings.max_length) for row in rows]
        if not train(model, tokenizer, encoded, settings, arguments.checkpoint, interruption):
            return INTERRUPTED
        trained = Path(folder) / "model"
        model.save_pretrained(trained)
        tokenizer.save_pretrained(trained)
        storage.put(trained, arguments.model)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
