"""Stage 4, validation: does a trained model load, and how well does it predict examples that it was not trained on?"""

import argparse
import json
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import language_model
import model_configuration
import storage

UNUSABLE = 4
"""Exit status: the training went wrong, and to do it again would do the same."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure a model on the validation split; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--configuration", required=True)
    parser.add_argument("--changes", type=json.loads, default={})
    parser.add_argument("--model", required=True)
    parser.add_argument("--report", required=True)
    arguments = parser.parse_args(argv)
    settings = model_configuration.load(arguments.configuration, arguments.changes)
    with tempfile.TemporaryDirectory() as folder:
        dataset = storage.get(arguments.dataset, Path(folder))
        model, tokenizer = language_model.load(arguments.model)
        rows = language_model.read_examples(dataset, "validation")
        encoded = [language_model.encode(tokenizer, row, settings.max_length) for row in rows]
        measured = language_model.measure(model, tokenizer, encoded, settings.max_length)
    report = {"name": arguments.name, "model": arguments.model, "changes": arguments.changes, **measured}
    print(json.dumps(report))
    if not math.isfinite(measured["loss"]):
        print(f"the loss of {arguments.name} is {measured['loss']}: lower the learning rate")
        return UNUSABLE
    storage.write_json(report, arguments.report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
