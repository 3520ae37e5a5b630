"""Findings that are accepted with a reason: listed apart, and an entry of a file that accepts nothing is reported."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from drydock.checks.findings import Finding, Severity
from drydock.checks.origins import line_in
from drydock.checks.subject import Subject
from drydock.suite.environments import OF_STAND_IN_NODES, Environment
from drydock.suite.manifests import Manifest

UNUSED = "accepted-unused"
Key = tuple[str, str]
"""A check and an object."""
_COMMENT = re.compile(r"#[ \t]*drydock:accept[ \t]+([\w-]+)[ \t]+(\S[^\n]{9,})")
_ANNOTATION = "accept.drydock.dev/"
_SHORTEST = 10
"""Characters of a reason."""


def reasons(environment: Environment, manifests: Sequence[Manifest]) -> Mapping[Key, str]:
    """Why findings are accepted: by the environment's file, or by a comment or annotation in manifests of others.

    A comment is `# drydock:accept CHECK REASON`; an annotation has the key `accept.drydock.dev/CHECK`, and outlives
    Kustomize.
    """
    found = {(item.check, item.object): item.reason for item in environment.accepted}
    for manifest in (item for item in manifests if item.source):
        for check, reason in _COMMENT.findall(manifest.text):
            found[check, manifest.identity] = reason.strip()
        for key, reason in ((manifest.content.get("metadata") or {}).get("annotations") or {}).items():
            if str(key).startswith(_ANNOTATION) and len(str(reason)) >= _SHORTEST:
                found[str(key).removeprefix(_ANNOTATION), manifest.identity] = str(reason)
    return found


def sentences(environment: Environment, manifests: Sequence[Manifest]) -> tuple[str, ...]:
    """For a report: what is accepted, and why."""
    own = {(item.check, item.object) for item in OF_STAND_IN_NODES}
    return tuple(
        f"{check} on {subject} is accepted: {reason}"
        for (check, subject), reason in sorted(reasons(environment, manifests).items())
        if (check, subject) not in own
    )


def marked(findings: Iterable[Finding], why: Mapping[Key, str]) -> Iterator[Finding]:
    """The findings, each that is accepted with that severity and its reason; those on stand-in nodes are left out."""
    own = {(item.check, item.object) for item in OF_STAND_IN_NODES}
    for item in findings:
        key = (item.check, item.object)
        if key not in why:
            yield item
        elif key not in own:
            yield replace(item, severity=Severity.ACCEPTED, accepted=why[key])


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
