"""An evaluation as one self-contained page: no script, nothing fetched."""

from collections.abc import Sequence
from pathlib import Path

from drydock.evaluation.evaluations import PASSED, Comparison, Evaluation, Gate, items
from drydock.report.html.kit import page_environment

_TEMPLATES = Path(__file__).parent / "templates"


def render_evaluation(evaluation: Evaluation, comparison: Comparison | None, found: Sequence[Gate]) -> str:
    """The page; the same evaluation always gives the same text."""
    template = page_environment(_TEMPLATES).get_template("evaluation.html.j2")
    return template.render(
        models=[evaluation.to_dict(), *([comparison.second.to_dict()] if comparison else [])],
        comparison=comparison,
        gates=found,
        passed=all(gate.verdict == PASSED for gate in found),
        items=items(evaluation, comparison),
    )
