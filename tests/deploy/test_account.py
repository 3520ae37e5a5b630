"""`drydock account`: what it reads of an account, what it writes, and what follows from it."""

import datetime
import json
import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml
from werkzeug.serving import make_server

from drydock.checks.findings import Finding, Severity
from drydock.deploy.account.ec2_state import images
from drydock.deploy.account.quota_state import quotas
from drydock.deploy.account.reading import read_account
from drydock.deploy.eks.caller import AwsError, check_snapshot
from drydock.errors import UsageError
from drydock.progress import PlainProgress
from drydock.project import Project
from drydock.rehearsal.aws.actions import Market
from drydock.rehearsal.aws.expected_account import expected_account
from drydock.rehearsal.aws.stand_in import AwsStandIn
from drydock.scheduling.account import account_of
from drydock.scheduling.pools import find_pools
from drydock.scheduling.prices import Prices
from drydock.suite.account_snapshot import (
    AccountSnapshot,
    ClassOfVolumes,
    ClusterContents,
    ControlPlane,
    NodeClassState,
    read_snapshot,
    to_plain,
    write_snapshot,
)
from drydock.suite.cluster_description import describe
from drydock.suite.environments import (
    CapacityReservation,
    Environment,
    load_environment,
    stated_environment,
    with_snapshot,
)
from drydock.suite.manifests import Manifest
from tests.checks.helpers import catalogue, findings, manifests_of
from tests.conftest import ROOT, Drydock
from tests.deploy.aws_account import Failures, add_eks_calls
from tests.rehearsal.small import node_class, node_pool, to_yaml
from tests.scheduling.builders import deployment, pod_spec

if TYPE_CHECKING:
    from botocore.model import OperationModel

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
RESERVATION = {
    "instance_type": "g6.xlarge",
    "zone": "us-west-2a",
    "total": 2,
    "available": 2,
    "kind": "default",
    "state": "active",
}
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
def settings(drydock_project: Project) -> Iterator[Mapping[str, str]]:
    """What leads an AWS SDK to an account where another team runs a node and a reservation has one instance left."""
    market = Market(
        drydock_project.cache_dir,
        lambda _region: Prices({"g6.xlarge": 0.8}, REGION, "2026-01-01", "a list", spot_share=0.4),
    )
    add_eks_calls()
    aws = AwsStandIn(market)
    aws.add(expected_account(STATED, MANIFESTS), "1.36")
    market.in_use[RESERVED.id] = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # it keeps the credentials of its first use
        for name in [name for name in os.environ if name.startswith("AWS_")]:
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
        yield settings


@pytest.fixture(scope="module")
def snapshot(settings: Mapping[str, str], drydock_project: Project) -> AccountSnapshot:
    """Of that account."""
    assert settings
    return read(drydock_project, MANIFESTS)


@pytest.fixture
def refusing(settings: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Failures]:
    """The same account behind rules that say which calls fail."""
    from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

    assert settings
    application = Failures(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    yield application
    server.shutdown()
    serving.join()
    server.server_close()


def read(project: Project, manifests: Sequence[Manifest]) -> AccountSnapshot:
    return read_account(STATED, manifests, cluster="small", cache_dir=project.cache_dir, progress=PlainProgress())


def test_what_node_classes_select_is_found_or_seen_to_be_missing(snapshot: AccountSnapshot) -> None:
    good, bad = snapshot.node_classes["good"], snapshot.node_classes["bad"]
    assert good.images["al2023@v20260714"].startswith("ami-")
    assert bad.images["al2023@v20260715"] == "", "a release that never existed"
    assert {subnet.zone for subnet in good.subnets.values()} == {"us-west-2a", "us-west-2b"}
    assert all(subnet.free_addresses > 0 for subnet in good.subnets.values())
    assert good.security_groups
    assert good.role.endswith(":role/small-node")


def test_quotas_count_what_others_use(snapshot: AccountSnapshot) -> None:
    gpus = snapshot.quotas["L-DB2E81BA"]
    assert (gpus.limit, gpus.used) == (64, 24), "g6.4xlarge of the other cluster, and the reservation of two g6.xlarge"
    assert snapshot.free_quotas()["L-DB2E81BA"] == 40


def test_reservations_and_the_cluster_are_those_of_the_account(snapshot: AccountSnapshot) -> None:
    held = snapshot.reservations[RESERVED.id]
    assert (held.total, held.available, held.state) == (2, 1, "active")
    assert snapshot.control_plane == ControlPlane("1.36", "ACTIVE", {"vpc-cni": "v1.0.0-eksbuild.1"})
    assert snapshot.account == "123456789012"


def test_it_is_written_readably_and_read_back(snapshot: AccountSnapshot, tmp_path: Path) -> None:
    file = tmp_path / "accounts" / "ours.yaml"
    write_snapshot(file, snapshot)
    assert read_snapshot(file) == snapshot
    assert yaml.safe_load(file.read_text())["quotas"]["L-DB2E81BA"] == {"limit": 64, "used": 24}
    assert read_snapshot(tmp_path / "none.yaml") is None


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("a: [", "while parsing"),
        ("- 1", "(top level): 'list' is not a mapping"),
        ({"read": None}, "read: None is not text"),
        ({"read": "yesterday"}, "'yesterday'"),
        ({"read": "2026-11-30T07:00:00"}, "read: '2026-11-30T07:00:00' has no time zone"),
        ({"region": ...}, "region: missing"),
        ({"quota": {}}, "quota: no such key; known: read, account"),
        ({"node_classes": 1}, "node_classes: 1 is not a mapping"),
        ({"node_classes": {"good": {"subnets": ["subnet-1"]}}}, "node_classes.good.subnets: 'list' is not a mapping"),
        ({"quotas": {"L-DB2E81BA": {"limit": "64", "used": 0}}}, "quotas.L-DB2E81BA.limit: '64' is not a whole number"),
        ({"quotas": {"L-DB2E81BA": {"limit": True, "used": 0}}}, "quotas.L-DB2E81BA.limit: True is not a whole number"),
        ({"reservations": {1: {}}}, "reservations.1: 1 is not text"),
        (
            {"reservations": {"cr-1": {**RESERVATION, "end": "2026-11-30"}}},
            "reservations.cr-1.end: '2026-11-30' has no time zone",
        ),
        ({"control_plane": {"kubernetes": 1.36, "status": "ACTIVE"}}, "control_plane.kubernetes: 1.36 is not text"),
        ({"control_plane": {"kubernetes": "1", "status": "ACTIVE"}}, "control_plane.kubernetes: '1' is not a minor"),
        ({"cluster": {"kubernetes": "1.36", "drivers": "efs"}}, "cluster.drivers: 'efs' is not a list"),
        ({"cluster": {"kubernetes": "1.36", "drivers": [1]}}, "cluster.drivers[0]: 1 is not text"),
        (
            {"cluster": {"kubernetes": "1.36", "storage_classes": {"fast": {"provisioner": "x", "default": "no"}}}},
            "cluster.storage_classes.fast.binding: missing",
        ),
    ],
)
def test_a_file_that_is_no_snapshot_is_refused_with_its_name_and_key(
    snapshot: AccountSnapshot, wrong: str | dict[str, Any], said: str, tmp_path: Path
) -> None:
    file = tmp_path / "ours.yaml"
    if isinstance(wrong, dict):
        content = {**to_plain(snapshot), **wrong}
        wrong = yaml.safe_dump({key: value for key, value in content.items() if value is not ...})
    file.write_text(wrong)
    with pytest.raises(UsageError) as refused:
        read_snapshot(file)
    assert f"{file}: not a snapshot of an account: " in refused.value.message
    assert said in refused.value.message
    assert refused.value.remedy == "Run `drydock account ours` again, or delete the file."


def test_an_environment_takes_what_was_read_in_place_of_what_it_states(snapshot: AccountSnapshot) -> None:
    environment = with_snapshot(STATED, snapshot)
    assert [reservation.instance_count for reservation in environment.capacity_reservations] == [1]
    assert environment.quotas["L-DB2E81BA"] == 40
    full = replace(snapshot.reservations[RESERVED.id], state="expired")
    assert not with_snapshot(STATED, replace(snapshot, reservations={RESERVED.id: full})).capacity_reservations


def test_a_zone_whose_subnets_have_no_addresses_for_a_node_is_no_zone(snapshot: AccountSnapshot) -> None:
    classes = {
        name: replace(
            state,
            subnets={
                key: replace(subnet, free_addresses=15 if subnet.zone.endswith("b") else 16)
                for key, subnet in state.subnets.items()
            },
        )
        for name, state in snapshot.node_classes.items()
    }
    environment = with_snapshot(STATED, replace(snapshot, node_classes=classes))
    assert account_of(environment, MANIFESTS).zones == ("us-west-2a",)


def test_a_pool_has_the_zones_of_its_node_class_and_not_those_of_others(snapshot: AccountSnapshot) -> None:
    good = snapshot.node_classes["good"]
    in_a = {key: subnet for key, subnet in good.subnets.items() if subnet.zone == "us-west-2a"}
    classes = {**snapshot.node_classes, "good": replace(good, subnets=in_a)}
    account = account_of(with_snapshot(STATED, replace(snapshot, node_classes=classes)), MANIFESTS)
    assert account.zones == ("us-west-2a", "us-west-2b"), "another node class has the second"
    (pool,) = find_pools(MANIFESTS, account, catalogue())
    assert pool.zones == {"us-west-2a"}


def test_types_are_bought_in_zones_that_offer_them_and_in_no_others(snapshot: AccountSnapshot) -> None:
    assert snapshot.offered_types().keys() == {"us-west-2a", "us-west-2b"}
    assert all("g6.xlarge" in types for types in snapshot.offered_types().values())
    fewer = {"us-west-2a": {"g6": ("2xlarge",)}, "us-west-2b": {"g6": ("xlarge",), "p5": ("48xlarge",)}}
    account = account_of(with_snapshot(STATED, replace(snapshot, offerings=fewer)), MANIFESTS)
    (pool,) = find_pools(MANIFESTS, account, catalogue())
    assert pool.types == {"g6.xlarge", "g6.2xlarge"}
    assert pool.offering_zones("g6.xlarge") == {"us-west-2b"}
    none = account_of(with_snapshot(STATED, replace(snapshot, offerings={zone: {} for zone in fewer})), MANIFESTS)
    assert not find_pools(MANIFESTS, none, catalogue())[0].types


def test_what_a_cluster_has_takes_the_place_of_its_target(snapshot: AccountSnapshot) -> None:
    there = ClusterContents(
        kubernetes="1.35",
        karpenter="1.13.0",
        feature_gates={"nodeOverlay": False},
        storage_classes={"fast": ClassOfVolumes("ebs.csi.aws.com", default=True, binding="Immediate")},
        drivers=("ebs.csi.aws.com",),
    )
    description = describe(with_snapshot(STATED, replace(snapshot, cluster=there)))
    assert (description.kubernetes, description.karpenter) == ("1.35", "1.13.0")
    assert [storage_class.name for storage_class in description.storage_classes] == ["fast"]
    assert description.ingress_classes == ()
    assert description.feature_gates["nodeOverlay"] is False


def found(snapshot: AccountSnapshot, check: str, more: str = "") -> list[Finding]:
    options = {name: getattr(with_snapshot(STATED, snapshot), name) for name in ("snapshot", "secrets")}
    return findings(f"{to_yaml(OBJECTS)}\n---\n{more}", check, environment=options)


def test_what_the_account_lacks_is_found_with_its_date(snapshot: AccountSnapshot) -> None:
    lacking = [finding for finding in found(snapshot, "account-lacks") if finding.severity is Severity.ERROR]
    assert [finding.object for finding in lacking] == ["EC2NodeClass/bad"]
    assert "no image al2023@v20260715" in lacking[0].reason
    assert f"as of {snapshot.day}" in lacking[0].reason


def test_what_a_node_class_selects_by_now_was_not_read(snapshot: AccountSnapshot) -> None:
    assert not any("selects otherwise" in finding.reason for finding in found(snapshot, "account-lacks"))
    good = snapshot.node_classes["good"]
    for key, before in (("amiSelectorTerms", '[{"alias": "al2023@v20260601"}]'), ("role", '"another"')):
        state = replace(good, asked={**good.asked, key: before}, role="", images={"al2023@v20260601": ""})
        changed = replace(snapshot, node_classes={**snapshot.node_classes, "good": state})
        lacking = [finding for finding in found(changed, "account-lacks") if finding.object == "EC2NodeClass/good"]
        (warning,) = (finding for finding in lacking if finding.severity is Severity.WARNING)
        assert f"selects otherwise by {key} than when the account was read" in warning.reason
        assert len(lacking) == 2, "what was asked for as it is now is judged, the other is not"


def test_a_snapshot_of_another_region_is_an_error_and_its_zones_are_not_taken(snapshot: AccountSnapshot) -> None:
    elsewhere = replace(snapshot, region="eu-west-1")
    (error,) = (finding for finding in found(elsewhere, "account-lacks") if "Region" in finding.reason)
    assert error.severity is Severity.ERROR
    assert "of Region eu-west-1, and the environment is for us-west-2" in error.reason
    assert account_of(with_snapshot(STATED, elsewhere), MANIFESTS).region == REGION


def test_a_deployment_to_another_account_or_region_than_was_read_is_refused(snapshot: AccountSnapshot) -> None:
    environment = with_snapshot(STATED, snapshot)
    check_snapshot(environment, snapshot.account, REGION)
    check_snapshot(STATED, "999999999999", REGION)
    for account, region in (("999999999999", REGION), (snapshot.account, "eu-west-1")):
        with pytest.raises(UsageError, match=f"the deployment is for account {account} in {region}") as refused:
            check_snapshot(environment, account, region)
        assert "Run `drydock account ours` there" in refused.value.remedy


@pytest.mark.parametrize("status", ["DELETING", "FAILED"])
def test_a_cluster_that_goes_or_is_another_than_the_kubeconfigs_is_found(
    snapshot: AccountSnapshot, status: str
) -> None:
    going = replace(snapshot, control_plane=ControlPlane("1.36", status))
    (error,) = (finding for finding in found(going, "account-lacks") if status in finding.reason)
    assert error.severity is Severity.ERROR
    other = replace(snapshot, cluster=ClusterContents("1.35"))
    assert any("may be another cluster's" in finding.reason for finding in found(other, "account-lacks"))


def test_images_of_strangers_and_those_that_are_not_available_are_not_found(settings: Mapping[str, str]) -> None:
    from moto.ec2.models import ec2_backends

    assert settings
    ec2, backend = boto3.client("ec2", region_name=REGION), ec2_backends["123456789012"][REGION]
    image = images(REGION, [{"alias": "al2023@v20260714"}], "1.36")["al2023@v20260714"]
    for name, owner, state in (
        ("ours", "123456789012", "available"),
        ("pending", "123456789012", "pending"),
        ("stranger", "999999999999", "available"),
    ):
        copy = ec2.copy_image(SourceImageId=image, SourceRegion=REGION, Name=name)["ImageId"]
        backend.amis[copy].owner_id, backend.amis[copy].state = owner, state
    found = images(REGION, [{"name": name} for name in ("ours", "pending", "stranger")], "1.36")
    assert {name: bool(identifier) for name, identifier in found.items()} == {
        "ours": True,
        "pending": False,
        "stranger": False,
    }
    assert images(REGION, [{"name": "stranger", "owner": "999999999999"}], "1.36")["stranger"]


def test_quotas_without_an_applied_value_have_their_default_and_node_groups_use_theirs(
    settings: Mapping[str, str],
) -> None:
    assert settings
    own = {"kubernetes.io/cluster/small": "owned", "eks:cluster-name": "small"}
    running = [("m7i.large", "on-demand", own), ("m7i.large", "on-demand", {**own, "eks:nodegroup-name": "system"})]
    read = quotas(REGION, "small", running, (), {"m7i.large": 2})
    assert (read["L-1216C47A"].limit, read["L-1216C47A"].used) == (5, 2)
    assert read["L-417A185B"].limit == 0, "P instances"
    assert read["L-34B43A08"].limit == 5, "standard instances on spot capacity"


def test_what_is_used_up_over_or_not_there_is_found(snapshot: AccountSnapshot) -> None:
    over = {RESERVED.id: replace(snapshot.reservations[RESERVED.id], state="expired")}
    full = {RESERVED.id: replace(snapshot.reservations[RESERVED.id], available=0)}
    assert any(
        "is expired" in finding.reason for finding in found(replace(snapshot, reservations=over), "account-lacks")
    )
    assert any(
        "none of its 2" in finding.reason for finding in found(replace(snapshot, reservations=full), "account-lacks")
    )
    cluster = replace(snapshot, cluster=ClusterContents("1.36", secrets={"hf-secret": ("token",)}))
    assert any("no key hf_api_token" in finding.reason for finding in found(cluster, "account-lacks"))


def test_a_snapshot_older_than_a_week_is_a_warning(snapshot: AccountSnapshot) -> None:
    assert not found(snapshot, "account-snapshot-old")
    old = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=8)
    (warning,) = found(replace(snapshot, read=old.isoformat(timespec="seconds")), "account-snapshot-old")
    assert warning.severity is Severity.WARNING
    assert "Run `drydock account test` again." in warning.remedy


def test_a_snapshot_of_a_day_that_is_still_to_come_is_a_warning(snapshot: AccountSnapshot) -> None:
    ahead = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=2)
    (warning,) = found(replace(snapshot, read=ahead.isoformat(timespec="seconds")), "account-snapshot-old")
    assert "which is still to come" in warning.reason


@pytest.mark.parametrize(("kind", "minutes", "over"), [("default", 5, False), ("capacity-block", 5, True)])
def test_a_reservation_that_has_ended_since_it_was_read_is_over(
    snapshot: AccountSnapshot, kind: str, minutes: int, over: bool
) -> None:
    def until(minutes: int) -> AccountSnapshot:
        end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
        held = replace(snapshot.reservations[RESERVED.id], kind=kind, end=end.isoformat(timespec="seconds"))
        return replace(snapshot, reservations={RESERVED.id: held})

    assert bool(with_snapshot(STATED, until(60)).capacity_reservations)
    assert bool(with_snapshot(STATED, until(minutes)).capacity_reservations) != over
    assert not with_snapshot(STATED, until(-1)).capacity_reservations
    assert any("is expired, as of" in finding.reason for finding in found(until(-1), "account-lacks"))


def test_the_file_beside_an_environment_is_read_with_it(snapshot: AccountSnapshot, tmp_path: Path) -> None:
    values = tmp_path / "values"
    (values / "environments").mkdir(parents=True)
    (values / "ours.yaml").write_text("{}")
    (values / "environments" / "ours.yaml").write_text("description: ours\nstack: [ours.yaml]\n")
    project = Project(tmp_path, tmp_path / "cache")
    assert load_environment(project, "ours").snapshot is None
    file = values / "accounts" / "ours.yaml"
    write_snapshot(file, snapshot)
    assert load_environment(project, "ours").quotas["L-DB2E81BA"] == 40
    file.write_text("broken")
    with pytest.raises(UsageError, match="not a snapshot"):
        load_environment(project, "ours")
    assert stated_environment(project, "ours").snapshot is None, "what `drydock account` reads it for again"


def with_addresses(snapshot: AccountSnapshot, free: int) -> AccountSnapshot:
    def changed(state: NodeClassState) -> NodeClassState:
        subnets = {key: replace(subnet, free_addresses=free) for key, subnet in state.subnets.items()}
        return replace(state, subnets=subnets)

    return replace(snapshot, node_classes={name: changed(state) for name, state in snapshot.node_classes.items()})


def test_subnets_that_are_nearly_full_are_found(snapshot: AccountSnapshot) -> None:
    many = deployment(pod_spec({"cpu": "1m"}), replicas=61)
    assert not any(
        "free addresses" in finding.reason for finding in found(with_addresses(snapshot, 32), "account-lacks")
    )
    few = found(with_addresses(snapshot, 16), "account-lacks", many)
    assert any("61 pods, and its subnets" in finding.reason for finding in few)
    assert any("has 16 free addresses" in finding.reason for finding in few)
    none = [
        finding
        for finding in found(with_addresses(snapshot, 15), "account-lacks")
        if finding.severity is Severity.ERROR
    ]
    assert any("no subnet with the 16 free addresses" in finding.reason for finding in none)


def test_the_policy_of_the_page_allows_what_is_asked_and_no_more(
    settings: Mapping[str, str], drydock_project: Project
) -> None:
    asked = set()

    def note(model: "OperationModel", **_: object) -> None:
        asked.add(f"{model.service_model.signing_name}:{model.name}")

    profile = node_class("profile", "al2023@v20260714", instanceProfile="nodes", amiSelectorTerms=[{"name": "ours-*"}])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        boto3.setup_default_session()
        assert boto3.DEFAULT_SESSION
        boto3.DEFAULT_SESSION.events.register("before-call.*.*", note)
        read(drydock_project, [*MANIFESTS, *manifests_of(to_yaml([profile]))])
    (block,) = re.findall("```json\n(.*?)```", (ROOT / "docs" / "account.md").read_text(), re.DOTALL)
    (statement,) = json.loads(block)["Statement"]
    assert asked - {"sts:GetCallerIdentity"} == set(statement["Action"]), "which no policy has to allow"


def test_the_command_writes_what_it_prints(drydock: Drydock, settings: Mapping[str, str], tmp_path: Path) -> None:
    file = tmp_path / "accounts" / "dev.yaml"
    command = ("account", "dev", "--cluster", "small", "-o", file, "--format", "json")
    done = drydock(*command, env=settings)
    assert done.returncode == 0, done.stderr
    written = read_snapshot(file)
    assert written
    assert json.loads(done.stdout) == to_plain(written)
    assert f"written to {file}" in done.stderr
    assert written.quotas["L-DB2E81BA"].used == 24
    assert written.control_plane
    assert written.node_classes


@pytest.mark.parametrize(
    ("operation", "code"),
    [("GetRole", "AccessDenied"), ("DescribeSubnets", "UnauthorizedOperation"), ("Addons", "AccessDeniedException")],
)
def test_what_the_role_may_not_do_is_named(
    refusing: Failures, drydock_project: Project, operation: str, code: str
) -> None:
    match = "GET /clusters/small/addons" if operation == "Addons" else f"Action={operation}"
    refusing.rules = [{"match": match, "status": 403, "code": code, "times": 1}]
    with pytest.raises(AwsError) as refused:
        read(drydock_project, MANIFESTS)
    assert code in refused.value.message
    assert f"Allow the role {'List' if operation == 'Addons' else ''}{operation}" in refused.value.remedy
    assert refused.value.exit_status == 1


def test_without_credentials_the_remedy_is_reported(
    drydock: Drydock, settings: Mapping[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "dev.yaml"
    nothing = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
    done = drydock("account", "dev", "-o", file, "--format", "json", env={**settings, **nothing})
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["type"] == "AwsError"
    assert "Sign in" in error["remedy"]
    assert "Traceback" not in done.stderr
    assert not file.exists()
