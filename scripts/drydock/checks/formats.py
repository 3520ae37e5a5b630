"""Findings for people, for programs, for code scanning (SARIF 2.1.0) and for GitHub's workflow log."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import drydock
from drydock.checks.findings import Finding, Severity

_INFORMATION = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json"


def text(findings: Sequence[Finding]) -> str:
    """Findings by environment, each with what, where, why and the way out, and a summary in the last line."""
    return "\n".join([*_text_lines(findings), summary(findings)])


def summary(findings: Sequence[Finding]) -> str:
    """`2 errors and 1 warning`, or that nothing was found."""
    counts = {severity: sum(finding.severity is severity for finding in findings) for severity in Severity}
    accepted = counts.pop(Severity.ACCEPTED)
    parts = [f"{count} {severity}{'s' * (count != 1)}" for severity, count in counts.items() if count]
    found = " and ".join(filter(None, (", ".join(parts[:-1]), *parts[-1:]))) or "Nothing found."
    return f"{found.removesuffix('.')} ({accepted} accepted with a reason)" if accepted else found


def as_json(findings: Sequence[Finding]) -> str:
    """A list of objects, one a finding, without what is empty."""
    return json.dumps([finding.to_dict() for finding in findings], indent=2)


def github(findings: Sequence[Finding]) -> str:
    """Workflow commands that put each finding beside its line in a pull request; what is accepted has none."""
    return "\n".join(_workflow_command(finding) for finding in findings if finding.severity in _GITHUB_COMMANDS)


def sarif(findings: Sequence[Finding]) -> str:
    """A SARIF 2.1.0 log of one run, for code scanning."""
    from drydock.checks.registry import RULES

    used = {finding.check for finding in findings}
    rules = [
        {
            "id": rule.id,
            "shortDescription": {"text": rule.title},
            "properties": {"pain": rule.pain} if rule.pain else {},
        }
        for rule in RULES
        if rule.id in used
    ]
    driver = {"name": "drydock", "version": drydock.__version__, "rules": rules}
    run = {"tool": {"driver": driver}, "results": [_sarif_result(finding) for finding in findings]}
    return json.dumps({"$schema": _INFORMATION, "version": "2.1.0", "runs": [run]}, indent=2)


FORMATS: Mapping[str, Callable[[Sequence[Finding]], str]] = {
    "text": text,
    "json": as_json,
    "sarif": sarif,
    "github": github,
}
"""Writers by the name that `--format` takes."""

_MARKS = {Severity.ERROR: "✗", Severity.WARNING: "!", Severity.NOTE: "·", Severity.ACCEPTED: "✓"}
_GITHUB_COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "notice"}


def _text_lines(findings: Sequence[Finding]) -> Iterator[str]:
    for environment, group in groupby(findings, key=lambda each: each.environment):
        yield environment or "charts"
        for each in group:
            mark = _MARKS[each.severity]
            place = f"{each.file}:{each.line}" if each.line else each.file
            subject = " ".join(part for part in (each.object, each.path) if part)
            yield f"  {mark} {each.check}  {' · '.join(part for part in (subject, place) if part)}"
            yield f"      {each.reason}"
            if each.accepted:
                yield f"      accepted: {each.accepted}"
                continue
            if each.remedy:
                yield f"      → {each.remedy}"
            yield from (f"      ↳ {consequence}" for consequence in each.consequences)
        yield ""


def _message(finding: Finding) -> str:
    where = " ".join(part for part in (finding.environment, finding.object, finding.path) if part)
    return " ".join(part for part in (f"{where}:" if where else "", finding.reason, finding.remedy) if part)


def _workflow_command(finding: Finding) -> str:
    properties = {"file": finding.file, "line": str(finding.line or ""), "title": finding.check}
    shown = ",".join(f"{key}={_escaped(value, ',:')}" for key, value in properties.items() if value)
    return f"::{_GITHUB_COMMANDS[finding.severity]} {shown}::{_escaped(_message(finding))}"


def _escaped(value: str, more: str = "") -> str:
    """GitHub's own escapes: percent and line ends everywhere, comma and colon in properties."""
    for character in ("%", "\r", "\n", *more):
        value = value.replace(character, f"%{ord(character):02X}")
    return value


def _sarif_result(finding: Finding) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.check,
        "level": "none" if finding.accepted else str(finding.severity),
        "message": {"text": _message(finding)},
        "properties": {key: value for key, value in finding.to_dict().items() if key not in ("check", "severity")},
    }
    if finding.accepted:
        result["suppressions"] = [{"kind": "external", "justification": finding.accepted}]
    if finding.file:
        location: dict[str, Any] = {"artifactLocation": {"uri": finding.file}}
        if finding.line:
            location["region"] = {"startLine": finding.line}
        result["locations"] = [{"physicalLocation": location}]
    return result
