# Add-ons of EKS, at its default version for the cluster's. Auto Mode brings networking, DNS, Pod Identity, health checks and
# EBS by itself.

locals {
  addons = merge(
    { "aws-mountpoint-s3-csi-driver" = "s3-csi-driver-sa" },
    var.auto_mode ? {} : {
      "vpc-cni"                   = null
      "kube-proxy"                = null
      "coredns"                   = null
      "eks-pod-identity-agent"    = null
      "eks-node-monitoring-agent" = null
      "aws-ebs-csi-driver"        = "ebs-csi-controller-sa"
    },
    var.efs ? { "aws-efs-csi-driver" = "efs-csi-controller-sa" } : {},
    var.fsx ? { "aws-fsx-csi-driver" = "fsx-csi-controller-sa" } : {},
  )

  # What a node needs before it is Ready; the others run on nodes.
  before_nodes = ["vpc-cni", "kube-proxy", "eks-pod-identity-agent"]

  addon_values = {
    # Without it the NetworkPolicies of the charts are kept, and nothing enforces them. A string, as its schema wants it.
    "vpc-cni" = { enableNetworkPolicy = "true" }
    # Volumes of claims are made by the driver, not by Terraform, and outlive the cluster.
    "aws-ebs-csi-driver" = {
      controller          = { extraVolumeTags = local.tags }
      defaultStorageClass = { enabled = var.default_storage_class }
    }
  }

  addon_roles = {
    for name, service_account in local.addons : name => service_account if service_account != null
  }
}

# EKS keeps an add-on at the version of the day it was installed, also after an upgrade of Kubernetes.
data "aws_eks_addon_version" "this" {
  for_each = local.addons

  addon_name         = each.key
  kubernetes_version = var.kubernetes_version
}

resource "aws_eks_addon" "before_nodes" {
  for_each = { for name, role in local.addons : name => role if contains(local.before_nodes, name) }

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = data.aws_eks_addon_version.this[each.key].version
  configuration_values        = contains(keys(local.addon_values), each.key) ? jsonencode(local.addon_values[each.key]) : null
  resolve_conflicts_on_update = "PRESERVE"
}

resource "aws_eks_addon" "on_nodes" {
  for_each = { for name, role in local.addons : name => role if !contains(local.before_nodes, name) }

  cluster_name                = aws_eks_cluster.this.name
  addon_name                  = each.key
  addon_version               = data.aws_eks_addon_version.this[each.key].version
  configuration_values        = contains(keys(local.addon_values), each.key) ? jsonencode(local.addon_values[each.key]) : null
  resolve_conflicts_on_update = "PRESERVE"

  dynamic "pod_identity_association" {
    for_each = each.value == null ? [] : [each.value]

    content {
      role_arn        = aws_iam_role.addon[each.key].arn
      service_account = pod_identity_association.value
    }
  }

  depends_on = [aws_eks_node_group.system, aws_eks_addon.before_nodes]
}

resource "aws_iam_role" "addon" {
  for_each = local.addon_roles

  name               = "${local.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.pod_identity_trust.json
}

resource "aws_iam_role_policy_attachment" "ebs" {
  count = var.auto_mode ? 0 : 1

  role       = aws_iam_role.addon["aws-ebs-csi-driver"].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/service-role/AmazonEBSCSIDriverPolicy"
}

# The driver mounts the models' bucket and no other.
resource "aws_iam_role_policy" "mountpoint" {
  name   = "models"
  role   = aws_iam_role.addon["aws-mountpoint-s3-csi-driver"].id
  policy = data.aws_iam_policy_document.read["models"].json
}
