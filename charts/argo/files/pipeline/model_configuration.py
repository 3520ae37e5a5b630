"""Stage 2, model configuration: settings of a training, checked before a GPU is bought for them."""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import storage

_LIMITS = {
    "learning_rate": (0.0, 1.0),
    "epochs": (1, 1000),
    "batch_size": (1, 4096),
    "max_length": (8, 1_048_576),
    "weight_decay": (0.0, 1.0),
    "warmup_share": (0.0, 0.9),
    "checkpoint_steps": (1, 1_000_000),
    "seed": (0, 2**31 - 1),
}


_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")


class BadSettingError(Exception):
    """A setting is unknown, or outside of what can be trained."""


@dataclass(frozen=True)
class Settings:
    """How a model is trained.

    Attributes:
        base_model: id on the Hugging Face Hub, or address of a folder.
        learning_rate: highest of the run.
        epochs: times that all examples are seen.
        batch_size: examples of a step.
        max_length: tokens of an example; longer ones are cut.
        weight_decay: of AdamW.
        warmup_share: share of the steps over which the learning rate rises.
        checkpoint_steps: steps between checkpoints.
        seed: of the order of the examples.
    """

    base_model: str
    learning_rate: float = 1e-5
    epochs: int = 1
    batch_size: int = 8
    max_length: int = 1024
    weight_decay: float = 0.01
    warmup_share: float = 0.05
    checkpoint_steps: int = 100
    seed: int = 0

    def but(self, changes: Mapping[str, Any]) -> "Settings":
        """These settings with some changed, by names of either spelling; `name` names a trial and is no setting.

        Raises:
            BadSettingError: one is unknown or out of its range.
        """
        types = {each.name: type(getattr(self, each.name)) for each in fields(self)}
        values: dict[str, Any] = {}
        for key, value in changes.items():
            name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
            if name == "name":
                continue
            if name not in types:
                raise BadSettingError(f"{key}: no setting; there are {', '.join(sorted(types))}")
            values[name] = _converted(key, value, types[name])
        return replace(self, **values)


def _converted(key: str, value: Any, kind: type) -> Any:
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in key)
    if kind is str:
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise BadSettingError(f"{key}: {value!r} is no number") from error
    least, most = _LIMITS[name]
    if not least <= number <= most or (name == "learning_rate" and not number):
        raise BadSettingError(f"{key}: {value} is not between {least} and {most}")
    if kind is int and number != int(number):
        raise BadSettingError(f"{key}: {value} is no whole number")
    return kind(number)


def is_name(name: Any) -> bool:
    """Whether something may name a trial: the name becomes part of keys, paths and objects."""
    return isinstance(name, str) and bool(_NAME.fullmatch(name))


def load(address: str, changes: Mapping[str, Any]) -> Settings:
    """Settings of a file, with those of a trial over them."""
    content = storage.read_json(address)
    return Settings(content["base_model"]).but(content).but(changes)


def main(argv: Sequence[str] | None = None) -> int:
    """Check and write the settings; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base-model", required=True)
    parser.add_argument("--settings", type=json.loads, default={}, help="JSON object")
    parser.add_argument("--trials", type=json.loads, default=[], help="JSON list of objects, each with a name")
    parser.add_argument("--configuration", required=True, help="file to write")
    arguments = parser.parse_args(argv)
    settings = Settings(arguments.base_model).but(arguments.settings)
    names = [trial.get("name") for trial in arguments.trials]
    if len(set(map(str, names))) < len(names) or not all(map(is_name, names)) or "base" in names:
        raise BadSettingError(
            "trials: each needs a name of its own other than base, of a-z, 0-9 and -, at most 40 characters, "
            f"not {names}"
        )
    for trial in arguments.trials:
        settings.but(trial)
    storage.write_json(asdict(settings), arguments.configuration)
    print(json.dumps(asdict(settings)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
