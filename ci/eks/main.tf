data "aws_caller_identity" "current" {}

data "aws_iam_session_context" "current" {
  arn = data.aws_caller_identity.current.arn
}

data "aws_partition" "current" {}

# EKS has no control plane in the zones left out; their names differ from account to account.
data "aws_availability_zones" "available" {
  state            = "available"
  exclude_zone_ids = ["cac1-az3", "use1-az3", "usw1-az2"]

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  name      = var.cluster_name
  partition = data.aws_partition.current.partition
  account   = data.aws_caller_identity.current.account_id
  # Not that of the resource: Terraform reads data that name a resource again whenever it changes, if only by a tag.
  cluster_arn = "arn:${local.partition}:eks:${var.region}:${local.account}:cluster/${local.name}"
  zones       = length(var.zones) > 0 ? var.zones : slice(data.aws_availability_zones.available.names, 0, min(3, length(data.aws_availability_zones.available.names)))
  discovery   = { "karpenter.sh/discovery" = local.name }

  tags = {
    "drydock.dev/cluster"     = var.cluster_name
    "drydock.dev/environment" = var.environment
    "drydock.dev/owner"       = var.owner
  }
  expiry = { "drydock.dev/expires-at" = var.expires_at }

  vpc_id     = var.vpc == null ? aws_vpc.this[0].id : var.vpc.id
  subnet_ids = var.vpc == null ? [for zone in local.zones : aws_subnet.private[zone].id] : var.vpc.private_subnet_ids
}
