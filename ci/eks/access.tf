# AWS rights of the charts, each for the ServiceAccounts that need them and no others.

data "aws_iam_policy_document" "pod_identity_trust" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }

    # A session tag of EKS Pod Identity: neither another cluster of this account nor another account gets the role.
    condition {
      test     = "StringEquals"
      variable = "aws:RequestTag/eks-cluster-arn"
      values   = [local.cluster_arn]
    }
  }
}

data "aws_iam_policy_document" "read" {
  for_each = aws_s3_bucket.this

  statement {
    actions   = ["s3:ListBucket"]
    resources = [each.value.arn]
  }

  statement {
    actions   = ["s3:GetObject"]
    resources = ["${each.value.arn}/*"]
  }
}

# Engines on Neuron keep what they compiled beside the weights (`neuron.compileCacheUrl`); the driver that mounts weights only reads.
data "aws_iam_policy_document" "models" {
  source_policy_documents = [data.aws_iam_policy_document.read["models"].json]

  statement {
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.this["models"].arn}/${var.compiled_prefix}*"]
  }
}

# The stages of pipelines, each with what its program does (charts/argo/README.md). Keys begin with the namespace of the pod, a session
# tag of EKS Pod Identity, so that no namespace reads or writes what another one made.
locals {
  own_artifacts = "${aws_s3_bucket.this["artifacts"].arn}/${var.artifact_prefix}$${aws:PrincipalTag/kubernetes-namespace}/*"
  write         = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]

  pipeline_rights = {
    data       = { artifacts = local.write, reads_models = false, writes_models = false }
    training   = { artifacts = concat(local.write, ["s3:DeleteObject"]), reads_models = true, writes_models = true }
    evaluation = { artifacts = local.write, reads_models = true, writes_models = false }
    deployment = { artifacts = local.write, reads_models = false, writes_models = false }
  }
}

data "aws_iam_policy_document" "pipeline" {
  for_each = local.pipeline_rights

  # Without it S3 answers 403 in place of 404 for what is not there yet.
  statement {
    actions   = ["s3:ListBucket"]
    resources = [for use in(each.value.reads_models ? ["artifacts", "models"] : ["artifacts"]) : aws_s3_bucket.this[use].arn]
  }

  statement {
    actions   = each.value.artifacts
    resources = [local.own_artifacts]
  }

  dynamic "statement" {
    for_each = each.value.reads_models ? [1] : []

    content {
      actions   = ["s3:GetObject"]
      resources = ["${aws_s3_bucket.this["models"].arn}/*"]
    }
  }

  dynamic "statement" {
    for_each = each.value.writes_models ? [1] : []

    content {
      actions   = ["s3:AbortMultipartUpload", "s3:PutObject"]
      resources = ["${aws_s3_bucket.this["models"].arn}/${var.tuned_prefix}*"]
    }
  }
}

data "aws_iam_policy_document" "audit_log" {
  statement {
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.this["audit"].arn}/*"]
  }
}

data "aws_iam_policy_document" "container_insights" {
  statement {
    actions   = ["cloudwatch:PutMetricData"]
    resources = ["*"]

    condition {
      test     = "StringLike"
      variable = "cloudwatch:namespace"
      values   = ["ContainerInsights*", "Drydock*"]
    }
  }

  statement {
    actions = ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    resources = flatten([for group in aws_cloudwatch_log_group.insights : [
      group.arn,
      "${group.arn}:*",
    ]])
  }

  # Describing has no resources to name.
  statement {
    actions   = ["ec2:DescribeTags", "ec2:DescribeVolumes", "ec2:DescribeInstances", "logs:DescribeLogGroups"]
    resources = ["*"]
  }
}

locals {
  rights = merge(
    { for kind, right in data.aws_iam_policy_document.pipeline : kind => right.json },
    {
      models             = data.aws_iam_policy_document.models.json
      read-artifacts     = data.aws_iam_policy_document.read["artifacts"].json
      audit-log          = data.aws_iam_policy_document.audit_log.json
      container-insights = data.aws_iam_policy_document.container_insights.json
    },
  )

  # `namespace/name`, or a name in the release's namespace.
  associations = merge([for right in keys(local.rights) : {
    for account in lookup(var.service_accounts, replace(right, "-", "_"), []) : "${right}:${account}" => {
      right     = right
      namespace = length(split("/", account)) == 2 ? split("/", account)[0] : var.namespace
      account   = reverse(split("/", account))[0]
    }
  }]...)
}

resource "aws_iam_role" "right" {
  for_each = local.rights

  name               = "${local.name}-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.pod_identity_trust.json
}

resource "aws_iam_role_policy" "right" {
  for_each = local.rights

  name   = each.key
  role   = aws_iam_role.right[each.key].id
  policy = each.value
}

resource "aws_eks_pod_identity_association" "right" {
  for_each = local.associations

  cluster_name    = aws_eks_cluster.this.name
  namespace       = each.value.namespace
  service_account = each.value.account
  role_arn        = aws_iam_role.right[each.value.right].arn
}
