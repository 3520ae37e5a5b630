"""`drydock account`: what it reads of an account, what it writes, and what follows from it."""

import datetime
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import yaml

from drydock.checks.findings import Finding, Severity
from drydock.deploy.account.ec2_state import images
from drydock.deploy.account.reading import read_account
from drydock.errors import UsageError
from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.rehearsal.aws.actions import Market
from drydock.rehearsal.aws.expected_account import expected_account
from drydock.rehearsal.aws.stand_in import AwsStandIn
from drydock.scheduling.account import account_of
from drydock.scheduling.prices import Prices
from drydock.suite.account_snapshot import AccountSnapshot, ClusterContents, ControlPlane, read_snapshot, write_snapshot
from drydock.suite.cluster_description import describe
from drydock.suite.environments import CapacityReservation, Environment, load_environment, with_snapshot
from tests.checks.helpers import findings, manifests_of
from tests.deploy.aws_account import add_eks_calls
from tests.rehearsal.small import node_class, node_pool, to_yaml

REGION = "us-west-2"
RESERVED = CapacityReservation("cr-0a1b2c3d4e5f60718", "g6.xlarge", "us-west-2a", 2, "default", {"team": "search"})
OBJECTS = [
    node_class("good", "al2023@v20260714", capacityReservationSelectorTerms=[{"tags": {"team": "search"}}]),
    node_class("bad", "al2023@v20260715"),
    node_pool(
        "pool",
        "good",
        {"karpenter.k8s.aws/instance-family": ["g6"], "topology.kubernetes.io/zone": ["us-west-2a", "us-west-2b"]},
    ),
]
MANIFESTS = manifests_of(to_yaml(OBJECTS))
STATED = Environment(
    "ours",
    Path("ours.yaml"),
    "",
    (),
    capacity_reservations=(RESERVED,),
    quotas={"L-DB2E81BA": 64, "L-1216C47A": 5},
    secrets={"hf-secret": ("hf_api_token",)},
)


@pytest.fixture(scope="module")
def snapshot(drydock_project: Project) -> Iterator[AccountSnapshot]:
    """Of an account in which another team runs a node, and the reservation has one instance left."""
    market = Market(
        drydock_project.cache_dir,
        lambda _region: Prices({"g6.xlarge": 0.8}, REGION, "2026-01-01", "a list", spot_share=0.4),
    )
    add_eks_calls()
    aws = AwsStandIn(market)
    aws.add(expected_account(STATED, MANIFESTS), "1.36")
    market.in_use[RESERVED.id] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials of whoever came first
        for name in [each for each in os.environ if each.startswith("AWS_")]:
            patch.delenv(name)
        settings = {name: value for name, value in aws.client_settings(REGION).items() if value}
        for name, value in settings.items():
            patch.setenv(name, value)
        boto3.client("eks", region_name=REGION).create_addon(clusterName="small", addonName="vpc-cni")
        ec2 = boto3.client("ec2", region_name=REGION)
        image = images(REGION, [{"alias": "al2023@v20260714"}], "1.36")["al2023@v20260714"]
        for cluster in ("theirs", "small"):
            tags = [{"Key": f"kubernetes.io/cluster/{cluster}", "Value": "owned"}]
            specification = [{"ResourceType": "instance", "Tags": tags}]
            made = {"ImageId": image, "MinCount": 1, "MaxCount": 1, "TagSpecifications": specification}
            ec2.run_instances(InstanceType="g6.4xlarge", **made)
        yield read_account(
            STATED, MANIFESTS, cluster="small", cache_dir=drydock_project.cache_dir, progress=PlainProgress()
        )


def test_what_node_classes_select_is_found_or_seen_to_be_missing(snapshot: AccountSnapshot) -> None:
    good, bad = snapshot.node_classes["good"], snapshot.node_classes["bad"]
    assert good.images["al2023@v20260714"].startswith("ami-")
    assert bad.images["al2023@v20260715"] == "", "a release that never existed"
    assert {each.zone for each in good.subnets.values()} == {"us-west-2a", "us-west-2b"}
    assert all(each.free_addresses > 0 for each in good.subnets.values())
    assert good.security_groups
    assert good.role.endswith(":role/small-node")


def test_quotas_count_what_others_use(snapshot: AccountSnapshot) -> None:
    gpus = snapshot.quotas["L-DB2E81BA"]
    assert (gpus.limit, gpus.used) == (64, 16), "g6.4xlarge of the other cluster; the own one's is its own"
    assert snapshot.free_quotas()["L-DB2E81BA"] == 48


def test_reservations_offerings_and_prices_are_those_of_the_account(snapshot: AccountSnapshot) -> None:
    held = snapshot.reservations[RESERVED.id]
    assert (held.total, held.available, held.state) == (2, 1, "active")
    assert set(snapshot.offerings["g6.xlarge"]) <= {f"{REGION}{letter}" for letter in "abcd"}
    assert snapshot.control_plane == ControlPlane("1.36", "ACTIVE", {"vpc-cni": "v1.0.0-eksbuild.1"})
    assert snapshot.account == "123456789012"


def test_it_is_written_readably_and_read_back(snapshot: AccountSnapshot, tmp_path: Path) -> None:
    file = tmp_path / "accounts" / "ours.yaml"
    write_snapshot(file, snapshot)
    assert read_snapshot(file) == snapshot
    assert yaml.safe_load(file.read_text())["quotas"]["L-DB2E81BA"] == {"limit": 64, "used": 16}
    assert read_snapshot(tmp_path / "none.yaml") is None


@pytest.mark.parametrize(
    "content", ["a: [", "a: 1", "- 1", "read: x\nnode_classes: 1\ncluster: null\ncontrol_plane: null"]
)
def test_a_file_that_is_no_snapshot_is_refused_with_its_name(content: str, tmp_path: Path) -> None:
    file = tmp_path / "ours.yaml"
    file.write_text(content)
    with pytest.raises(UsageError, match=r"ours\.yaml: not a snapshot"):
        read_snapshot(file)


@pytest.mark.parametrize(
    ("wrong", "right"), [("'{day}T10:00:00'", "'{day}T10:00:00+00:00'"), ("limit: many", "limit: 64")], ids=str
)
def test_a_snapshot_with_a_value_that_nothing_can_compute_with_is_refused(
    wrong: str, right: str, snapshot: AccountSnapshot, tmp_path: Path
) -> None:
    file = tmp_path / "ours.yaml"
    write_snapshot(file, replace(snapshot, read=f"{snapshot.day}T10:00:00+00:00"))
    text = file.read_text()
    assert right.format(day=snapshot.day) in text
    file.write_text(text.replace(right.format(day=snapshot.day), wrong.format(day=snapshot.day)))
    with pytest.raises(UsageError, match=r"ours\.yaml: not a snapshot"):
        read_snapshot(file)


def test_a_snapshot_that_cannot_be_read_does_not_keep_an_account_from_being_read_again(
    small_project: Callable[[dict[str, str]], Project],
) -> None:
    environment = "description: A\nstack: [empty.yaml]\n"
    project = small_project({"values/environments/a.yaml": environment, "values/accounts/a.yaml": "- 1\n"})
    with pytest.raises(UsageError, match="drydock account a"):
        load_environment(project, "a")
    assert load_environment(project, "a", use_snapshot=False).snapshot is None


def test_an_environment_takes_what_was_read_in_place_of_what_it_states(snapshot: AccountSnapshot) -> None:
    environment = with_snapshot(STATED, snapshot)
    assert [each.instance_count for each in environment.capacity_reservations] == [1]
    assert environment.quotas["L-DB2E81BA"] == 48
    full = replace(snapshot.reservations[RESERVED.id], state="expired")
    assert not with_snapshot(STATED, replace(snapshot, reservations={RESERVED.id: full})).capacity_reservations


def test_a_zone_whose_subnets_have_no_addresses_is_no_zone(snapshot: AccountSnapshot) -> None:
    classes = {
        name: replace(
            each,
            subnets={
                key: replace(subnet, free_addresses=0 if subnet.zone.endswith("b") else 9)
                for key, subnet in each.subnets.items()
            },
        )
        for name, each in snapshot.node_classes.items()
    }
    environment = with_snapshot(STATED, replace(snapshot, node_classes=classes))
    assert account_of(environment, MANIFESTS).zones == ("us-west-2a",)


def test_what_a_cluster_has_takes_the_place_of_its_target(snapshot: AccountSnapshot) -> None:
    there = ClusterContents(
        kubernetes="1.35",
        karpenter="1.13.0",
        feature_gates={"nodeOverlay": False},
        storage_classes={"fast": {"provisioner": "ebs.csi.aws.com", "default": True, "binding": "Immediate"}},
        drivers=("ebs.csi.aws.com",),
    )
    description = describe(with_snapshot(STATED, replace(snapshot, cluster=there)))
    assert (description.kubernetes, description.karpenter) == ("1.35", "1.13.0")
    assert [each.name for each in description.storage_classes] == ["fast"]
    assert description.ingress_classes == ()
    assert description.feature_gates["nodeOverlay"] is False


def found(snapshot: AccountSnapshot, check: str) -> list[Finding]:
    options = {name: getattr(with_snapshot(STATED, snapshot), name) for name in ("snapshot", "secrets")}
    return findings(to_yaml(OBJECTS), check, environment=options)


def test_what_the_account_lacks_is_found_with_its_date(snapshot: AccountSnapshot) -> None:
    lacking = [each for each in found(snapshot, "account-lacks") if each.severity is Severity.ERROR]
    assert [each.object for each in lacking] == ["EC2NodeClass/bad"]
    assert "no image al2023@v20260715" in lacking[0].reason
    assert f"as of {snapshot.day}" in lacking[0].reason


def test_what_is_used_up_over_or_not_there_is_found(snapshot: AccountSnapshot) -> None:
    over = {RESERVED.id: replace(snapshot.reservations[RESERVED.id], state="expired")}
    full = {RESERVED.id: replace(snapshot.reservations[RESERVED.id], available=0)}
    assert any("is expired" in each.reason for each in found(replace(snapshot, reservations=over), "account-lacks"))
    assert any("none of its 2" in each.reason for each in found(replace(snapshot, reservations=full), "account-lacks"))
    cluster = replace(snapshot, cluster=ClusterContents("1.36", secrets={"hf-secret": ("token",)}))
    assert any("no key hf_api_token" in each.reason for each in found(cluster, "account-lacks"))


def test_a_snapshot_older_than_a_week_is_a_warning(snapshot: AccountSnapshot) -> None:
    assert not found(snapshot, "account-snapshot-old")
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=8)
    (warning,) = found(replace(snapshot, read=old.isoformat(timespec="seconds")), "account-snapshot-old")
    assert warning.severity is Severity.WARNING
    assert "Run `drydock account test` again." in warning.remedy


def test_the_file_beside_an_environment_is_read_with_it(snapshot: AccountSnapshot, tmp_path: Path) -> None:
    values = tmp_path / "values"
    (values / "environments").mkdir(parents=True)
    (values / "ours.yaml").write_text("{}")
    (values / "environments" / "ours.yaml").write_text("description: ours\nstack: [ours.yaml]\n")
    project = Project(tmp_path, tmp_path / "cache")
    assert load_environment(project, "ours").snapshot is None
    write_snapshot(values / "accounts" / "ours.yaml", snapshot)
    assert load_environment(project, "ours").quotas["L-DB2E81BA"] == 48
