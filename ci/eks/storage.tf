# Weights, what workflows make, and the audit log of the gateway. The account's number keeps the names unique.

resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV2_AWS_6: aws_s3_bucket_public_access_block.this is of every bucket; for_each hides it from the scan
  # checkov:skip=CKV_AWS_145: aws_s3_bucket_server_side_encryption_configuration.this is too
  for_each = toset(["models", "artifacts", "audit"])

  bucket        = "${local.name}-${each.value}-${local.account}"
  force_destroy = !var.keep_buckets
}

resource "aws_s3_bucket_public_access_block" "this" {
  for_each = aws_s3_bucket.this

  bucket                  = each.value.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm = "aws:kms"
    }
  }
}

# An upload of weights that broke off is paid for until it is removed.
resource "aws_s3_bucket_lifecycle_configuration" "models" {
  bucket = aws_s3_bucket.this["models"].id

  rule {
    id     = "broken-uploads"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "artifacts" {
  bucket = aws_s3_bucket.this["artifacts"].id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = var.artifact_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }
}

# Who writes the audit log may not delete, and an object that is written again keeps its first version.
resource "aws_s3_bucket_versioning" "audit" {
  bucket = aws_s3_bucket.this["audit"].id

  versioning_configuration {
    status = "Enabled"
  }
}

# Where data outlives the cluster, no entry goes before its time: lifting the lock takes s3:BypassGovernanceRetention, which no role here
# has. A test cluster's log goes with it.
resource "aws_s3_bucket_object_lock_configuration" "audit" {
  count = var.keep_buckets ? 1 : 0

  bucket = aws_s3_bucket.this["audit"].id

  rule {
    default_retention {
      mode = "GOVERNANCE"
      days = var.audit_days
    }
  }

  depends_on = [aws_s3_bucket_versioning.audit]
}

resource "aws_s3_bucket_lifecycle_configuration" "audit" {
  bucket = aws_s3_bucket.this["audit"].id

  rule {
    id     = "expire"
    status = "Enabled"

    filter {}

    expiration {
      days = var.audit_days
    }

    noncurrent_version_expiration {
      noncurrent_days = var.audit_days
    }

    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  depends_on = [aws_s3_bucket_versioning.audit]
}

data "aws_iam_policy_document" "tls_only" {
  for_each = aws_s3_bucket.this

  statement {
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [each.value.arn, "${each.value.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "tls_only" {
  for_each = aws_s3_bucket.this

  bucket = each.value.id
  policy = data.aws_iam_policy_document.tls_only[each.key].json

  depends_on = [aws_s3_bucket_public_access_block.this]
}

# The groups that Container Insights writes to; made here so that logs are not kept indefinitely.
resource "aws_cloudwatch_log_group" "insights" {
  for_each = toset(["application", "dataplane", "host", "performance", "prometheus"])

  name              = "/aws/containerinsights/${local.name}/${each.value}"
  retention_in_days = var.log_retention_days
}
