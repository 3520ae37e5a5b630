"""Stage 6, model evaluation: the best model beside the base model, on examples that nothing was chosen by."""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import language_model
import model_configuration
import storage

REFUSED = 3
"""Exit status: the model is not good enough to be deployed."""


def refusals(best: Mapping[str, float], base: Mapping[str, float], least: float, gain: float) -> list[str]:
    """Why a model is not to be deployed, nothing when it is."""
    reasons = []
    if best["accuracy"] < least:
        reasons.append(f"its score is {best['accuracy']:.4f}, below the minimum of {least:.4f}")
    if best["accuracy"] - base["accuracy"] < gain:
        reasons.append(
            f"it gains {best['accuracy'] - base['accuracy']:+.4f} over the base model, and {gain:+.4f} is asked for"
        )
    return reasons


def main(argv: Sequence[str] | None = None) -> int:
    """Measure the best and the base model on the test split; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--configuration", required=True)
    parser.add_argument("--best", required=True)
    parser.add_argument("--minimum-score", type=float, default=0.0)
    parser.add_argument("--minimum-gain", type=float, default=0.0)
    parser.add_argument("--report", required=True)
    arguments = parser.parse_args(argv)
    settings = model_configuration.load(arguments.configuration, {})
    chosen = storage.read_json(arguments.best)
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        dataset = storage.get(arguments.dataset, Path(folder))
        rows = language_model.read_examples(dataset, "test")
        for name, address in ("base", settings.base_model), ("best", chosen["model"]):
            model, tokenizer = language_model.load(address)
            encoded = [language_model.encode(tokenizer, row, settings.max_length) for row in rows]
            measured[name] = language_model.measure(model, tokenizer, encoded, settings.max_length)
    reasons = refusals(measured["best"], measured["base"], arguments.minimum_score, arguments.minimum_gain)
    report = {"model": chosen["model"], "name": chosen["name"], "refused": reasons, **measured}
    storage.write_json(report, arguments.report)
    print(json.dumps(report))
    for reason in reasons:
        print(f"{chosen['name']} is not deployed: {reason}")
    return REFUSED if reasons else 0


if __name__ == "__main__":
    raise SystemExit(main())
