"""Regions and zones that values, node pools and reservations name exist, and belong together."""

import difflib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from drydock.checks.findings import Finding, Severity
from drydock.checks.origins import Origins, line_in
from drydock.checks.subject import Subject
from drydock.checks.values_files import Place
from drydock.errors import DrydockError
from drydock.scheduling.account import global_values
from drydock.scheduling.instance_types.labels import ZONE
from drydock.scheduling.pools import Pool
from drydock.suite.environments import Environment

CHECK = "zone"
REGION = "region"

_ZONE = re.compile(r"([a-z]{2}(?:-[a-z]+)+-[0-9]+)([a-z])")
_LOCAL = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]+(?:-[a-z0-9]+)+-[0-9]+[a-z]?")
"""A Local Zone or a Wavelength Zone, such as us-west-2-lax-1a."""


def check(subject: Subject) -> Iterator[Finding]:
    """Zones that the region does not have."""
    known = known_zones(subject)
    if not known:
        return  # the region itself is reported
    for zone, place in _named_by_environment(subject.rendered.environment, subject.origins):
        if zone not in known:
            yield _finding(subject, zone, known, place)
    told = {zone for zone, _ in _named_by_environment(subject.rendered.environment, subject.origins)}
    for pool in subject.pools:
        for zone in sorted(wrong_zones(pool, known) - told):
            reason, remedy, severity = _judged(zone, subject.account.region, known)
            yield subject.finding(
                CHECK,
                pool.manifest,
                f"{reason}.",
                remedy,
                path="spec.template.spec.requirements",
                severity=severity,
                value=zone,
            )


def known_zones(subject: Subject) -> frozenset[str]:
    """Zones of the region in which the catalogue has instance types."""
    return frozenset(zone for facts in subject.catalogue.types.values() for zone in facts.zones)


def wrong_zones(pool: Pool, known: frozenset[str]) -> frozenset[str]:
    """Zones that a pool requires and its region does not have."""
    wanted = pool.requirements.get(ZONE)
    return wanted.values - known if wanted and wanted.operator == "In" else frozenset()


def cause_of(subject: Subject, pool: Pool) -> str:
    """The finding on a wrong zone that a pool without instance types follows from; empty without one."""
    known = known_zones(subject)
    named = {zone for zone, _ in _named_by_environment(subject.rendered.environment, subject.origins)}
    wrong = wrong_zones(pool, known) or (frozenset() if set(subject.account.zones) & known else named - known)
    if not wrong:
        return ""
    return CHECK if wrong & named else f"{CHECK} {pool.manifest.identity}"


def region_finding(environment: Environment, region: str, error: DrydockError) -> Finding:
    """Why nothing is known of a region: EC2 does not have it, or the catalogue of instance types does not."""
    place = Origins.of(environment).global_value("region", region) or Place("", 0)
    if region in aws_regions():
        return Finding(
            environment.name,
            REGION,
            f"The catalogue of instance types of Moto {version('moto')} has no region {region} "
            f"({aws_regions()[region]}): whether pods find nodes there is not judged{place.suffix}.",
            "Judge the environment with --set global.region and global.zones of a region that the catalogue has.",
            Severity.WARNING,
            path="global.region",
            file=place.file,
            line=place.line,
        )
    near = difflib.get_close_matches(region, sorted(aws_regions()), 1)
    guess = f"Did you mean {near[0]}? " if near else ""
    return Finding(
        environment.name,
        REGION,
        f"AWS has no region {region}{place.suffix}.",
        f"{guess}{error.remedy}",
        path="global.region",
        file=place.file,
        line=place.line,
    )


@lru_cache(maxsize=1)
def aws_regions() -> Mapping[str, str]:
    """Every region of AWS with its name, as the installed botocore knows them; botocore itself is not imported."""
    spec = importlib.util.find_spec("botocore")
    if spec is None or spec.origin is None:
        return {}
    partitions = json.loads((Path(spec.origin).parent / "data" / "endpoints.json").read_bytes())["partitions"]
    return {name: each["description"] for partition in partitions for name, each in partition["regions"].items()}


def _named_by_environment(environment: Environment, origins: Origins) -> list[tuple[str, Place]]:
    """Zones of `global.zones` and of reservations, each with its place."""
    found = {
        str(zone): origins.global_value("zones", str(zone)) or Place("", 0)
        for zone in global_values(environment).get("zones") or ()
    }
    for reservation in environment.capacity_reservations:
        found.setdefault(reservation.zone, Place(str(environment.file), line_in(environment.file, reservation.zone)))
    return sorted(found.items(), key=lambda each: each[0])


def _judged(zone: str, region: str, known: frozenset[str]) -> tuple[str, str, Severity]:
    """Reason, remedy and severity."""
    shown = ", ".join(sorted(known))
    matched = _ZONE.fullmatch(zone)
    if matched and matched[1] != region and matched[1] in aws_regions():
        twin = f"{region}{matched[2]}"
        remedy = f"Name {twin if twin in known else min(known)}, or set the region to {matched[1]}."
        return f"Zone {zone} is in region {matched[1]}, and the environment is in {region}", remedy, Severity.ERROR
    if _LOCAL.fullmatch(zone):
        reason = f"Zone {zone} is a Local or Wavelength Zone, of which the catalogue of instance types knows nothing"
        return reason, f"Judge the environment with zones of the region: {shown}.", Severity.WARNING
    near = difflib.get_close_matches(zone, sorted(known), 1)
    guess = f"Did you mean {near[0]}? " if near else ""
    return f"Region {region} has no zone {zone}", f"{guess}Its zones are {shown}.", Severity.ERROR


def _finding(subject: Subject, zone: str, known: frozenset[str], place: Place) -> Finding:
    reason, remedy, severity = _judged(zone, subject.account.region, known)
    environment = subject.rendered.environment
    return Finding(
        environment.name,
        CHECK,
        f"{reason}{place.suffix}.",
        remedy,
        severity,
        path="account.capacityReservations" if place.file == str(environment.file) else "global.zones",
        file=place.file,
        line=place.line,
    )
