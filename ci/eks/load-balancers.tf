# What the AWS Load Balancer Controller may: upstream's policy for v3.5.0, bound to this cluster's tag. Auto Mode balances loads by
# itself. `drydock deploy` installs the controller where a Service or an Ingress of the environment needs it.

locals {
  balancer_tag = "elbv2.k8s.aws/cluster"
  balancers    = [for kind in ["loadbalancer/app/*/*", "loadbalancer/net/*/*", "targetgroup/*/*"] : "arn:${local.partition}:elasticloadbalancing:${var.region}:${local.account}:${kind}"]
  listeners    = [for kind in ["listener", "listener-rule"] : "arn:${local.partition}:elasticloadbalancing:${var.region}:${local.account}:${kind}/*"]
}

data "aws_iam_policy_document" "load_balancers" {
  count = var.auto_mode ? 0 : 1

  statement {
    sid       = "MakeTheServicesRole"
    actions   = ["iam:CreateServiceLinkedRole"]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "iam:AWSServiceName"
      values   = ["elasticloadbalancing.amazonaws.com"]
    }
  }

  # Describing has no resources to name.
  statement {
    sid = "LookAround"
    actions = [
      "acm:DescribeCertificate",
      "acm:ListCertificates",
      "cognito-idp:DescribeUserPoolClient",
      "ec2:DescribeAccountAttributes",
      "ec2:DescribeAddresses",
      "ec2:DescribeAvailabilityZones",
      "ec2:DescribeCoipPools",
      "ec2:DescribeInstances",
      "ec2:DescribeInternetGateways",
      "ec2:DescribeIpamPools",
      "ec2:DescribeNetworkInterfaces",
      "ec2:DescribeRouteTables",
      "ec2:DescribeSecurityGroups",
      "ec2:DescribeSubnets",
      "ec2:DescribeTags",
      "ec2:DescribeVpcPeeringConnections",
      "ec2:DescribeVpcs",
      "ec2:GetCoipPoolUsage",
      "ec2:GetSecurityGroupsForVpc",
      "elasticloadbalancing:DescribeCapacityReservation",
      "elasticloadbalancing:DescribeListenerAttributes",
      "elasticloadbalancing:DescribeListenerCertificates",
      "elasticloadbalancing:DescribeListeners",
      "elasticloadbalancing:DescribeLoadBalancerAttributes",
      "elasticloadbalancing:DescribeLoadBalancers",
      "elasticloadbalancing:DescribeRules",
      "elasticloadbalancing:DescribeSSLPolicies",
      "elasticloadbalancing:DescribeTags",
      "elasticloadbalancing:DescribeTargetGroupAttributes",
      "elasticloadbalancing:DescribeTargetGroups",
      "elasticloadbalancing:DescribeTargetHealth",
      "elasticloadbalancing:DescribeTrustStores",
      "iam:GetServerCertificate",
      "iam:ListServerCertificates",
      "shield:DescribeProtection",
      "shield:GetSubscriptionState",
      "wafv2:GetWebACL",
      "wafv2:GetWebACLForResource",
    ]
    resources = ["*"]
  }

  # Rules of the nodes' group, which is EKS's own, let the balancers in.
  statement {
    sid       = "LetBalancersReachNodes"
    actions   = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress"]
    resources = ["arn:${local.partition}:ec2:${var.region}:${local.account}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:Vpc"
      values   = ["arn:${local.partition}:ec2:${var.region}:${local.account}:vpc/${local.vpc_id}"]
    }
  }

  statement {
    sid     = "MakeSecurityGroups"
    actions = ["ec2:CreateSecurityGroup"]
    resources = [
      "arn:${local.partition}:ec2:${var.region}:${local.account}:security-group/*",
      "arn:${local.partition}:ec2:${var.region}:*:vpc/${local.vpc_id}",
    ]
  }

  statement {
    sid       = "TagNewSecurityGroups"
    actions   = ["ec2:CreateTags"]
    resources = ["arn:${local.partition}:ec2:${var.region}:${local.account}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "ec2:CreateAction"
      values   = ["CreateSecurityGroup"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.balancer_tag}"
      values   = [local.name]
    }
  }

  statement {
    sid       = "ManageOwnSecurityGroups"
    actions   = ["ec2:CreateTags", "ec2:DeleteTags", "ec2:DeleteSecurityGroup"]
    resources = ["arn:${local.partition}:ec2:${var.region}:${local.account}:security-group/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.balancer_tag}"
      values   = [local.name]
    }
  }

  statement {
    sid       = "MakeBalancers"
    actions   = ["elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"]
    resources = local.balancers

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.balancer_tag}"
      values   = [local.name]
    }
  }

  statement {
    sid       = "TagNewBalancers"
    actions   = ["elasticloadbalancing:AddTags"]
    resources = local.balancers

    condition {
      test     = "StringEquals"
      variable = "elasticloadbalancing:CreateAction"
      values   = ["CreateTargetGroup", "CreateLoadBalancer"]
    }

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/${local.balancer_tag}"
      values   = [local.name]
    }
  }

  statement {
    sid = "ManageOwnBalancers"
    actions = [
      "elasticloadbalancing:AddTags",
      "elasticloadbalancing:DeleteLoadBalancer",
      "elasticloadbalancing:DeleteTargetGroup",
      "elasticloadbalancing:DeregisterTargets",
      "elasticloadbalancing:ModifyCapacityReservation",
      "elasticloadbalancing:ModifyIpPools",
      "elasticloadbalancing:ModifyLoadBalancerAttributes",
      "elasticloadbalancing:ModifyTargetGroup",
      "elasticloadbalancing:ModifyTargetGroupAttributes",
      "elasticloadbalancing:RegisterTargets",
      "elasticloadbalancing:RemoveTags",
      "elasticloadbalancing:SetIpAddressType",
      "elasticloadbalancing:SetSecurityGroups",
      "elasticloadbalancing:SetSubnets",
      "elasticloadbalancing:SetWebAcl",
    ]
    resources = local.balancers

    condition {
      test     = "StringEquals"
      variable = "aws:ResourceTag/${local.balancer_tag}"
      values   = [local.name]
    }
  }

  # A listener is made on a balancer, which carries the tag.
  statement {
    sid       = "MakeListeners"
    actions   = ["elasticloadbalancing:CreateListener", "elasticloadbalancing:CreateRule"]
    resources = concat(local.balancers, local.listeners)
  }

  statement {
    sid = "ManageListeners"
    actions = [
      "elasticloadbalancing:AddListenerCertificates",
      "elasticloadbalancing:AddTags",
      "elasticloadbalancing:DeleteListener",
      "elasticloadbalancing:DeleteRule",
      "elasticloadbalancing:ModifyListener",
      "elasticloadbalancing:ModifyListenerAttributes",
      "elasticloadbalancing:ModifyRule",
      "elasticloadbalancing:RemoveListenerCertificates",
      "elasticloadbalancing:RemoveTags",
      "elasticloadbalancing:SetRulePriorities",
    ]
    resources = local.listeners
  }
}

resource "aws_iam_role" "load_balancers" {
  count = var.auto_mode ? 0 : 1

  name               = "${local.name}-load-balancers"
  assume_role_policy = data.aws_iam_policy_document.pod_identity_trust.json
}

resource "aws_iam_role_policy" "load_balancers" {
  count = var.auto_mode ? 0 : 1

  name   = "load-balancers"
  role   = aws_iam_role.load_balancers[0].id
  policy = data.aws_iam_policy_document.load_balancers[0].json
}

resource "aws_eks_pod_identity_association" "load_balancers" {
  count = var.auto_mode ? 0 : 1

  cluster_name    = aws_eks_cluster.this.name
  namespace       = "kube-system"
  service_account = "aws-load-balancer-controller"
  role_arn        = aws_iam_role.load_balancers[0].arn
}
