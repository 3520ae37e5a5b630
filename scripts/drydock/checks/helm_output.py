"""What Helm says when it refuses, as findings that point to a template or a values file."""

import re
from collections.abc import Iterator, Sequence

from drydock.checks.findings import Finding, Severity
from drydock.checks.origins import Origins
from drydock.checks.subject import template_file
from drydock.suite.environments import Environment
from drydock.suite.render import helm_error
from drydock.suite.sources import HelmRelease

RENDER = "render"
LINT = "helm-lint"
_MISSING_DEPENDENCIES = "but missing in charts/"
SCHEMA_REFUSAL = "values don't meet the specifications of the schema(s)"

_PLACE = r"\(?(?P<template>[\w.-]+/(?:charts/[\w.-]+/)*templates/[^\s:()]+):(?P<line>\d+):\d+\)?:?\s*(?P<reason>.*)"
_RAISED = re.compile(r"(?:execution error at |template: )?" + _PLACE, re.DOTALL)
_VALUE = re.compile(r"((?:global|[a-zA-Z][\w-]*)(?:\.[\w-]+)*): ")
"""How charts of the suite begin a refusal: with the path of the value in the chart."""
_NOT_YAML = re.compile(
    r"YAML parse error on (?P<template>\S+): (?:error converting YAML to JSON: )?(?P<reason>.*)", re.DOTALL
)
_BAD_FILE = re.compile(r"failed to parse (?P<file>[^:]+): .*?yaml: (?:line (?P<line>\d+): )?(?P<reason>.*)", re.DOTALL)
_LINT_CHART = re.compile(r"^==> Linting (\S+)$")
_LINT_MESSAGE = re.compile(r"^\[(INFO|WARNING|ERROR)\] (.*)$")
_LINT_SEVERITIES = {"WARNING": Severity.WARNING, "ERROR": Severity.ERROR}


def release_refusal(environment: Environment, release: HelmRelease, stderr: str, *, versions: str = "") -> Finding:
    """What a failed `helm template` of a chart that is not the suite's amounts to, in Helm's words."""
    said = helm_error(stderr)
    raised = _RAISED.search(said)
    template = raised["template"] if raised else ""
    only = f" ({versions} only)" if versions else ""
    remedy = "Correct its values or the chart, as Helm says."
    if _MISSING_DEPENDENCIES in said:
        remedy = f"helm dependency update {release.reference}"
    return Finding(
        environment.name,
        RENDER,
        _one_line(raised["reason"] if raised else said) + only,
        remedy,
        chart=_chart(template) if template else "",
        template=template,
        file=release.file_of(template) if template else release.reference,
        line=int(raised["line"]) if raised else 0,
        release=release.name,
    )


def refusal(environment: Environment, stderr: str, *, versions: str = "") -> Finding:
    """The one finding that a failed `helm template` amounts to, at the value that a chart refuses where it names one.

    Args:
        environment: that does not render.
        stderr: what Helm wrote.
        versions: which Helm refuses, when not all do.
    """
    said = helm_error(stderr)
    only = f" ({versions} only)" if versions else ""
    raised = _RAISED.search(said)
    if raised:
        return _raised(environment, raised, only)
    not_yaml = _NOT_YAML.search(said)
    if not_yaml:
        template = not_yaml["template"]
        reason = f"The template renders what is not YAML: {_one_line(not_yaml['reason'])}{only}"
        remedy = "Look at the lines that `helm template --debug` prints for it."
        return Finding(
            environment.name,
            RENDER,
            reason,
            remedy,
            chart=_chart(template),
            template=template,
            file=template_file(template),
        )
    bad_file = _BAD_FILE.search(said)
    if bad_file:
        reason = f"The values file is not YAML: {_one_line(bad_file['reason'])}{only}"
        line = int(bad_file["line"] or 0)
        return Finding(environment.name, RENDER, reason, "Correct the file.", file=bad_file["file"], line=line)
    remedy = "Correct the values or the chart, as Helm says."
    if "--set" in said:
        remedy = "Write it as Helm takes it: --set KEY=VALUE, with KEY dotted."
    return Finding(environment.name, RENDER, _one_line(said) + only, remedy)


def _raised(environment: Environment, raised: re.Match[str], only: str) -> Finding:
    """What a template refuses; charts begin the reason with the path of the value."""
    template = raised["template"]
    reason = _one_line(raised["reason"])
    scope = tuple(template.partition("/templates/")[0].split("/charts/")[1:])
    named = _VALUE.match(reason)
    path = (*scope, *named[1].split(".")) if named else ()
    if named and named[1].startswith("global."):
        path = tuple(named[1].split("."))
    place = Origins.of(environment).value(path) if path else None
    remedy = "Correct the template, or the value that it reads."
    if "executing " not in raised["reason"]:
        remedy = f"Set {'.'.join(path)} as the chart asks." if path else "Set the values as the chart asks."
    return Finding(
        environment.name,
        RENDER,
        reason + only + (place.suffix if place else ""),
        remedy,
        chart=_chart(template),
        template=template,
        path=".".join(path),
        file=place.file if place and place.file else template_file(template),
        line=place.line if place and place.file else int(raised["line"]),
    )


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
        remedy="Correct the chart, or the default values that it is linted with.",
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


def versions_of(names: Sequence[str]) -> str:
    """`Helm 3` of `helm3`."""
    return " and ".join(name.replace("helm", "Helm ") for name in names)
