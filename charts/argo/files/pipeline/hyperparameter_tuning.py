"""Stage 5, hyperparameter tuning: of the models that were validated, take the one with the lowest loss.

The workflow trains and validates the trials side by side, each as stages 3 and 4 do it; what they reported meets here.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import storage


class NoCandidateError(Exception):
    """No model was validated."""


def candidates(folder: Path) -> list[dict[str, Any]]:
    """Reports of the validation, the best first; of two alike, the one that comes first by name."""
    reports = [json.loads(file.read_text()) for file in sorted(folder.glob("*.json"))]
    return sorted(reports, key=lambda report: (report["loss"], report["name"]))


def main(argv: Sequence[str] | None = None) -> int:
    """Choose the best; the exit status.

    Raises:
        NoCandidateError: there is none.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", type=Path, required=True, help="folder of reports")
    parser.add_argument("--best", required=True, help="file to write")
    arguments = parser.parse_args(argv)
    ranked = candidates(arguments.candidates)
    if not ranked:
        raise NoCandidateError(f"{arguments.candidates} holds no report of a validation")
    for report in ranked:
        print(json.dumps(report))
    storage.write_json(ranked[0], arguments.best)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
