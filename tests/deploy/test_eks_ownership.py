"""Nothing of a cluster is changed or removed that the deployment's own state does not hold."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import boto3
import pytest

from drydock.deploy.deployments import Deployment, keep, remembered
from drydock.deploy.eks import ownership
from drydock.deploy.eks.data import data_of
from drydock.deploy.eks.leftovers import find_caused, find_leftovers, remove_leftovers
from drydock.deploy.expired import find_expired
from drydock.errors import ClusterError, UsageError
from drydock.project import Project
from tests.conftest import ROOT, Drydock
from tests.deploy.conftest import ACCOUNT, REGION

pytestmark = pytest.mark.usefixtures("credentials")
NAME = "dev-eks"
PAST = "2020-01-01T00:00:00Z"
MADE = ("aws_eks_cluster.this", "aws_iam_role_policy.karpenter[0]")


@pytest.fixture
def theirs(aws: str) -> Iterator[str]:
    """A colleague's cluster of the default name, in a VPC of its own; gives the VPC."""
    ec2, eks = boto3.client("ec2", region_name=REGION), boto3.client("eks", region_name=REGION)
    tags = {"drydock.dev/cluster": NAME, "drydock.dev/owner": "colleague@example.com", "drydock.dev/expires-at": PAST}
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    specification = [{"ResourceType": "vpc", "Tags": listed}]
    vpc = ec2.create_vpc(CidrBlock="10.7.0.0/16", TagSpecifications=specification)["Vpc"]["VpcId"]
    zones = [f"{REGION}{letter}" for letter in "ab"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.7.{number}.0/24", AvailabilityZone=zone)["Subnet"]["SubnetId"]
        for number, zone in enumerate(zones)
    ]
    role = f"arn:aws:iam::{ACCOUNT}:role/theirs"
    eks.create_cluster(name=NAME, roleArn=role, tags=tags, resourcesVpcConfig={"subnetIds": subnets})
    yield vpc
    eks.delete_cluster(name=NAME)
    for subnet in subnets:
        ec2.delete_subnet(SubnetId=subnet)
    ec2.delete_vpc(VpcId=vpc)


def node(subnet: str | None = None, **tags: str) -> str:
    """A running instance."""
    ec2 = boto3.client("ec2", region_name=REGION)
    listed = [{"Key": key, "Value": value} for key, value in tags.items()]
    where: Mapping[str, Any] = {"SubnetId": subnet} if subnet else {}
    specification = [{"ResourceType": "instance", "Tags": listed}]
    made = ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, TagSpecifications=specification, **where)
    return str(made["Instances"][0]["InstanceId"])


def end(*instances: str) -> None:
    boto3.client("ec2", region_name=REGION).terminate_instances(InstanceIds=list(instances))


def state_of(instance: str) -> str:
    found = boto3.client("ec2", region_name=REGION).describe_instances(InstanceIds=[instance])
    return str(found["Reservations"][0]["Instances"][0]["State"]["Name"])


def test_a_colleagues_cluster_of_the_same_name_is_neither_taken_over_nor_removed(theirs: str) -> None:
    with pytest.raises(UsageError, match="the Terraform state of this deployment does not hold it") as refused:
        ownership.check_before_change(NAME, REGION, (), owner="me@example.com", take_over=True)
    assert "another --name" in str(refused.value)
    for applied in (True, False):
        with pytest.raises(ClusterError, match="is there, and its Terraform state is not"):
            ownership.check_before_removal(NAME, REGION, (), applied=applied)


def test_a_cluster_in_a_shared_bucket_changes_hands_only_on_request(theirs: str) -> None:
    with pytest.raises(UsageError, match=r"colleague@example.com answers for the cluster dev-eks") as refused:
        ownership.check_before_change(NAME, REGION, MADE, owner="me@example.com", take_over=False)
    assert "--take-over" in str(refused.value)
    ownership.check_before_change(NAME, REGION, MADE, owner="me@example.com", take_over=True)
    ownership.check_before_change(NAME, REGION, MADE, owner="colleague@example.com", take_over=False)
    assert ownership.check_before_removal(NAME, REGION, MADE, applied=True) == theirs


def test_nodes_of_a_namesake_in_another_vpc_are_left_alone(theirs: str) -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    subnets = ec2.describe_subnets(Filters=[{"Name": "vpc-id", "Values": [theirs]}])["Subnets"]
    tags = {f"kubernetes.io/cluster/{NAME}": "owned", "karpenter.sh/nodepool": "gpu"}
    inside, outside = node(subnets[0]["SubnetId"], **tags), node(**tags)
    for find in (find_caused, find_leftovers):
        found = {each.id for each in find(NAME, REGION, theirs)}
        assert inside in found
        assert outside not in found
    end(inside, outside)


def test_who_may_tag_one_resource_has_nothing_else_removed(drydock: Drydock, tmp_path: Any) -> None:
    """The hourly removal of an account, and a self-managed cluster that somebody wants gone."""
    payments = node(**{"kubernetes.io/cluster/payments": "owned"})
    bait = node(**{"drydock.dev/cluster": "payments", "drydock.dev/expires-at": PAST})
    with pytest.raises(ClusterError, match="no Terraform state of payments: tags alone do not show"):
        ownership.check_before_removal("payments", REGION, (), applied=False)
    assert {each.id for each in find_leftovers("payments", REGION, own=True)} == {bait}
    assert state_of(payments) == "running"
    end(payments, bait)


def test_a_tag_is_no_path(tmp_path: Any) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    bait = node(**{"drydock.dev/cluster": "../../../victim", "drydock.dev/expires-at": PAST})
    found = find_expired(Project(ROOT, tmp_path / "a" / "b" / "c"), ACCOUNT, REGION, "", "")
    assert "../../../victim" not in {each.name for each in found.expired} | set(found.undated)
    assert found.misnamed == ("'../../../victim'",)
    assert victim.is_dir()
    end(bait)


def test_a_state_lies_under_its_account_and_region() -> None:
    places = {ownership.state_key(account, region, NAME) for account in "12" for region in ("a", "b")}
    assert len(places) == 4
    assert ownership.state_key(ACCOUNT, REGION, NAME) == f"drydock/{ACCOUNT}/{REGION}/{NAME}.tfstate"


def test_a_state_of_an_earlier_release_is_copied_if_it_is_of_this_account_and_region() -> None:
    bucket, s3 = "old-states", boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    state = {"resources": [{"arn": f"arn:aws:eks:{REGION}:{ACCOUNT}:cluster/{NAME}"}]}
    s3.put_object(Bucket=bucket, Key=f"drydock/{NAME}.tfstate", Body=json.dumps(state).encode())
    assert not ownership.adopt_old_state(bucket, REGION, ACCOUNT, "eu-west-1", NAME), "of another Region"
    assert ownership.adopt_old_state(bucket, REGION, ACCOUNT, REGION, NAME)
    assert not ownership.adopt_old_state(bucket, REGION, ACCOUNT, REGION, NAME), "it is there now"
    found = s3.get_object(Bucket=bucket, Key=ownership.state_key(ACCOUNT, REGION, NAME))["Body"].read()
    assert json.loads(found) == state


def test_a_bucket_of_states_keeps_versions() -> None:
    bucket, s3 = "versions", boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    with pytest.raises(UsageError, match="it keeps no versions") as refused:
        ownership.check_versions(bucket, REGION)
    assert "put-bucket-versioning" in str(refused.value)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ownership.check_versions(bucket, REGION)


def test_the_place_of_the_state_is_remembered_and_not_changed_by_accident(tmp_path: Any) -> None:
    project = Project(ROOT, tmp_path)
    settings = {"account_id": ACCOUNT, "region": REGION, "backend_bucket": "states", "backend_region": ""}
    first = Deployment(NAME, "dev", "eks", "genai", PAST, PAST, settings)
    assert remembered(project, first) == first
    keep(project, first)
    forgotten = replace(first, settings={**settings, "backend_bucket": ""})
    assert remembered(project, forgotten).settings["backend_bucket"] == "states"
    with pytest.raises(UsageError, match="--backend-bucket others: the state of dev-eks lies in states"):
        remembered(project, replace(first, settings={**settings, "backend_bucket": "others"}))


def test_destroy_asks_and_says_what_holds_data(drydock: Drydock, tmp_path: Any) -> None:
    bucket, s3 = f"{NAME}-models-{ACCOUNT}", boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    assert data_of(NAME, ACCOUNT, REGION) == ()
    s3.put_object(Bucket=bucket, Key="llama/config.json", Body=b"{}")
    assert data_of(NAME, ACCOUNT, REGION) == (f"bucket {bucket}: 1 objects",)
    settings = {"account_id": ACCOUNT, "region": REGION}
    keep(Project(ROOT, tmp_path), Deployment(NAME, "dev", "eks", "genai", PAST, PAST, settings))
    done = drydock("destroy", NAME, env={"DRYDOCK_CACHE": str(tmp_path)})
    assert done.returncode == 2
    assert f"there is no terminal to confirm the removal of {NAME} on" in done.stderr
    assert (tmp_path / "deployments" / NAME).exists()


def test_free_things_of_controllers_that_were_never_uninstalled_are_removed(aws: str) -> None:
    """Launch templates, target groups and instance profiles; those of a self-managed cluster of the same name stay."""
    ec2, iam, elb = (boto3.client(name, region_name=REGION) for name in ("ec2", "iam", "elbv2"))
    theirs = [
        {"Key": "karpenter.k8s.aws/cluster", "Value": NAME},
        {"Key": f"kubernetes.io/cluster/{NAME}", "Value": "owned"},
    ]
    ours = [*theirs, {"Key": "drydock.dev/cluster", "Value": NAME}]
    vpc = ec2.create_vpc(CidrBlock="10.8.0.0/16")["Vpc"]["VpcId"]
    iam.create_role(RoleName="of-the-profile", AssumeRolePolicyDocument="{}")
    for name, tags in (("ours", ours), ("theirs", theirs)):
        ec2.create_launch_template(
            LaunchTemplateName=name,
            LaunchTemplateData={"InstanceType": "g6.xlarge"},
            TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags}],
        )
        elb.create_target_group(Name=name, Protocol="TCP", Port=80, VpcId=vpc, Tags=tags)
        iam.create_instance_profile(InstanceProfileName=name, Path=f"/karpenter/{REGION}/{NAME}/{name}/", Tags=tags)
    iam.add_role_to_instance_profile(InstanceProfileName="ours", RoleName="of-the-profile")
    found = find_leftovers(NAME, REGION, own=True)
    assert [each.kind for each in found] == ["target group", "launch template", "instance profile"]
    assert remove_leftovers(found, REGION) == ()
    assert find_leftovers(NAME, REGION, own=True) == ()
    assert [each["LaunchTemplateName"] for each in ec2.describe_launch_templates()["LaunchTemplates"]] == ["theirs"]
    assert [each["TargetGroupName"] for each in elb.describe_target_groups()["TargetGroups"]] == ["theirs"]
    assert [each["InstanceProfileName"] for each in iam.list_instance_profiles()["InstanceProfiles"]] == ["theirs"]
    iam.delete_instance_profile(InstanceProfileName="theirs")
    elb.delete_target_group(TargetGroupArn=elb.describe_target_groups()["TargetGroups"][0]["TargetGroupArn"])
    ec2.delete_launch_template(LaunchTemplateName="theirs")
    iam.delete_role(RoleName="of-the-profile")
    ec2.delete_vpc(VpcId=vpc)
