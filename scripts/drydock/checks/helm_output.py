"""What Helm says when it refuses, as findings that point to a template or a values file."""

import re
from collections.abc import Iterator, Sequence

from drydock.checks.subject import template_file
from drydock.findings import Finding, Severity

RENDER = "render"
LINT = "helm-lint"
SCHEMA_REFUSAL = "values don't meet the specifications of the schema(s)"

_PLACE = r"\(?(?P<template>[\w.-]+/(?:charts/[\w.-]+/)*templates/[^\s:()]+):(?P<line>\d+):\d+\)?:?\s*(?P<reason>.*)"
_RAISED = re.compile(r"(?:execution error at |template: )?" + _PLACE, re.DOTALL)
_NOT_YAML = re.compile(
    r"YAML parse error on (?P<template>\S+): (?:error converting YAML to JSON: )?(?P<reason>.*)", re.DOTALL
)
_BAD_FILE = re.compile(r"failed to parse (?P<file>[^:]+): .*?yaml: (?:line (?P<line>\d+): )?(?P<reason>.*)", re.DOTALL)
_HINT = "Use --debug flag to render out invalid YAML"
_LINT_CHART = re.compile(r"^==> Linting (\S+)$")
_LINT_MESSAGE = re.compile(r"^\[(INFO|WARNING|ERROR)\] (.*)$")
_LINT_SEVERITIES = {"WARNING": Severity.WARNING, "ERROR": Severity.ERROR}


def refusal(environment: str, stderr: str, *, versions: str = "") -> Finding:
    """The one finding that a failed `helm template` amounts to.

    Args:
        environment: its name.
        stderr: what Helm wrote.
        versions: which Helm refuses, when not all do.
    """
    said = stderr.replace(_HINT, "").strip().removeprefix("Error: ")
    only = f" ({versions} only)" if versions else ""
    raised = _RAISED.search(said)
    if raised:
        template = raised["template"]
        return Finding(
            environment,
            RENDER,
            _one_line(raised["reason"]) + only,
            _remedy(raised["reason"]),
            chart=_chart(template),
            template=template,
            file=template_file(template),
            line=int(raised["line"]),
        )
    not_yaml = _NOT_YAML.search(said)
    if not_yaml:
        template = not_yaml["template"]
        reason = f"The template renders what is not YAML: {_one_line(not_yaml['reason'])}{only}"
        remedy = "Look at the lines that `helm template --debug` prints for it."
        return Finding(
            environment, RENDER, reason, remedy, chart=_chart(template), template=template, file=template_file(template)
        )
    bad_file = _BAD_FILE.search(said)
    if bad_file:
        reason = f"The values file is not YAML: {_one_line(bad_file['reason'])}{only}"
        line = int(bad_file["line"] or 0)
        return Finding(environment, RENDER, reason, "Correct the file.", file=bad_file["file"], line=line)
    return Finding(environment, RENDER, _one_line(said) + only)


def lint_findings(output: str) -> Iterator[Finding]:
    """Warnings and errors of `helm lint` of several charts, whose folders are named as the charts."""
    chart = ""
    entries: list[tuple[str, str, list[str]]] = []
    for line in output.splitlines():
        linted, begun = _LINT_CHART.match(line), _LINT_MESSAGE.match(line)
        if linted:
            chart = linted[1].rstrip("/").rpartition("/")[2]
        elif begun:
            entries.append((chart, begun[1], [begun[2]]))
        elif line.startswith(" ") and entries:
            entries[-1][2].append(line)  # Helm 4 spreads one error over several lines
    for name, level, lines in entries:
        if level in _LINT_SEVERITIES:
            yield _lint_finding(name, _LINT_SEVERITIES[level], " ".join(lines))


def _lint_finding(chart: str, severity: Severity, message: str) -> Finding:
    where, separator, reason = message.partition(": ")
    raised = _RAISED.search(message)
    file = (
        template_file(raised["template"]) if raised else f"charts/{chart}/{where}" if separator else f"charts/{chart}"
    )
    return Finding(
        environment="",
        check=LINT,
        reason=_one_line(reason if separator else message),
        severity=severity,
        chart=chart,
        template=raised["template"] if raised else "",
        file=file,
        line=int(raised["line"]) if raised else 0,
    )


def _chart(template: str) -> str:
    return template.partition("/templates/")[0].rpartition("/")[2]


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _remedy(reason: str) -> str:
    """Charts of the suite say in their own words what to set; Go's template errors do not."""
    return "" if "executing " not in reason else "Correct the template, or the value that it reads."


def versions_of(names: Sequence[str]) -> str:
    """`Helm 3` of `helm3`."""
    return " and ".join(name.replace("helm", "Helm ") for name in names)
