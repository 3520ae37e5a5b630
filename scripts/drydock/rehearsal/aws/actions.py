"""EC2 calls that Moto lacks or answers in a way that would mislead Karpenter, added to its response class.

Moto finds the method for a call by the call's name, so a method of that name is all that is needed.
"""

import datetime
import fnmatch
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.aws.launch_addresses import Addresses
from drydock.rehearsal.aws.launch_quotas import Refusal, Vcpus
from drydock.rehearsal.aws.seed import ACCOUNT_ID
from drydock.rehearsal.aws.shortages import no_capacity
from drydock.scheduling.prices import Prices
from drydock.suite.environments import CapacityReservation

_PRICED = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_BLOCK_DURATION = datetime.timedelta(days=14)


@dataclass
class Market:
    """What the added calls answer with.

    Attributes:
        cache: folder for answers that are the same in every rehearsal.
        prices_in: prices of a region.
        account: everything seeded so far, merged; None before the first.
        in_use: instances launched in a reservation, by its identifier.
        started: when reservations began.
        vcpus: what instances use of the account's quotas.
        addresses: what nodes use of the subnets' addresses.
        shortages: file that says what EC2 has no capacity for; None where it always has.
    """

    cache: Path
    prices_in: Callable[[str], Prices]
    account: Account | None = None
    in_use: Counter[str] = field(default_factory=Counter)
    started: datetime.datetime = field(default_factory=lambda: datetime.datetime.now(datetime.UTC))
    vcpus: Vcpus = field(default_factory=Vcpus)
    addresses: Addresses = field(default_factory=Addresses)
    shortages: Path | None = None

    def launch(self, instance_type: str, capacity_type: str, zone: str, count: int) -> tuple[int, tuple[Refusal, ...]]:
        """Launch up to so many instances; how many may run, and why not all."""
        if short := self._shortage(instance_type, zone):
            return 0, (short,)
        housed, no_address = self.addresses.take(zone, count)
        granted, no_quota = self.vcpus.take(instance_type, capacity_type, zone, housed)
        self.addresses.give_back(zone, housed - granted)
        return granted, tuple(refusal for refusal in (no_address, no_quota) if refusal)

    def refuses(self, instance_type: str, capacity_type: str, zone: str) -> bool:
        """Whether one more instance would not be launched."""
        short = self._shortage(instance_type, zone)
        return bool(short or self.vcpus.refusal(instance_type, capacity_type) or self.addresses.refusal(zone))

    def _shortage(self, instance_type: str, zone: str) -> Refusal | None:
        return no_capacity(self.shortages, instance_type, zone) if self.shortages else None

    def ended(self, instance_type: str, capacity_type: str, zone: str) -> None:
        """An instance is gone."""
        self.vcpus.give_back(instance_type, capacity_type)
        self.addresses.give_back(zone)


def add_actions(market: Market) -> None:
    """Teach this process's Moto the calls; `market` may change afterwards."""
    from moto.ec2.responses import EC2Response

    for name, method in {
        "create_fleet": _create_fleet(market),
        "describe_capacity_reservations": _capacity_reservations(market),
        "describe_placement_groups": _placement_groups(market),
        "describe_spot_price_history": _spot_prices(market),
        "describe_instance_types": _kept(market, EC2Response.describe_instance_types),
        "describe_instance_type_offerings": _kept(
            market, _offerings(market), lambda: market.account and market.account.offerings
        ),
    }.items():
        setattr(EC2Response, name, method)
    from moto.servicequotas.responses import ServiceQuotasResponse

    ServiceQuotasResponse.list_service_quotas = _service_quotas(market)


Action = Callable[[Any], Any]


def _capacity_reservations(market: Market) -> Action:
    def describe_capacity_reservations(response: Any) -> Any:
        from moto.core.responses import ActionResult

        wanted = response._get_param("CapacityReservationIds", [])
        filters = response._filters_from_querystring()
        held = market.account.capacity_reservations if market.account else ()
        found = [
            _reservation(market, each)
            for each in held
            if (not wanted or each.id in wanted) and _matches(filters, _reservation_facts(each), each.tags)
        ]
        return ActionResult({"CapacityReservations": found})

    return describe_capacity_reservations


def _reservation_facts(reservation: CapacityReservation) -> dict[str, str]:
    return {
        "state": "active",
        "owner-id": ACCOUNT_ID,
        "instance-type": reservation.instance_type,
        "availability-zone": reservation.zone,
        "instance-match-criteria": "targeted",
    }


def _reservation(market: Market, reservation: CapacityReservation) -> dict[str, Any]:
    block = reservation.kind == "capacity-block"
    left = max(0, reservation.instance_count - market.in_use[reservation.id])
    return {
        "CapacityReservationId": reservation.id,
        "OwnerId": ACCOUNT_ID,
        "CapacityReservationArn": f"arn:aws:ec2:::capacity-reservation/{reservation.id}",
        "InstanceType": reservation.instance_type,
        "InstancePlatform": "Linux/UNIX",
        "AvailabilityZone": reservation.zone,
        "Tenancy": "default",
        "TotalInstanceCount": reservation.instance_count,
        "AvailableInstanceCount": left,
        "State": "active",
        "StartDate": market.started,
        "CreateDate": market.started,
        "EndDateType": "limited" if block else "unlimited",
        "InstanceMatchCriteria": "targeted",
        "ReservationType": reservation.kind,
        "Tags": [{"Key": key, "Value": value} for key, value in reservation.tags.items()],
        **({"EndDate": market.started + _BLOCK_DURATION} if block else {}),
    }


def _create_fleet(market: Market) -> Action:
    """How many instances of a fleet quotas and subnets allow; Karpenter's own stand-in for EC2 launches them.

    The first override that is not refused is taken: claims are narrowed to one offering, unless all are refused.
    """

    def create_fleet(response: Any) -> Any:
        from moto.core.responses import ActionResult

        target = response._get_param("TargetCapacitySpecification", {})
        wanted = int(target["TotalTargetCapacity"])
        capacity_type = str(target.get("DefaultTargetCapacityType", "on-demand"))
        granted, errors = 0, []
        for override in (
            override for config in response._get_param("LaunchTemplateConfigs", []) for override in config["Overrides"]
        ):
            zone = str(override.get("AvailabilityZone", ""))
            granted, refusals = market.launch(override["InstanceType"], capacity_type, zone, wanted)
            errors += [_fleet_error(refusal, override, capacity_type) for refusal in refusals]
            if granted:
                break
        instances = [{"InstanceIds": [f"i-{number:017x}" for number in range(granted)]}] if granted else []
        fleet = f"fleet-{hashlib.sha256(repr(response.querystring).encode()).hexdigest()[:12]}"
        return ActionResult({"FleetId": fleet, "Errors": errors, "Instances": instances})

    return create_fleet


def _offerings(market: Market) -> Action:
    """What each zone offers: as it was read of the account, else as Moto has it."""

    def describe_instance_type_offerings(response: Any) -> Any:
        from moto.core.responses import ActionResult

        place = response._get_param("LocationType") or "region"
        filters = response._filters_from_querystring()
        backend = response.ec2_backend
        offered = backend.describe_instance_type_offerings(place, filters)
        read = market.account.offerings if market.account and place == "availability-zone" else {}
        own = [
            {"InstanceType": instance_type, "LocationType": place, "Location": zone}
            for zone, types in read.items()
            for instance_type in types
        ]
        kept = [offering for offering in offered if offering["Location"] not in read]
        kept += [offering for offering in own if backend.matches_filters(offering, filters, place)]
        return ActionResult({"InstanceTypeOfferings": kept})

    return describe_instance_type_offerings


def _service_quotas(market: Market) -> Action:
    """Quotas of EC2, of which Moto has none."""

    def list_service_quotas(_response: Any) -> str:
        listed = [
            {"ServiceCode": "ec2", "QuotaCode": code, "Value": value} for code, value in market.vcpus.limits.items()
        ]
        return json.dumps({"Quotas": listed})

    return list_service_quotas


def _fleet_error(refusal: Refusal, override: Mapping[str, Any], capacity_type: str) -> dict[str, Any]:
    place = {key: override[key] for key in ("InstanceType", "AvailabilityZone", "SubnetId") if key in override}
    return {
        "ErrorCode": refusal.code,
        "ErrorMessage": refusal.message,
        "Lifecycle": capacity_type,
        "LaunchTemplateAndOverrides": {"Overrides": place},
    }


def _placement_groups(market: Market) -> Action:
    """Every group that a node class names, as a cluster group: values do not say the strategy."""

    def describe_placement_groups(response: Any) -> Any:
        from moto.core.responses import ActionResult

        wanted = {*response._get_param("GroupIds", []), *response._get_param("GroupNames", [])}
        named = [spec["placementGroupSelector"] for spec in _node_classes(market) if "placementGroupSelector" in spec]
        groups = [
            {
                "GroupId": term.get("id") or f"pg-{hashlib.sha256(term['name'].encode()).hexdigest()[:17]}",
                "GroupName": term.get("name") or term["id"],
                "State": "available",
                "Strategy": "cluster",
            }
            for term in named
        ]
        found = {group["GroupId"]: group for group in groups if {group["GroupId"], group["GroupName"]} & wanted}
        return ActionResult({"PlacementGroups": list(found.values())})

    return describe_placement_groups


def _node_classes(market: Market) -> Sequence[Mapping[str, Any]]:
    return market.account.node_classes if market.account else ()


def _spot_prices(market: Market) -> Action:
    """A share of the on-demand price in every zone."""

    def describe_spot_price_history(_response: Any) -> Any:
        from moto.core.responses import ActionResult

        return ActionResult({"SpotPriceHistory": list(_spot_history(market))})

    def ingredients() -> object:
        return market.account and (market.account.zones, market.prices_in(market.account.region))

    return _kept(market, describe_spot_price_history, ingredients, asked=False)


def _spot_history(market: Market) -> Iterator[dict[str, Any]]:
    account = market.account
    if account is None:
        return
    prices = market.prices_in(account.region)
    for kind in prices.on_demand:
        for zone in account.zones:
            yield {
                "InstanceType": kind,
                "ProductDescription": "Linux/UNIX",
                "SpotPrice": f"{prices.hourly(kind, 'spot'):.6f}",
                "AvailabilityZone": zone,
                "Timestamp": _PRICED,
            }


def _kept(
    market: Market, answer: Action, ingredients: Callable[[], object] = lambda: None, *, asked: bool = True
) -> Action:
    """The same answer, written down once: it is a large part of EC2's catalogue and takes seconds to make.

    Args:
        market: says where.
        answer: makes it.
        ingredients: what it depends on besides the request.
        asked: whether it depends on the request at all.
    """

    def kept(response: Any) -> Any:
        from moto import __version__

        request = sorted((key, sorted(values)) for key, values in response.querystring.items()) if asked else None
        parts = (__version__, answer.__name__, response.region, request, ingredients())
        digest = hashlib.sha256(repr(parts).encode()).hexdigest()[:24]
        file = market.cache / "ec2" / f"{digest}.xml"
        if not file.exists():
            _, _, body = response.serialized(answer(response))
            file.parent.mkdir(parents=True, exist_ok=True)
            partial = file.with_name(f"{file.name}.{id(response)}.partial")
            partial.write_text(body)
            partial.replace(file)
        return file.read_text()

    return kept


def _matches(filters: Mapping[str, Iterable[str]], facts: Mapping[str, str], tags: Mapping[str, str]) -> bool:
    def values(name: str) -> list[str]:
        if name == "tag-key":
            return list(tags)
        if name.startswith("tag:"):
            return [tags[name.removeprefix("tag:")]] if name.removeprefix("tag:") in tags else []
        return [facts[name]] if name in facts else []

    return all(
        any(fnmatch.fnmatchcase(value, pattern) for value in values(name) for pattern in patterns)
        for name, patterns in filters.items()
    )
