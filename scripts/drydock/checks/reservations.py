"""Capacity reservations that the account pays for and that no node will ever use."""

from collections.abc import Iterator

from drydock.checks.findings import Finding, Severity
from drydock.checks.origins import line_in
from drydock.checks.places import known_zones
from drydock.checks.subject import Subject
from drydock.scheduling.instance_types.labels import CAPACITY_TYPE
from drydock.scheduling.pools import Pool
from drydock.suite.environments import CapacityReservation

UNUSED = "reservation-unused"


def check(subject: Subject) -> Iterator[Finding]:
    """Reservations of the environment's file that no node class selects, or whose pools may not buy them."""
    if not subject.pools:
        return
    for reservation in subject.rendered.environment.capacity_reservations:
        if reservation.zone in known_zones(subject):  # else the zone is reported
            told = _unused(subject, reservation)
            if told:
                yield _finding(subject, reservation, *told)


def _unused(subject: Subject, reservation: CapacityReservation) -> tuple[str, str] | None:
    """Reason and remedy; None for a reservation that some pool uses."""
    if reservation.instance_type not in subject.catalogue.types:
        reason = f"{subject.account.region} offers no {reservation.instance_type}"
        return reason, "Correct instanceType of the reservation."
    selecting = [pool for pool in subject.pools if pool.node_class and reservation in pool.node_class.reservations]
    if not selecting:
        return "no node class selects it", (
            f"Name it in capacityReservationSelectorTerms of a node class (`id: {reservation.id}`, or a tag that it "
            "carries), and allow capacity type reserved in a node pool of that class."
        )
    names = ", ".join(pool.name for pool in selecting)
    reserving = [pool for pool in selecting if _reserves(pool)]
    if not reserving:
        return f"pool {names} selects it and does not buy reserved capacity", (
            f"Add reserved to the capacity types of pool {names}."
        )
    if not any(_buys(pool, reservation) for pool in reserving):
        return f"pool {names} selects it and may not have {reservation.instance_type} in {reservation.zone}", (
            f"Allow {reservation.instance_type} and {reservation.zone} in pool {names}."
        )
    return None


def _reserves(pool: Pool) -> bool:
    wanted = pool.requirements.get(CAPACITY_TYPE)
    return wanted is None or wanted.has("reserved")


def _buys(pool: Pool, reservation: CapacityReservation) -> bool:
    return reservation.zone in pool.zones and reservation.instance_type in pool.matching(
        frozenset({reservation.instance_type}), pool.requirements
    )


def _finding(subject: Subject, reservation: CapacityReservation, reason: str, remedy: str) -> Finding:
    environment = subject.rendered.environment
    return Finding(
        environment.name,
        UNUSED,
        f"Nothing will use the reservation {reservation.id} ({reservation.instance_count} x "
        f"{reservation.instance_type} in {reservation.zone}), which is paid for: {reason}.",
        remedy,
        Severity.WARNING,
        path=f"account.capacityReservations.{reservation.id}",
        file=str(environment.file),
        line=line_in(environment.file, reservation.id),
    )
