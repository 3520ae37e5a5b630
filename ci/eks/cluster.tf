# EKS makes the group again when its last lines come after Terraform has removed it, and it stays in the account.
import {
  for_each = toset(var.adopt_log_group ? ["/aws/eks/${var.cluster_name}/cluster"] : [])
  to       = aws_cloudwatch_log_group.cluster
  id       = each.value
}

resource "aws_cloudwatch_log_group" "cluster" {
  name              = "/aws/eks/${local.name}/cluster"
  retention_in_days = var.log_retention_days
}

resource "aws_kms_key" "secrets" {
  description             = "Secrets of the EKS cluster ${local.name}"
  enable_key_rotation     = true
  deletion_window_in_days = 7
}

resource "aws_iam_role" "cluster" {
  name               = "${local.name}-cluster"
  assume_role_policy = data.aws_iam_policy_document.cluster_trust.json
}

data "aws_iam_policy_document" "cluster_trust" {
  statement {
    actions = var.auto_mode ? ["sts:AssumeRole", "sts:TagSession"] : ["sts:AssumeRole"]

    principals {
      type        = "Service"
      identifiers = ["eks.amazonaws.com"]
    }
  }
}

resource "aws_iam_role_policy_attachment" "cluster" {
  for_each = toset(concat(["AmazonEKSClusterPolicy"], var.auto_mode ? [
    "AmazonEKSComputePolicy",
    "AmazonEKSBlockStoragePolicy",
    "AmazonEKSLoadBalancingPolicy",
    "AmazonEKSNetworkingPolicy",
  ] : []))

  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value}"
}

# Auto Mode's own policies do not let it tag what it makes with our tags: nodes, volumes, load balancers (EKS User Guide, "Custom
# AWS tags for EKS Auto resources").
data "aws_iam_policy_document" "auto_mode_tags" {
  count = var.auto_mode ? 1 : 0

  statement {
    actions = ["ec2:CreateFleet", "ec2:RunInstances", "ec2:CreateLaunchTemplate"]
    resources = [for kind in ["fleet", "instance", "volume", "network-interface", "launch-template", "spot-instances-request"] :
      "arn:${local.partition}:ec2:${var.region}:${local.account}:${kind}/*"
    ]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks:eks-cluster-name"
      values   = ["$${aws:PrincipalTag/eks:eks-cluster-name}"]
    }

    condition {
      test     = "StringLike"
      variable = "aws:RequestTag/eks:kubernetes-node-class-name"
      values   = ["*"]
    }

    condition {
      test     = "StringLike"
      variable = "aws:RequestTag/eks:kubernetes-node-pool-name"
      values   = ["*"]
    }
  }

  statement {
    actions   = ["ec2:CreateNetworkInterface"]
    resources = ["arn:${local.partition}:ec2:${var.region}:${local.account}:network-interface/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks:eks-cluster-name"
      values   = ["$${aws:PrincipalTag/eks:eks-cluster-name}"]
    }

    condition {
      test     = "StringLike"
      variable = "aws:RequestTag/eks:kubernetes-cni-node-name"
      values   = ["*"]
    }
  }

  statement {
    actions   = ["ec2:CreateVolume", "ec2:CreateSnapshot"]
    resources = [for kind in ["volume", "snapshot"] : "arn:${local.partition}:ec2:*:*:${kind}/*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks:eks-cluster-name"
      values   = ["$${aws:PrincipalTag/eks:eks-cluster-name}"]
    }
  }

  # Their resources have names only once they are made.
  statement {
    actions = [
      "ec2:CreateSecurityGroup",
      "elasticloadbalancing:CreateListener",
      "elasticloadbalancing:CreateLoadBalancer",
      "elasticloadbalancing:CreateRule",
      "elasticloadbalancing:CreateTargetGroup",
    ]
    resources = ["*"]

    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks:eks-cluster-name"
      values   = ["$${aws:PrincipalTag/eks:eks-cluster-name}"]
    }
  }
}

resource "aws_iam_role_policy" "auto_mode_tags" {
  count = var.auto_mode ? 1 : 0

  name   = "tags"
  role   = aws_iam_role.cluster.id
  policy = data.aws_iam_policy_document.auto_mode_tags[0].json
}

resource "aws_eks_cluster" "this" {
  name                          = local.name
  version                       = var.kubernetes_version
  role_arn                      = aws_iam_role.cluster.arn
  enabled_cluster_log_types     = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  bootstrap_self_managed_addons = false

  # The time changes with each deployment. Only the cluster and the VPC carry it: on a launch template, a node class or an add-on
  # a changed tag would replace every node.
  tags = local.expiry

  # AWS's default is EXTENDED: six times the price once the version has left standard support.
  upgrade_policy {
    support_type = var.extended_support ? "EXTENDED" : "STANDARD"
  }

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  vpc_config {
    subnet_ids              = local.subnet_ids
    endpoint_private_access = true
    endpoint_public_access  = length(var.public_access_cidrs) > 0
    public_access_cidrs     = length(var.public_access_cidrs) > 0 ? var.public_access_cidrs : null
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = aws_kms_key.secrets.arn
    }
  }

  dynamic "compute_config" {
    for_each = var.auto_mode ? [true] : []

    content {
      enabled       = true
      node_pools    = ["general-purpose", "system"] # the controller of the S3 driver tolerates no taint of the latter
      node_role_arn = aws_iam_role.node.arn
    }
  }

  dynamic "kubernetes_network_config" {
    for_each = var.auto_mode ? [true] : []

    content {
      elastic_load_balancing {
        enabled = true
      }
    }
  }

  dynamic "storage_config" {
    for_each = var.auto_mode ? [true] : []

    content {
      block_storage {
        enabled = true
      }
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.cluster,
    aws_iam_role_policy.auto_mode_tags,
    aws_iam_role_policy_attachment.cluster,
  ]
}

# Karpenter's nodes and the managed ones share the cluster's own security group, which it finds by the tag.
resource "aws_ec2_tag" "cluster_security_group" {
  resource_id = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  key         = "karpenter.sh/discovery"
  value       = local.name
}

# EKS gives the group these rules itself since Kubernetes 1.33 (all traffic from and to itself, all traffic out), and EC2 refuses
# a rule twice. An earlier state may hold the one that Drydock made: it stays, as EKS's own.
removed {
  from = aws_vpc_security_group_egress_rule.between_nodes

  lifecycle {
    destroy = false
  }
}

# The role that deploys gets in, even if another made the cluster: the charts are installed next.
resource "aws_eks_access_entry" "admin" {
  for_each = toset(concat(var.admin_role_arns, [data.aws_iam_session_context.current.issuer_arn]))

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "admin" {
  for_each = aws_eks_access_entry.admin

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value.principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}

# Nodes of Karpenter join by it. EKS makes one for the role of a managed node group, and may take it away with the group.
import {
  for_each = toset(var.adopt_node_entry ? [local.name] : [])
  to       = aws_eks_access_entry.nodes[0]
  id       = "${each.value}:${aws_iam_role.node.arn}"
}

resource "aws_eks_access_entry" "nodes" {
  count = var.auto_mode ? 0 : 1

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_iam_role.node.arn
  type          = "EC2_LINUX"
}
