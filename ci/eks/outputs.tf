output "cluster_name" {
  description = "`global.clusterName` of the charts."
  value       = aws_eks_cluster.this.name
}

output "cluster_endpoint" {
  description = "Address of the API server."
  value       = aws_eks_cluster.this.endpoint
}

output "cluster_certificate_authority" {
  description = "Certificate of the API server's authority, base64."
  value       = aws_eks_cluster.this.certificate_authority[0].data
}

output "region" {
  description = "`global.region` of the charts."
  value       = var.region
}

output "zones" {
  description = "`global.zones` of the charts, for a new VPC."
  value       = var.vpc == null ? local.zones : []
}

output "buckets" {
  description = "Buckets of weights and of artifacts."
  value       = { for name, bucket in aws_s3_bucket.this : name => bucket.id }
}

output "interruption_queue" {
  description = "`settings.interruptionQueue` of Karpenter's chart; empty with Auto Mode."
  value       = var.auto_mode ? "" : aws_sqs_queue.interruptions[0].name
}

output "role_arns" {
  description = "Roles of the charts' ServiceAccounts, by what they may."
  value       = { for name, role in aws_iam_role.right : name => role.arn }
}

output "capacity_reservation" {
  description = "Identifier of the capacity reservation, for `capacityReservationSelectorTerms`."
  value       = one(aws_ec2_capacity_reservation.gpu[*].id)
}

output "vpc_id" {
  description = "The VPC of the cluster."
  value       = local.vpc_id
}

output "file_system" {
  description = "EFS file system of the StorageClass `efs`; empty without `efs`."
  value       = var.efs ? aws_efs_file_system.this[0].id : ""
}
