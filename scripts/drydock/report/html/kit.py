"""What the pages of rehearsals, load tests and plans share: a style sheet, and text that cannot break out."""

from pathlib import Path
from typing import TYPE_CHECKING

from drydock.report.summary import printable

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATES = Path(__file__).parent / "templates"


def page_environment(*templates: Path) -> "Environment":
    """Templates of these folders and of reports: escaped, no control characters, a missing value is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader([*templates, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )


def _printable(value: object) -> object:
    return printable(value) if type(value) is str else value
