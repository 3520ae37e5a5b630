"""A report as one self-contained HTML page: no script, nothing fetched, light and dark, fit to print."""

from drydock.report.model import RehearsalReport


def render_html(report: RehearsalReport) -> str:
    """The page; the same report always gives the same text."""
    from drydock.report import summary
    from drydock.report.html.figures import Page
    from drydock.report.html.kit import page_environment

    environment = page_environment()
    filters = {
        "accelerators": summary.accelerators_text,
        "cold_start": summary.cold_start_parts,
        "outcome": summary.fault_outcome,
        "recovery": summary.recovery_text,
        "hourly": summary.hourly,
        "model_sentence": summary.model_sentence,
        "monthly": summary.monthly,
        "seconds": summary.seconds_text,
        "spread": summary.spread_text,
        "first_names": summary.first_names,
        "percent": _percent,
    }
    environment.filters.update(filters)
    environment.globals["counted"] = summary.counted
    return environment.get_template("report.html.j2").render(page=Page(report), report=report)


def _percent(value: float) -> str:
    return f"{value:.2f}%"
