"""ci/eks as it is written: what EC2 and EKS would refuse, and what would cost nodes. No Terraform runs here."""

import json
import re
from pathlib import Path

import pytest

from drydock.suite.cluster_description import described
from tests.deploy.hcl import EKS, blocks, of_kind

UPSTREAM = json.loads(Path(__file__).with_name("load-balancer-policy.json").read_text())
"""Actions of the AWS Load Balancer Controller's own policy, docs/install/iam_policy.json of v3.5.0."""


def default_of(variable: str) -> str:
    found = re.search(r"^  default\s+= (.+)$", blocks()[f"variable.{variable}"], re.MULTILINE)
    assert found, variable
    return found[1]


def test_no_role_of_ours_lifts_the_lock_of_the_audit_log() -> None:
    """Nor writes or deletes anything there but new objects."""
    rights = {name: text for name, text in blocks().items() if name.startswith("data.aws_iam_policy_document.")}
    assert not [name for name, text in rights.items() if "BypassGovernance" in text or "Retention" in text]
    audited = {name for name, text in rights.items() if '["audit"]' in text}
    assert audited == {"data.aws_iam_policy_document.audit_log"}
    assert re.findall(r'"(s3:\w+)"', rights.pop("data.aws_iam_policy_document.audit_log")) == ["s3:PutObject"]


def test_the_lock_file_has_the_checksums_of_every_platform() -> None:
    """`zh` are those of the release's archives, one for each platform: the registry's are verified against them."""
    lock = (EKS / ".terraform.lock.hcl").read_text()
    (version,) = re.findall(r'^  version     = "(.+)"$', lock, re.MULTILINE)
    (constraint,) = re.findall(r'^  constraints = "(.+)"$', lock, re.MULTILINE)
    assert f'version = "{constraint}"' in (EKS / "versions.tf").read_text()
    assert version.startswith(constraint.removeprefix("~> "))
    archives = re.findall(r'"zh:[0-9a-f]{64}"', lock)
    assert len(archives) == len(set(archives)) == 15, "Linux, macOS, Windows, FreeBSD, OpenBSD, and their processors"


def test_no_rule_repeats_what_eks_gives_the_clusters_group() -> None:
    """EC2 refuses a rule twice, and EKS makes those from and to the group itself."""
    group = "cluster_security_group_id"
    rules = {**of_kind("aws_vpc_security_group_egress_rule"), **of_kind("aws_vpc_security_group_ingress_rule")}
    on_it = [name for name, text in rules.items() if re.search(rf" security_group_id\s+= .*{group}", text)]
    assert on_it == []
    assert "removed" in "".join(blocks()), "a state that holds the rule lets it go"


def test_what_changes_with_each_deployment_is_on_the_cluster_and_its_vpc_alone() -> None:
    """On a launch template, an add-on or a node class it would replace every node."""
    expiring = {name for name, text in blocks().items() if re.search(r"\blocal\.expiry\b", text)}
    assert expiring == {"resource.aws_eks_cluster.this", "resource.aws_vpc.this"}
    direct = {name for name, text in blocks().items() if "var.expires_at" in text and not name.startswith("variable.")}
    assert {name for name in direct if not name.startswith("locals.")} == {"resource.aws_ec2_capacity_reservation.gpu"}
    (tags,) = [text for name, text in blocks().items() if name.startswith("locals.") and "drydock.dev/owner" in text]
    assert "expires-at" not in tags[tags.index("  tags = {") : tags.index("\n  }")]


def test_the_default_cluster_is_in_standard_support_and_stays_there() -> None:
    assert json.loads(default_of("kubernetes_version")) == described("eks").kubernetes
    assert default_of("extended_support") == "false"
    assert 'var.extended_support ? "EXTENDED" : "STANDARD"' in blocks()["resource.aws_eks_cluster.this"]


def test_defaults_are_those_of_the_target() -> None:
    variables = described("eks").terraform_variables()
    assert {name: json.loads(default_of(name)) for name in variables} == variables


def test_add_ons_are_those_of_the_targets() -> None:
    (text,) = [text for name, text in blocks().items() if name.startswith("locals.addons")]
    named = set(re.findall(r'"([a-z0-9-]+)"\s+= (?:null|"[a-z0-9-]+-sa")', text))
    both = {"efs": True, "fsx": True}
    assert named == {*described("eks", both).addons, *described("eks-auto-mode", both).addons}


def test_the_cni_goes_after_the_nodes() -> None:
    (dependencies,) = re.findall(r"depends_on = \[(.*)\]", blocks()["resource.aws_eks_node_group.system"])
    assert "aws_eks_addon.before_nodes" in dependencies, "or it leaves network interfaces in the way of the VPC"


def test_the_load_balancer_controller_may_what_upstream_documents_and_for_this_cluster_alone() -> None:
    policy = blocks()["data.aws_iam_policy_document.load_balancers"]
    statements = policy.split("\n  statement {")[1:]
    unconditional = re.sub(r"variable = .*", "", policy)
    allowed = set(re.findall(r'"((?:ec2|elasticloadbalancing|iam|acm|cognito-idp|shield|wafv2):\w+)"', unconditional))
    optional = {
        each for each in UPSTREAM if re.match(r"waf-regional:|wafv2:(Dis)?[Aa]ssociate|shield:(Create|Delete)", each)
    }
    assert allowed == set(UPSTREAM) - optional, "WAF and Shield are not attached by a chart of the suite"
    for statement in statements:
        changes = re.findall(r'"(?:ec2|elasticloadbalancing):(?!Describe|Get)\w+"', statement)
        bound = "local.balancer_tag" in statement or "local.vpc_id" in statement or "local.listeners" in statement
        assert not changes or bound, statement


@pytest.mark.parametrize("action", ["ec2:CreateVolume", "elasticloadbalancing:CreateLoadBalancer", "ec2:RunInstances"])
def test_auto_mode_may_give_our_tags_to_all_that_it_makes(action: str) -> None:
    statements = blocks()["data.aws_iam_policy_document.auto_mode_tags"].split("\n  statement {")[1:]
    (found,) = [each for each in statements if f'"{action}"' in each]
    assert "aws:PrincipalTag/eks:eks-cluster-name" in found


def test_who_is_audited_cannot_rewrite_the_audit_log() -> None:
    writers = {
        name: text
        for name, text in blocks().items()
        if name.startswith("data.aws_iam_policy_document.") and 'aws_s3_bucket.this["audit"]' in text
    }
    assert set(writers) == {"data.aws_iam_policy_document.audit_log"}
    assert re.findall(r'"s3:(\w+)"', writers["data.aws_iam_policy_document.audit_log"]) == ["PutObject"]
    pipelines = blocks()["data.aws_iam_policy_document.pipeline"]
    assert "audit" not in pipelines
    assert "for bucket in aws_s3_bucket.this" not in pipelines
    assert 'status = "Enabled"' in blocks()["resource.aws_s3_bucket_versioning.audit"]
