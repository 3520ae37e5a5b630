"""ci/eks with the real Terraform and the real AWS provider, against an account on this machine."""

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from drydock.deploy.eks.caller import AwsError, check_account, has_spot_role
from drydock.deploy.eks.terraform import Backend, Terraform, TerraformError
from drydock.errors import UsageError
from drydock.progress import SilentProgress
from drydock.tools.on_path import find_terraform
from drydock.tools.process import run
from tests.conftest import ROOT
from tests.deploy.conftest import ACCOUNT, REGION, Fail

pytestmark = [pytest.mark.terraform, pytest.mark.usefixtures("credentials")]
CONFIGURATION = ROOT / "ci" / "eks"
CLUSTER = "genai-test"
TAG = "drydock.dev/cluster"
VARIABLES: Mapping[str, Any] = {
    "account_id": ACCOUNT,
    "region": REGION,
    "cluster_name": CLUSTER,
    "environment": "dev",
    "owner": "tests",
    "expires_at": "2030-01-01T00:00:00Z",
    "admin_role_arns": [f"arn:aws:iam::{ACCOUNT}:role/admin"],
    "service_accounts": {
        "models": ["genai-vllm"],
        "read_artifacts": ["genai-argo-server"],
        "data": ["genai-argo-data"],
        "training": ["genai-argo-training"],
        "container_insights": ["kube-system/agent"],
    },
    "make_spot_role": True,
}


@pytest.fixture(scope="module")
def progress() -> SilentProgress:
    return SilentProgress()


@pytest.fixture
def terraform(tmp_path: Path, progress: SilentProgress) -> Terraform:
    made = Terraform(find_terraform(), tmp_path / "work", VARIABLES)
    made.init(CONFIGURATION, Backend(), progress)
    return made


def tagged(cluster: str = CLUSTER) -> set[str]:
    """ARNs of what carries the cluster's tag, but for what AWS itself shows for a while after its deletion."""
    api = boto3.client("resourcegroupstaggingapi", region_name=REGION)
    pages = api.get_paginator("get_resources").paginate(TagFilters=[{"Key": TAG, "Values": [cluster]}])
    found = {each["ResourceARN"] for page in pages for each in page["ResourceTagMappingList"]}
    return {each for each in found if not re.search(":(key|natgateway)/", each)}


def role_policy(role: str, name: str) -> Mapping[str, Any]:
    found = boto3.client("iam", region_name=REGION).get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    return {each["Sid"]: each for each in found["Statement"]}


def assert_pods_of_other_clusters_get_no_role_of_this_one() -> None:
    arn = boto3.client("eks", region_name=REGION).describe_cluster(name=CLUSTER)["cluster"]["arn"]
    roles = boto3.client("iam", region_name=REGION).list_roles()["Roles"]
    trusts = [each["AssumeRolePolicyDocument"]["Statement"][0] for each in roles if CLUSTER in each["RoleName"]]
    of_pods = [each for each in trusts if each["Principal"] == {"Service": "pods.eks.amazonaws.com"}]
    assert len(of_pods) == 12, "eight rights, two add-ons, Karpenter and the AWS Load Balancer Controller"
    for each in of_pods:
        assert set(each["Action"]) == {"sts:AssumeRole", "sts:TagSession"}
        assert each["Condition"] == {"StringEquals": {"aws:RequestTag/eks-cluster-arn": arn}}


def assert_who_reads_artifacts_may_not_write() -> None:
    bucket = f"arn:aws:s3:::{CLUSTER}-artifacts-{ACCOUNT}"
    iam, right = boto3.client("iam", region_name=REGION), "read-artifacts"
    policy = iam.get_role_policy(RoleName=f"{CLUSTER}-{right}", PolicyName=right)["PolicyDocument"]
    allowed = {each["Action"]: each["Resource"] for each in policy["Statement"]}
    assert allowed == {"s3:ListBucket": bucket, "s3:GetObject": f"{bucket}/*"}


def assert_stages_of_pipelines_and_engines_write_below_their_prefix_alone() -> None:
    own = f"arn:aws:s3:::{CLUSTER}-artifacts-{ACCOUNT}/workflows/${{aws:PrincipalTag/kubernetes-namespace}}/*"
    tuned = f"arn:aws:s3:::{CLUSTER}-models-{ACCOUNT}/tuned/*"
    compiled = f"arn:aws:s3:::{CLUSTER}-models-{ACCOUNT}/compiled/*"
    iam, written = boto3.client("iam", region_name=REGION), {}
    for kind in ("data", "training", "evaluation", "deployment", "models"):
        policy = iam.get_role_policy(RoleName=f"{CLUSTER}-{kind}", PolicyName=kind)["PolicyDocument"]
        statements = [
            (statement, [statement["Action"]] if isinstance(statement["Action"], str) else statement["Action"])
            for statement in policy["Statement"]
        ]
        written[kind] = {
            statement["Resource"]
            for statement, actions in statements
            if {"s3:PutObject", "s3:DeleteObject"} & {*actions}
        }
    stages = {"data": {own}, "training": {own, tuned}, "evaluation": {own}, "deployment": {own}}
    assert written == {**stages, "models": {compiled}}


def assert_rights_on_buckets_are_those_of_the_work() -> None:
    assert_who_reads_artifacts_may_not_write()
    assert_stages_of_pipelines_and_engines_write_below_their_prefix_alone()


def assert_karpenter_may_no_more_than_upstream_documents(statements: Mapping[str, Any]) -> None:
    """The controller policy of Karpenter 1.14's reference, bound to this account besides."""
    assert len(json.dumps(list(statements.values()), separators=(",", ":"))) < 10_000, "IAM's limit is 10,240"
    everything = {sid: each for sid, each in statements.items() if each["Resource"] == "*"}
    assert set(everything) == {"LookAround", "ReadPrices", "ListInstanceProfiles", "HearOfZonalShifts"}
    conditions = {sid: json.dumps(each.get("Condition", {})) for sid, each in statements.items()}
    assert f'"aws:RequestedRegion": "{REGION}"' in conditions["LookAround"]
    assert f":cluster/{CLUSTER}" in conditions["HearOfZonalShifts"]
    for sid in ("StartInstancesFromOwnTemplates", "TagOwnInstances", "EndOwn"):
        assert f"aws:ResourceTag/kubernetes.io/cluster/{CLUSTER}" in conditions[sid]
        assert "aws:ResourceTag/karpenter.sh/nodepool" in conditions[sid], "nodes of the managed group are not its own"
    for sid in ("MakeWithTheClustersTag", "TagWhatIsBeingMade"):
        for tag in (f"kubernetes.io/cluster/{CLUSTER}", "eks:eks-cluster-name", "karpenter.sh/nodepool"):
            assert f"aws:RequestTag/{tag}" in conditions[sid]
    assert (
        f'"StringEqualsIfExists": {{"aws:RequestTag/eks:eks-cluster-name": "{CLUSTER}"}}'
        in conditions["TagOwnInstances"]
    )
    for sid in ("MakeInstanceProfiles", "TagOwnInstanceProfiles", "ManageOwnInstanceProfiles"):
        for tag in (
            f"kubernetes.io/cluster/{CLUSTER}",
            "topology.kubernetes.io/region",
            "karpenter.k8s.aws/ec2nodeclass",
        ):
            assert f"Tag/{tag}" in conditions[sid]
    actions = [
        action
        for each in statements.values()
        for action in ([each["Action"]] if isinstance(each["Action"], str) else each["Action"])
    ]
    assert not [each for each in actions if "*" in each]
    assert "arc-zonal-shift:GetManagedResource" in actions


def assert_the_ebs_driver_tags_its_volumes_and_makes_a_default_class() -> None:
    eks = boto3.client("eks", region_name=REGION)
    driver = eks.describe_addon(clusterName=CLUSTER, addonName="aws-ebs-csi-driver")["addon"]
    settings = json.loads(driver["configurationValues"])
    assert settings["controller"]["extraVolumeTags"][TAG] == CLUSTER
    assert "drydock.dev/expires-at" not in settings["controller"]["extraVolumeTags"]
    assert settings["defaultStorageClass"] == {"enabled": True}


def assert_a_new_time_replaces_nothing(terraform: Terraform, progress: SilentProgress) -> None:
    later = replace(terraform, variables={**terraform.variables, "expires_at": "2031-01-01T00:00:00Z"})
    plan = later.plan(progress)
    plan.file.unlink()
    assert set(plan.changes) == {"aws_eks_cluster.this", "aws_vpc.this[0]"}
    assert all(list(actions) == ["update"] for actions in plan.changes.values())


def test_a_failure_in_the_middle_is_told_and_the_next_run_goes_on_and_destroy_leaves_nothing(
    terraform: Terraform, progress: SilentProgress, fail: Fail
) -> None:
    assert not tagged()
    nodes = {"match": r"POST /clusters/[^/]+/node-groups", "status": 400, "code": "InvalidRequestException", "times": 9}
    busy = {"match": "Action=(CreateVpc|CreateSubnet)&", "status": 503, "code": "RequestLimitExceeded", "times": 4}
    fail([nodes, busy])
    first = terraform.plan(progress)
    assert len(first.changes) > 80
    with pytest.raises(TerraformError, match="terraform apply: creating EKS Node Group") as failure:
        terraform.apply(first, progress)
    assert "it goes on from here" in str(failure.value)
    assert "aws_eks_cluster.this" in terraform.managed()
    assert not list(terraform.folder.glob("*.tfplan")), "a plan may hold secrets"

    fail([])
    left = terraform.plan(progress)
    assert "aws_vpc.this[0]" not in left.changes
    terraform.apply(left, progress)
    assert terraform.plan(progress).changes == {}, "a second apply would change something"

    outputs = terraform.outputs()
    assert outputs["cluster_name"] == CLUSTER
    assert outputs["interruption_queue"] == f"{CLUSTER}-interruptions"
    assert len(outputs["zones"]) == 3
    eks = boto3.client("eks", region_name=REGION)
    config = eks.describe_cluster(name=CLUSTER)["cluster"]["resourcesVpcConfig"]
    assert config["endpointPublicAccess"] is False
    associations = eks.list_pod_identity_associations(clusterName=CLUSTER)["associations"]
    accounts = {(each["namespace"], each["serviceAccount"]) for each in associations if "namespace" in each}
    assert accounts >= {("genai", name) for name in ("genai-vllm", "genai-argo-server", "genai-argo-data")}
    assert accounts >= {("kube-system", name) for name in ("agent", "karpenter")}
    assert_rights_on_buckets_are_those_of_the_work()
    assert has_spot_role(REGION)
    assert_pods_of_other_clusters_get_no_role_of_this_one()
    admins = {
        f"arn:aws:iam::{ACCOUNT}:role/admin",
        boto3.client("sts", region_name=REGION).get_caller_identity()["Arn"],
    }
    entry = f"arn:aws:iam::{ACCOUNT}:role/KarpenterNodeRole-{CLUSTER}"
    entries = set(eks.list_access_entries(clusterName=CLUSTER)["accessEntries"])
    assert entries == {*admins, entry}, "whoever deploys gets in, and so do nodes"
    network = eks.describe_addon(clusterName=CLUSTER, addonName="vpc-cni")["addon"]
    assert json.loads(network["configurationValues"]) == {"enableNetworkPolicy": "true"}
    assert_the_ebs_driver_tags_its_volumes_and_makes_a_default_class()
    assert_a_new_time_replaces_nothing(terraform, progress)
    assert_karpenter_may_no_more_than_upstream_documents(role_policy(f"{CLUSTER}-karpenter", "karpenter"))
    assert {arn.split(":")[2] for arn in tagged()} >= {"ec2", "s3", "logs", "sqs"}

    terraform.apply(terraform.plan(progress, destroy=True), progress)
    assert terraform.managed() == ()
    assert tagged() == set()
    ec2, kms = (boto3.client(name, region_name=REGION) for name in ("ec2", "kms"))
    assert {each["State"] for each in ec2.describe_nat_gateways()["NatGateways"]} <= {"deleted"}
    keys = [kms.describe_key(KeyId=each["KeyId"])["KeyMetadata"] for each in kms.list_keys()["Keys"]]
    assert {each["KeyState"] for each in keys if CLUSTER in each["Description"]} == {"PendingDeletion"}
    assert boto3.client("s3", region_name=REGION).list_buckets()["Buckets"] == []
    roles = boto3.client("iam", region_name=REGION).list_roles()["Roles"]
    assert [each["RoleName"] for each in roles if CLUSTER in each["RoleName"]] == []


def test_a_provider_with_other_checksums_is_not_run(tmp_path: Path, terraform: Terraform) -> None:
    """The working folder has the lock file of the configuration, to which Terraform had nothing to add."""
    lock = ".terraform.lock.hcl"
    assert (terraform.folder / lock).read_bytes() == (CONFIGURATION / lock).read_bytes()
    other = shutil.copytree(CONFIGURATION, tmp_path / "other")
    content = (other / lock).read_text()
    (other / lock).write_text(re.sub('"(h1|zh):.{8}', r'"\1:00000000', content))
    with pytest.raises(TerraformError, match="Do not use this package"):
        replace(terraform, folder=tmp_path / "elsewhere").init(other, Backend(), SilentProgress())


def test_auto_mode_brings_no_nodes_and_no_karpenter_of_ours(tmp_path: Path, progress: SilentProgress) -> None:
    auto = Terraform(find_terraform(), tmp_path / "work", {**VARIABLES, "auto_mode": True})
    auto.init(CONFIGURATION, Backend(), progress)
    plan = auto.plan(progress)
    plan.file.unlink()
    planned = {each["type"]: each for each in plan.resources}
    (compute,) = planned["aws_eks_cluster"]["values"]["compute_config"]
    assert compute["enabled"] is True
    assert "general-purpose" in compute["node_pools"], "pods of an add-on that tolerate no taint have to go somewhere"
    (tags,) = [
        each for each in plan.resources if (each["type"], each["name"]) == ("aws_iam_role_policy", "auto_mode_tags")
    ]
    conditions = [each["Condition"]["StringEquals"] for each in json.loads(tags["values"]["policy"])["Statement"]]
    own = {"aws:RequestTag/eks:eks-cluster-name": "${aws:PrincipalTag/eks:eks-cluster-name}"}
    assert conditions == [own] * 4, "Auto Mode may not give our tags otherwise"
    absent = {"aws_eks_node_group", "aws_sqs_queue", "aws_launch_template", "aws_s3_bucket_object_lock_configuration"}
    assert not absent & set(planned)
    addons = {each["values"]["addon_name"] for each in plan.resources if each["type"] == "aws_eks_addon"}
    assert addons == {"aws-mountpoint-s3-csi-driver"}


def test_an_existing_vpc_is_used_and_a_budget_a_reservation_and_public_access_are_options(
    tmp_path: Path, progress: SilentProgress
) -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]][:2]
    more = {
        "vpc": {"id": ec2.describe_vpcs()["Vpcs"][0]["VpcId"], "private_subnet_ids": subnets},
        "budget": {"dollars": 500, "emails": ["team@example.com"]},
        "capacity_reservation": {"instance_type": "p5.48xlarge", "zone": "us-west-2a", "count": 1},
        "public_access_cidrs": ["198.51.100.0/24"],
        "keep_buckets": True,
        "audit_days": 400,
    }
    existing = Terraform(find_terraform(), tmp_path / "work", {**VARIABLES, **more})
    existing.init(CONFIGURATION, Backend(), progress)
    plan = existing.plan(progress)
    plan.file.unlink()
    planned = {each["type"]: each.get("values", {}) for each in plan.resources}
    assert "aws_vpc" not in planned
    assert "aws_nat_gateway" not in planned
    access = planned["aws_eks_cluster"]["vpc_config"][0]
    assert set(access["subnet_ids"]) == set(subnets)
    assert access["public_access_cidrs"] == ["198.51.100.0/24"]
    assert planned["aws_ec2_capacity_reservation"]["end_date"] == VARIABLES["expires_at"]
    assert planned["aws_budgets_budget"]["limit_amount"] == "500"
    (spent_on,) = planned["aws_budgets_budget"]["cost_filter"]
    assert spent_on == {"name": "TagKeyValue", "values": [f"user:{TAG}${CLUSTER}"]}
    (lock,) = planned["aws_s3_bucket_object_lock_configuration"]["rule"]
    assert lock["default_retention"][0]["mode"] == "GOVERNANCE", "a cluster that keeps its buckets keeps its audit log"
    assert lock["default_retention"][0]["days"] == 400


def test_subnets_of_another_cluster_or_vpc_are_refused_and_left_as_they_are(
    tmp_path: Path, progress: SilentProgress
) -> None:
    ec2 = boto3.client("ec2", region_name=REGION)
    (vpc,) = {each["VpcId"] for each in ec2.describe_vpcs()["Vpcs"]}
    subnets = [each["SubnetId"] for each in ec2.describe_subnets()["Subnets"]][:2]
    theirs = [{"Key": "karpenter.sh/discovery", "Value": "theirs"}]

    def plan(vpc_id: str) -> None:
        variables = {**VARIABLES, "vpc": {"id": vpc_id, "private_subnet_ids": subnets}}
        terraform = Terraform(find_terraform(), tmp_path / "work", variables)
        terraform.init(CONFIGURATION, Backend(), progress)
        terraform.plan(progress)

    with pytest.raises(TerraformError, match="environment's file") as refused:
        plan("vpc-0")
    for subnet in subnets:
        assert f"{subnet} is of {vpc}, and vpc.id is vpc-0" in refused.value.message
    ec2.create_tags(Resources=subnets[1:], Tags=theirs)
    try:
        with pytest.raises(TerraformError, match=f"Karpenter of another cluster finds {subnets[1]}"):
            plan(vpc)
    finally:
        ec2.delete_tags(Resources=subnets[1:], Tags=theirs)


def test_zones_without_a_control_plane_of_eks_are_left_out(tmp_path: Path, progress: SilentProgress) -> None:
    east = Terraform(find_terraform(), tmp_path / "work", {**VARIABLES, "region": "us-east-1"})
    east.init(CONFIGURATION, Backend(), progress)
    plan = east.plan(progress)
    shown = json.loads(run([east.program, "show", "-json", plan.file], cwd=east.folder).stdout)
    resources = {each["address"]: each["values"] for each in shown["prior_state"]["values"]["root_module"]["resources"]}
    zones = resources["data.aws_availability_zones.available"]["zone_ids"]
    known = boto3.client("ec2", region_name="us-east-1").describe_availability_zones()["AvailabilityZones"]
    assert {each["ZoneId"] for each in known} - set(zones) == {"use1-az3"}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"budget": {"dollars": 1, "emails": []}}, "budget.emails: AWS refuses an alarm"),
        ({"account_id": "12345"}, "account_id: give the 12 digits"),
        ({"public_access_cidrs": ["0.0.0.0/1", "128.0.0.0/1"]}, "the API server is not opened to the internet"),
        ({"public_access_cidrs": ["2000::/3"]}, "the API server is not opened to the internet"),
        ({"service_accounts": {"artifacts": ["a"]}}, "the rights are models, data, training"),
        ({"expires_at": "tomorrow"}, "expires_at: give a time such as"),
        ({"owner": "me, myself"}, "owner: letters, digits"),
        ({"cluster_name": "Prod!"}, "cluster_name: lower-case letters"),
        ({"system_nodes": {"count": 1}}, "system_nodes.count: Karpenter runs twice"),
        ({"system_nodes": {"instance_types": ["m7g.xlarge"]}}, "system_nodes.instance_types: the nodes' image"),
        (
            {"service_accounts": {"models": ["a"], "training": ["a"]}},
            "service_accounts: EKS gives an account one role",
        ),
        ({"kubernetes_version": "v1.36.3"}, "kubernetes_version: give a minor version"),
        ({"account_id": "999999999999"}, "AWS account ID not allowed"),
    ],
)
def test_wrong_variables_stop_before_anything_is_made(
    tmp_path: Path, progress: SilentProgress, wrong: Mapping[str, Any], said: str
) -> None:
    terraform = Terraform(find_terraform(), tmp_path / "work", {**VARIABLES, **wrong})
    terraform.init(CONFIGURATION, Backend(), progress)
    with pytest.raises(TerraformError, match=re.escape(said)):
        terraform.plan(progress)
    assert not tagged()


def test_expired_credentials_are_told_with_the_remedy(
    terraform: Terraform, progress: SilentProgress, fail: Fail
) -> None:
    fail([{"match": "Action=GetCallerIdentity", "status": 403, "code": "ExpiredToken", "times": 1000}])
    with pytest.raises(TerraformError, match="ExpiredToken") as failure:
        terraform.plan(progress)
    assert "sign in again" in str(failure.value)
    with pytest.raises(AwsError, match="ExpiredToken") as told:
        check_account(ACCOUNT, REGION)
    assert "Sign in again" in str(told.value)


def test_a_state_that_the_bucket_refused_is_written_by_the_next_run(
    tmp_path: Path, progress: SilentProgress, fail: Fail
) -> None:
    """A configuration without a provider: what is tried is where the state goes."""
    boto3.client("s3", region_name=REGION).create_bucket(
        Bucket="states", CreateBucketConfiguration={"LocationConstraint": REGION}
    )
    small, key = tmp_path / "small", "drydock/small.tfstate"
    small.mkdir()
    (small / "main.tf").write_text(
        'terraform {\n  backend "s3" {\n    use_lockfile = true\n  }\n}\nresource "terraform_data" "made" {}\n'
    )
    terraform = Terraform(find_terraform(), tmp_path / "work", {})
    backend = Backend("states", key, REGION)
    terraform.init(small, backend, progress)
    plan = terraform.plan(progress)
    expired = {"status": 403, "code": "ExpiredToken", "times": 1000}
    fail([{"match": rf"PUT \S*{key} ", **expired}, {"match": rf"DELETE \S*{key}.tflock ", **expired}])
    with pytest.raises(TerraformError):
        terraform.apply(plan, progress)
    fail([])
    with pytest.raises(TerraformError, match="Error acquiring the state lock") as locked:
        terraform.init(small, backend, progress)
    unlock = re.search(r"if none does: terraform (-chdir=\S+) force-unlock (\S+)", str(locked.value))
    assert unlock
    run([terraform.program, unlock[1], "force-unlock", "-force", unlock[2]])
    terraform.init(small, backend, progress)
    assert terraform.managed() == ("terraform_data.made",)
    assert terraform.plan(progress).changes == {}, "it would be made a second time"


def test_an_account_that_is_not_the_one_named_is_refused() -> None:
    assert check_account(ACCOUNT, REGION).startswith("arn:aws:")
    with pytest.raises(UsageError, match=f"--account-id 999999999999: the credentials are of account {ACCOUNT}"):
        check_account("999999999999", REGION)


def test_the_configuration_is_formatted_and_every_variable_is_described(terraform: Terraform) -> None:
    assert run([terraform.program, "fmt", "-check", "-recursive", CONFIGURATION], check=False).returncode == 0
    run([terraform.program, "validate"], cwd=terraform.folder)
    text = (CONFIGURATION / "variables.tf").read_text()
    assert text.count("\nvariable ") + 1 == text.count('  description = "')
