"""The EKS target with the real Terraform against an account on this machine."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
import yaml

from drydock.deploy.deployments import Deployment, keep, list_deployments
from drydock.deploy.eks.caller import AwsError, has_spot_role
from drydock.deploy.eks.leftovers import EXPIRES_TAG, dated_clusters, expiry, find_leftovers, stop_karpenter
from drydock.deploy.eks.ownership import state_key
from drydock.deploy.eks.target import EksTarget
from drydock.deploy.eks.terraform import TerraformError
from drydock.errors import ClusterError, ToolchainError, UsageError
from drydock.progress import SilentProgress
from drydock.project import Project
from drydock.tools.on_path import find_terraform
from tests.conftest import ROOT, Drydock
from tests.deploy.conftest import ACCOUNT, REGION, Fail

pytestmark = [pytest.mark.terraform, pytest.mark.usefixtures("credentials")]
NAME = "genai-past"
EXPIRES = "2020-01-01T00:00:00Z"
LATER = "2999-01-01T00:00:00Z"


@pytest.fixture(autouse=True)
def aws_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On PATH, as a kubeconfig needs it; nothing here calls it."""
    program = tmp_path / "programs" / "aws"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(ROOT, tmp_path / "cache")


def deployment(account: str = ACCOUNT) -> Deployment:
    settings = {"account_id": account, "region": REGION, "owner": "tests", "backend_bucket": "", "backend_region": ""}
    return Deployment(NAME, "dev", "eks", "genai", EXPIRES, EXPIRES, settings)


class Caused:
    """What a cluster causes outside of Terraform: a node, a volume, a load balancer with its security group."""

    def __init__(self) -> None:
        self.ec2 = boto3.client("ec2", region_name=REGION)
        self.balancers = boto3.client("elb", region_name=REGION)
        owned = [{"Key": f"kubernetes.io/cluster/{NAME}", "Value": "owned"}]
        tags = [*owned, {"Key": "karpenter.sh/nodepool", "Value": "gpu"}]
        instance = [{"ResourceType": "instance", "Tags": tags}]
        made = self.ec2.run_instances(ImageId="ami-12345678", MinCount=1, MaxCount=1, TagSpecifications=instance)
        self.instance = made["Instances"][0]["InstanceId"]
        volume = [{"ResourceType": "volume", "Tags": owned}]
        self.volume = self.ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1, TagSpecifications=volume)[
            "VolumeId"
        ]
        group = self.ec2.create_security_group(GroupName="k8s-elb-a0123456789", Description="of a load balancer")
        self.group = group["GroupId"]
        self.ec2.create_tags(Resources=[self.group], Tags=owned)
        listener = {"Protocol": "tcp", "LoadBalancerPort": 80, "InstancePort": 80}
        self.balancers.create_load_balancer(
            LoadBalancerName="a0123456789", Listeners=[listener], AvailabilityZones=[f"{REGION}a"], Tags=owned
        )

    def assert_gone(self) -> None:
        (state,) = self.ec2.describe_instances(InstanceIds=[self.instance])["Reservations"][0]["Instances"]
        assert state["State"]["Name"] == "terminated"
        assert self.volume not in [each["VolumeId"] for each in self.ec2.describe_volumes()["Volumes"]]
        assert self.group not in [each["GroupId"] for each in self.ec2.describe_security_groups()["SecurityGroups"]]
        assert self.balancers.describe_load_balancers()["LoadBalancerDescriptions"] == []


def assert_told_and_not_made(project: Project) -> None:
    told: list[str] = []

    def refuse(cost: str) -> None:
        told.append(cost)
        raise UsageError("no")

    target = EksTarget(project, deployment(), refuse)
    assert target.give_up(SilentProgress()), "nothing was begun"
    with pytest.raises(UsageError, match="no"):
        target.create(SilentProgress())
    assert target.give_up(SilentProgress()), "nothing was made, so nothing is remembered"
    assert "This costs $0.5" in told[0]
    assert "2 x m5.xlarge: $0.384" in told[0]
    assert "Its API server answers inside of the VPC alone" in told[0]
    assert boto3.client("eks", region_name=REGION).list_clusters()["clusters"] == []
    assert not list(deployment().folder(project).rglob("*.tfplan"))


def test_cost_is_told_then_the_cluster_is_made_and_expired_removes_it_with_its_leftovers(
    project: Project, drydock: Drydock, fail: Fail
) -> None:
    progress = SilentProgress()
    told: list[str] = []
    assert_told_and_not_made(project)
    keep(project, deployment())
    target = EksTarget(project, deployment(), told.append)
    target.check(progress)
    reached = target.create(progress)
    assert not target.give_up(progress)
    assert stat.S_IMODE(reached.kubeconfig.stat().st_mode) == 0o600
    config = yaml.safe_load(reached.kubeconfig.read_text())
    assert config["users"][0]["user"]["exec"]["args"][:2] == ["eks", "get-token"]
    assert set(config["users"][0]["user"]) == {"exec"}
    assert reached.overlay.values["global"]["clusterName"] == NAME
    assert reached.overlay.values["global"]["tags"] == {"drydock.dev/cluster": NAME}
    assert reached.overlay.values["global"]["autoMode"] == {"enabled": False}
    reached.kubeconfig.unlink()  # nothing answers behind it here

    caused = Caused()
    in_use = {"match": f"Action=DeleteSecurityGroup.*{caused.group}", "status": 400, "code": "DependencyViolation"}
    in_the_way = {"match": "Action=DeleteVpc&", "status": 400, "code": "OperationNotPermitted"}
    fail([{**in_use, "times": 1}, {**in_the_way, "times": 1}])

    env = {"DRYDOCK_CACHE": str(project.cache_dir)}
    expired = ("destroy", "--expired", "--account-id", ACCOUNT, "--region", REGION)
    tags = {"drydock.dev/cluster": NAME, EXPIRES_TAG: LATER}
    caused.ec2.create_tags(Resources=[caused.volume], Tags=[{"Key": key, "Value": tags[key]} for key in tags])
    assert "nothing is expired" in drydock(*expired, env=env).stdout, "one resource has the time of a later deployment"
    caused.ec2.create_tags(Resources=[caused.volume], Tags=[{"Key": EXPIRES_TAG, "Value": EXPIRES}])
    listed = drydock(*expired, env=env)
    assert f"{NAME}: expired at {EXPIRES}" in listed.stdout
    assert "Nothing was removed" in listed.stderr
    assert boto3.client("eks", region_name=REGION).list_clusters()["clusters"] == [NAME]

    removed = drydock(*expired, "--yes", env=env)
    assert removed.returncode == 0, removed.stderr
    assert f"removed: {NAME}" in removed.stdout
    assert caused.instance in removed.stderr
    assert caused.volume in removed.stderr
    caused.assert_gone()
    assert has_spot_role(REGION), "other clusters of the account may use it"
    assert boto3.client("eks", region_name=REGION).list_clusters()["clusters"] == []
    assert dated_clusters(REGION) == (), find_leftovers(NAME, REGION)
    assert not deployment().folder(project).exists()
    assert "testing" not in json.dumps([told, listed.stdout, listed.stderr, removed.stdout, removed.stderr])


def test_a_team_shares_the_state_in_a_bucket_and_whoever_finds_the_tags_removes_the_cluster(
    tmp_path: Path, drydock: Drydock
) -> None:
    bucket, progress = "team-states", SilentProgress()
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    shared = replace(deployment(), settings={**deployment().settings, "backend_bucket": bucket})
    logs, group = boto3.client("logs", region_name=REGION), f"/aws/eks/{NAME}/cluster"
    logs.create_log_group(logGroupName=group)  # as EKS leaves it of an earlier cluster
    told: list[str] = []
    EksTarget(Project(ROOT, tmp_path / "one"), shared, told.append).create(progress)
    state = state_key(ACCOUNT, REGION, NAME)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [state]
    assert not list((tmp_path / "one").rglob(f"{NAME}*/terraform/*.tfstate")), "the state has one place"

    another = EksTarget(Project(ROOT, tmp_path / "two"), shared, told.append)
    another.create(progress)
    assert len(told) == 1, "the second plan would change something"
    (adopted,) = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert adopted["retentionInDays"] == 14

    s3.put_object(Bucket=bucket, Key=f"{state}.tflock", Body=json.dumps({"ID": "1", "Who": "a colleague"}).encode())
    with pytest.raises(TerraformError, match="Error acquiring the state lock") as locked:
        another.create(progress)
    assert "Another process deploys this cluster" in str(locked.value)
    s3.delete_object(Bucket=bucket, Key=f"{state}.tflock")

    env = {"DRYDOCK_CACHE": str(tmp_path / "three")}
    expired = ("destroy", "--expired", "--account-id", ACCOUNT, "--region", REGION, "--yes")
    blind = drydock(*expired, env=env)
    assert blind.returncode == 1
    assert "its Terraform state is not" in blind.stderr
    assert "Give --backend-bucket" in blind.stderr
    removed = drydock(*expired, "--backend-bucket", bucket, env=env)
    assert removed.returncode == 0, removed.stderr
    assert f"removed: {NAME}" in removed.stdout
    assert boto3.client("eks", region_name=REGION).list_clusters()["clusters"] == []
    assert dated_clusters(REGION) == (), find_leftovers(NAME, REGION)


def test_another_account_and_expired_credentials_stop_at_once(project: Project, fail: Fail) -> None:
    with pytest.raises(UsageError, match="--account-id 999999999999: the credentials are of account"):
        EksTarget(project, deployment("999999999999"), print).check(SilentProgress())
    fail([{"match": "Action=GetCallerIdentity", "status": 403, "code": "ExpiredToken", "times": 1000}])
    with pytest.raises(AwsError, match="ExpiredToken"):
        EksTarget(project, deployment(), print).check(SilentProgress())


def test_deploy_with_another_account_leaves_nothing_behind(drydock: Drydock, tmp_path: Path) -> None:
    env = {"DRYDOCK_CACHE": str(tmp_path / "cache")}
    wrong = drydock("deploy", "dev", "--target", "eks", "--account-id", "999999999999", "--yes", env=env)
    assert wrong.returncode == 2
    assert "the credentials are of account" in wrong.stderr
    assert not (tmp_path / "cache" / "deployments").exists()


def test_what_is_missing_is_told_before_anything_is_made(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = tmp_path / "some"
    programs.mkdir()
    (programs / "terraform").symlink_to(find_terraform())
    monkeypatch.setenv("PATH", str(programs))
    with pytest.raises(ToolchainError, match="aws is not on PATH"):
        EksTarget(project, deployment(), print).check(SilentProgress())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="terraform is not on PATH"):
        EksTarget(project, deployment(), print).check(SilentProgress())


def test_a_plan_is_not_kept_when_it_cannot_be_priced_or_was_left_by_a_killed_command(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = EksTarget(project, deployment(), print)
    folder = deployment().folder(project) / "terraform"
    folder.mkdir(parents=True)
    (folder / "killed.tfplan").write_text("secret")

    def interrupted(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr("drydock.deploy.eks.target.hourly_cost", interrupted)
    with pytest.raises(KeyboardInterrupt):
        target.create(SilentProgress())
    assert not list(folder.glob("*.tfplan"))


def test_a_cluster_that_others_made_is_not_touched(project: Project) -> None:
    eks, iam = boto3.client("eks", region_name=REGION), boto3.client("iam", region_name=REGION)
    role = iam.create_role(RoleName="theirs", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    ec2 = boto3.client("ec2", region_name=REGION)
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]][:2]
    eks.create_cluster(name=NAME, roleArn=role, resourcesVpcConfig={"subnetIds": subnets})
    target = EksTarget(project, deployment(), print)
    try:
        for refuse in (target.check, target.destroy):
            with pytest.raises(
                UsageError, match=f"there is an EKS cluster {NAME} in {REGION} that Drydock did not make"
            ):
                refuse(SilentProgress())
    finally:
        eks.delete_cluster(name=NAME)
        iam.delete_role(RoleName="theirs")


def test_karpenter_keeps_its_rights_when_nothing_proves_that_the_cluster_is_ours(project: Project) -> None:
    iam, name = boto3.client("iam", region_name=REGION), f"{NAME}-karpenter"
    stop_karpenter(NAME, REGION)
    iam.create_role(RoleName=name, AssumeRolePolicyDocument="{}")
    policy = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Action": "ec2:RunInstances", "Resource": "*"}],
    }
    iam.put_role_policy(RoleName=name, PolicyName="karpenter", PolicyDocument=json.dumps(policy))
    with pytest.raises(ClusterError, match="no Terraform state of"):
        EksTarget(project, deployment(), print).destroy(SilentProgress())
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["karpenter"]
    iam.delete_role_policy(RoleName=name, PolicyName="karpenter")
    iam.delete_role(RoleName=name)


def test_expired_goes_on_after_a_failure_and_tells_of_times_that_it_cannot_read(
    drydock: Drydock, tmp_path: Path
) -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    times = {"one-past": EXPIRES, "two-past": EXPIRES, "undated": "tomorrow", "current": LATER}
    for name, expires in times.items():
        tags = {"drydock.dev/cluster": name, EXPIRES_TAG: expires, "drydock.dev/environment": "of-another-checkout"}
        listed = [{"Key": key, "Value": value} for key, value in tags.items()]
        ec2.create_vpc(CidrBlock="10.9.0.0/16", TagSpecifications=[{"ResourceType": "vpc", "Tags": listed}])
    elsewhere = Deployment(
        "two-past", "dev", "eks", "genai", EXPIRES, LATER, {"account_id": ACCOUNT, "region": "eu-west-1"}
    )
    keep(Project(ROOT, tmp_path / "cache"), elsewhere)
    command = ("destroy", "--expired", "--account-id", ACCOUNT, "--region", REGION, "--yes")
    done = drydock(*command, env={"DRYDOCK_CACHE": str(tmp_path / "cache")})
    assert done.returncode == 1
    assert done.stdout == f"one-past: expired at {EXPIRES}\ntwo-past: expired at {EXPIRES}\n"
    for name in ("one-past", "two-past"):
        assert f"{name}: the cluster {name} is there, and its Terraform state is not" in done.stderr
    assert "undated: its tag drydock.dev/expires-at is no time: tomorrow" in done.stderr
    assert "current" not in done.stderr
    for network in ec2.describe_vpcs(Filters=[{"Name": "tag-key", "Values": [EXPIRES_TAG]}])["Vpcs"]:
        ec2.delete_vpc(VpcId=network["VpcId"])


@pytest.mark.parametrize(
    ("text", "when"), [("2020-01-01T00:00:00Z", True), ("2020-01-01", True), ("soon", False), ("", False)]
)
def test_the_time_in_a_tag(text: str, when: bool) -> None:
    assert bool(expiry(text)) is when


def networks(cluster: str) -> Sequence[object]:
    wanted = [{"Name": "tag:drydock.dev/cluster", "Values": [cluster]}]
    found: Sequence[object] = boto3.client("ec2", region_name=REGION).describe_vpcs(Filters=wanted)["Vpcs"]
    return found


def test_an_interrupt_lets_terraform_write_its_state_and_destroy_goes_on_from_there(
    drydock: Drydock, drydock_project: Project
) -> None:
    name = f"test-{os.getpid()}"
    where = ("--account-id", ACCOUNT, "--region", REGION, "--name", name)
    command = [sys.executable, "-m", "drydock", "deploy", "dev", "--target", "eks", *where, "--yes"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        while not networks(name) and running.poll() is None:
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        _, told = running.communicate()
    assert running.returncode == 130, told
    assert told.endswith("interrupted\n")
    made = next(each for each in list_deployments(drydock_project) if each.name == name)
    assert not list(made.folder(drydock_project).rglob("*.tfplan"))
    gone = drydock("destroy", name, "--yes")
    assert gone.returncode == 0, gone.stderr
    assert not networks(name)
    assert dated_clusters(REGION) == ()
