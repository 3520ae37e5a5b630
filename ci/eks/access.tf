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
      values   = [aws_eks_cluster.this.arn]
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

# The compile cache of models on Neuron: `neuron.compileCacheUrl` of the chart vllm.
data "aws_iam_policy_document" "models" {
  source_policy_documents = [data.aws_iam_policy_document.read["models"].json]

  statement {
    actions   = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:PutObject"]
    resources = ["${aws_s3_bucket.this["models"].arn}/compiled/*"]
  }
}

data "aws_iam_policy_document" "artifacts" {
  statement {
    actions   = ["s3:ListBucket"]
    resources = [for use in ["models", "artifacts"] : aws_s3_bucket.this[use].arn]
  }

  statement {
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.this["models"].arn}/*"]
  }

  statement {
    actions = ["s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:PutObject"]
    resources = [
      "${aws_s3_bucket.this["artifacts"].arn}/*",
      "${aws_s3_bucket.this["models"].arn}/tuned/*",
    ]
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
  rights = {
    models             = { accounts = var.service_accounts.models, policy = data.aws_iam_policy_document.models.json }
    artifacts          = { accounts = var.service_accounts.artifacts, policy = data.aws_iam_policy_document.artifacts.json }
    read-artifacts     = { accounts = var.service_accounts.read_artifacts, policy = data.aws_iam_policy_document.read["artifacts"].json }
    audit-log          = { accounts = var.service_accounts.audit_log, policy = data.aws_iam_policy_document.audit_log.json }
    container-insights = { accounts = var.service_accounts.container_insights, policy = data.aws_iam_policy_document.container_insights.json }
  }

  # `namespace/name`, or a name in the release's namespace.
  associations = merge([for right, each in local.rights : {
    for account in each.accounts : "${right}:${account}" => {
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
  policy = each.value.policy
}

resource "aws_eks_pod_identity_association" "right" {
  for_each = local.associations

  cluster_name    = aws_eks_cluster.this.name
  namespace       = each.value.namespace
  service_account = each.value.account
  role_arn        = aws_iam_role.right[each.value.right].arn
}
