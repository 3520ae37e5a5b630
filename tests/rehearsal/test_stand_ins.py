"""What stands in for AWS and for EC2 Fleet, asked as Karpenter and the API server ask it."""

from pathlib import Path
from typing import Any

import boto3
import pytest

from drydock.errors import ClusterError
from drydock.rehearsal.aws.actions import Market
from drydock.rehearsal.aws.expected_account import Account
from drydock.rehearsal.aws.launch_addresses import Addresses
from drydock.rehearsal.aws.launch_quotas import Vcpus
from drydock.rehearsal.aws.shortages import Shortage, write_shortages
from drydock.rehearsal.aws.stand_in import AwsStandIn
from drydock.rehearsal.webhook import TooEarlyError, answer_review
from drydock.scheduling.prices import Prices

ZONES = ("us-west-2a", "us-west-2b")
PRICES = Prices({"g6.xlarge": 0.8, "g5.metal": 4.0}, "us-east-1", "2026-01-01", "a list", spot_share=0.25)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> AwsStandIn:
    """One that has just been given its account, and that nothing asked before."""
    stand_in = AwsStandIn(Market(tmp_path_factory.mktemp("cache"), lambda _: PRICES))
    stand_in.add(Account("small", "us-west-2", ZONES, ()), "1.36")
    return stand_in


def client(aws: AwsStandIn, service: str) -> Any:
    given = aws.client_settings("us-west-2")
    keys = {name: given[name.upper()] for name in ("aws_access_key_id", "aws_secret_access_key")}
    return boto3.client(service, endpoint_url=aws.url, region_name="us-west-2", **keys)


def test_prices_are_there_before_karpenter_asks_for_the_first_time(aws: AwsStandIn) -> None:
    history = client(aws, "ec2").describe_spot_price_history()["SpotPriceHistory"]
    found = {(each["InstanceType"], each["AvailabilityZone"]): float(each["SpotPrice"]) for each in history}
    assert found == {(kind, zone): price / 4 for kind, price in PRICES.on_demand.items() for zone in ZONES}
    assert aws.offers().on_demand == PRICES.on_demand


def test_the_first_calls_of_karpenters_services_succeed(aws: AwsStandIn) -> None:
    assert aws.warm() == dict.fromkeys(("ec2", "iam", "ssm", "eks"), 200)


@pytest.mark.parametrize(
    ("family", "name"), [("Compute Instance", "g6.xlarge"), ("Compute Instance (bare metal)", "g5.metal")]
)
def test_karpenter_gets_our_price_of_each_type(aws: AwsStandIn, family: str, name: str) -> None:
    wanted = [{"Type": "TERM_MATCH", "Field": "productFamily", "Value": family}]
    listed = client(aws, "pricing").get_products(ServiceCode="AmazonEC2", Filters=wanted)["PriceList"]
    (product,) = listed
    assert f'"instanceType": "{name}"' in product
    assert f'"USD": "{PRICES.on_demand[name]}"' in product


def test_what_runs_in_a_reservation_is_not_counted_against_the_quota_again() -> None:
    vcpus, place = Vcpus({"L-DB2E81BA": 4}), ("g6.xlarge", "us-west-2a")
    vcpus.expect_reserved(*place)
    assert vcpus.take("g6.xlarge", "on-demand", "us-west-2b", 1) == (1, None), "4 vCPUs, in another zone"
    granted, refusal = vcpus.take("g6.xlarge", "on-demand", "us-west-2a", 2)
    assert granted == 1, "the one in the reservation"
    assert refusal
    assert refusal.code == "VcpuLimitExceeded"
    vcpus.give_back("g6.xlarge", "reserved")
    assert vcpus.refusal("g6.xlarge", "on-demand")
    vcpus.give_back("g6.xlarge", "on-demand")
    assert not vcpus.refusal("g6.xlarge", "on-demand")


def test_a_launch_without_a_quota_takes_no_address_and_one_without_an_address_no_quota(tmp_path: Path) -> None:
    market = Market(tmp_path, lambda _: PRICES, vcpus=Vcpus({"L-DB2E81BA": 8}), addresses=Addresses({"us-west-2a": 47}))
    place = ("g6.xlarge", "on-demand", "us-west-2a")
    granted, (refusal,) = market.launch(*place, 3)
    assert (granted, refusal.code) == (2, "InsufficientFreeAddressesInSubnet")
    assert "15 are left of 47, and a node takes 16" in refusal.message
    assert market.refuses(*place)
    market.ended(*place)
    assert not market.refuses(*place)
    granted, (refusal,) = market.launch("g6.12xlarge", "on-demand", "us-west-2a", 1)
    assert (granted, refusal.code) == (0, "VcpuLimitExceeded")
    assert market.launch(*place, 1) == (1, ()), "its address was given back"
    assert market.launch("c6i.large", "on-demand", "us-west-2b", 9) == (9, ()), "where nothing is known of addresses"


def test_what_ec2_has_no_capacity_for_is_not_launched(tmp_path: Path) -> None:
    file = tmp_path / "shortages.json"
    market = Market(tmp_path, lambda _: PRICES, shortages=file)
    write_shortages(file, [Shortage("g6.xlarge", ""), Shortage("", "us-west-2c")])
    for kind, zone in (("g6.xlarge", "us-west-2a"), ("c6i.large", "us-west-2c")):
        granted, (refusal,) = market.launch(kind, "on-demand", zone, 1)
        assert (granted, refusal.code) == (0, "InsufficientInstanceCapacity")
        assert market.refuses(kind, "on-demand", zone)
    assert market.launch("c6i.large", "on-demand", "us-west-2a", 1) == (1, ())
    file.unlink()
    assert market.launch("g6.xlarge", "on-demand", "us-west-2c", 1) == (1, ())


def refusing(error: Exception) -> tuple[dict[str, Any], list[Exception]]:
    failures: list[Exception] = []

    def create(_content: Any) -> Any:
        raise error

    asked = {"operation": "CREATE", "kind": {"kind": "NodeClaim"}, "object": {}}
    return answer_review(asked, {"NodeClaim": create}, failures.append), failures


def test_a_claim_that_comes_too_early_is_to_be_made_again() -> None:
    answer, failures = refusing(TooEarlyError("not yet"))
    assert not answer["allowed"]
    assert answer["status"] == {"code": 429, "message": "not yet"}
    assert not failures


def test_a_fault_in_the_choice_ends_the_rehearsal_and_is_not_tried_for_ever() -> None:
    fault = ClusterError("no price of x is known")
    answer, failures = refusing(fault)
    assert not answer["allowed"]
    assert failures == [fault]
