"""A report as one self-contained HTML page: no script, nothing fetched, light and dark, fit to print."""

from pathlib import Path

from drydock.report.model import RehearsalReport

_TEMPLATES = Path(__file__).parent / "templates"


def render_html(report: RehearsalReport) -> str:
    """The page; the same report always gives the same text."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    from drydock.report import summary
    from drydock.report.html.figures import Page

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    filters = {
        "accelerators": summary.accelerators_text,
        "cold_start": summary.cold_start_parts,
        "hourly": summary.hourly,
        "monthly": summary.monthly,
        "seconds": summary.seconds_text,
        "percent": _percent,
    }
    environment.filters.update(filters)
    environment.globals["counted"] = summary.counted
    return environment.get_template("report.html.j2").render(page=Page(report), report=report)


def _percent(value: float) -> str:
    return f"{value:.2f}%"


def _printable(value: object) -> object:
    from drydock.report.summary import printable

    return printable(value) if type(value) is str else value
