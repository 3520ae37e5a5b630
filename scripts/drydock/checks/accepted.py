"""Findings that an environment's file accepts: left out, and an entry that accepts nothing is reported."""

from collections.abc import Collection, Iterator

from drydock.checks.findings import Finding, Severity
from drydock.checks.origins import line_in
from drydock.checks.subject import Subject

UNUSED = "accepted-unused"


def unused(subject: Subject, found: Collection[Finding]) -> Iterator[Finding]:
    """Entries under `accepted` that match none of the findings.

    With files or values on top of the environment's own nothing is reported: they may have taken the object away.

    Args:
        subject: the environment.
        found: every finding of the checks.
    """
    environment = subject.rendered.environment
    if environment.altered:
        return
    pairs = {(finding.check, finding.object) for finding in found}
    objects = {finding.object for finding in found}
    for entry in environment.accepted:
        if (entry.check, entry.object) in pairs:
            continue
        others = sorted(finding.check for finding in found if finding.object == entry.object)
        same = sorted({finding.object for finding in found if finding.check == entry.check})
        if entry.object in objects:
            why = f"{entry.object} has no finding of that check, but {', '.join(dict.fromkeys(others))}"
        elif same:
            why = f"that check has findings on {', '.join(same)} only"
        else:
            why = "the check finds nothing in this environment"
        yield Finding(
            environment.name,
            UNUSED,
            f"The entry under accepted for {entry.check} on {entry.object} matches no finding: {why}.",
            f"Remove it from {environment.file.name}, or correct its check and object.",
            Severity.WARNING,
            object=entry.object,
            path=f"accepted.{entry.check}",
            file=str(environment.file),
            line=line_in(environment.file, entry.object),
        )
