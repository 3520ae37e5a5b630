"""The EKS target with the real Terraform against an account on this machine."""

import json
import stat
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import boto3
import pytest
import yaml

from drydock.deploy.deployments import Deployment, keep
from drydock.deploy.eks.account import AwsError
from drydock.deploy.eks.leftovers import expired_clusters, find_leftovers
from drydock.deploy.eks.target import EksTarget
from drydock.deploy.eks.terraform import TerraformError
from drydock.errors import UsageError
from drydock.progress import SilentProgress
from drydock.project import Project

from ..conftest import ROOT, Drydock
from .conftest import ACCOUNT, REGION, Fail

pytestmark = [pytest.mark.terraform, pytest.mark.usefixtures("credentials")]
NAME = "genai-past"
EXPIRES = "2020-01-01T00:00:00Z"


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(ROOT, tmp_path / "cache")


def deployment(account: str = ACCOUNT) -> Deployment:
    settings = {"account_id": account, "region": REGION, "owner": "tests", "backend_bucket": "", "backend_region": ""}
    return Deployment(NAME, "dev", "eks", "genai", EXPIRES, EXPIRES, settings)


def test_cost_is_told_then_the_cluster_is_made_and_expired_removes_it_with_its_leftovers(
    project: Project, drydock: Drydock
) -> None:
    progress = SilentProgress()
    told: list[str] = []

    def refuse(cost: str) -> None:
        told.append(cost)
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        EksTarget(project, deployment(), refuse).create(progress)
    assert "This costs $0.5" in told[0]
    assert "2 x m5.xlarge: $0.384" in told[0]
    assert boto3.client("eks", region_name=REGION).list_clusters()["clusters"] == []
    folder = deployment().folder(project)
    assert not list(folder.rglob("*.tfplan"))

    keep(project, deployment())
    target = EksTarget(project, deployment(), told.append)
    target.check(progress)
    reached = target.create(progress)
    assert stat.S_IMODE(reached.kubeconfig.stat().st_mode) == 0o600
    config = yaml.safe_load(reached.kubeconfig.read_text())
    assert config["users"][0]["user"]["exec"]["args"][:2] == ["eks", "get-token"]
    assert set(config["users"][0]["user"]) == {"exec"}
    assert reached.values["global"]["clusterName"] == NAME
    assert reached.values["global"]["tags"]["drydock.dev/expires-at"] == EXPIRES
    reached.kubeconfig.unlink()  # nothing answers behind it here

    ec2 = boto3.client("ec2", region_name=REGION)
    tags = [
        {"Key": f"kubernetes.io/cluster/{NAME}", "Value": "owned"},
        {"Key": "karpenter.sh/nodepool", "Value": "gpu"},
    ]
    image = ec2.describe_images()["Images"][0]["ImageId"] if ec2.describe_images()["Images"] else "ami-12345678"
    made = ec2.run_instances(
        ImageId=image, MinCount=1, MaxCount=1, TagSpecifications=[{"ResourceType": "instance", "Tags": tags}]
    )
    volume_tags = [{"ResourceType": "volume", "Tags": tags[:1]}]
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1, TagSpecifications=volume_tags)["VolumeId"]

    env = {"DRYDOCK_CACHE": str(project.cache_dir)}
    expired = ("destroy", "--expired", "--account-id", ACCOUNT, "--region", REGION)
    listed = drydock(*expired, env=env)
    assert f"{NAME}: expired at {EXPIRES}" in listed.stdout
    assert "Nothing was removed" in listed.stderr
    assert boto3.client("eks", region_name=REGION).list_clusters()["clusters"] == [NAME]

    removed = drydock(*expired, "--yes", env=env)
    assert removed.returncode == 0, removed.stderr
    assert f"removed: {NAME}" in removed.stdout
    assert made["Instances"][0]["InstanceId"] in removed.stderr
    assert volume in removed.stderr
    state = ec2.describe_instances(InstanceIds=[made["Instances"][0]["InstanceId"]])["Reservations"][0]["Instances"]
    assert state[0]["State"]["Name"] == "terminated"
    assert volume not in [each["VolumeId"] for each in ec2.describe_volumes()["Volumes"]]
    assert boto3.client("eks", region_name=REGION).list_clusters()["clusters"] == []
    assert expired_clusters(REGION, datetime.now(UTC)) == (), find_leftovers(NAME, REGION)
    assert not folder.exists()
    assert "testing" not in json.dumps([told, listed.stdout, listed.stderr, removed.stdout, removed.stderr])


def test_a_team_shares_the_state_in_a_bucket_and_whoever_finds_the_tags_removes_the_cluster(
    tmp_path: Path, drydock: Drydock
) -> None:
    bucket, progress = "team-states", SilentProgress()
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    shared = replace(deployment(), settings={**deployment().settings, "backend_bucket": bucket})
    told: list[str] = []
    EksTarget(Project(ROOT, tmp_path / "one"), shared, told.append).create(progress)
    state = f"drydock/{NAME}.tfstate"
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [state]
    assert not list((tmp_path / "one").rglob(f"{NAME}*/terraform/*.tfstate")), "the state has one place"

    another = EksTarget(Project(ROOT, tmp_path / "two"), shared, told.append)
    another.create(progress)
    assert len(told) == 1, "the second plan would change something"

    s3.put_object(Bucket=bucket, Key=f"{state}.tflock", Body=json.dumps({"ID": "1", "Who": "a colleague"}).encode())
    with pytest.raises(TerraformError, match="Error acquiring the state lock") as locked:
        another.create(progress)
    assert "Somebody else deploys this cluster" in str(locked.value)
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
    assert expired_clusters(REGION, datetime.now(UTC)) == (), find_leftovers(NAME, REGION)


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
