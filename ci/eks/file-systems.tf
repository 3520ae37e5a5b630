# File systems that pods of every zone share: EFS with its driver, and the driver alone of FSx for Lustre.

resource "aws_iam_role_policy_attachment" "file_systems" {
  for_each = merge(
    var.efs ? { "aws-efs-csi-driver" = "service-role/AmazonEFSCSIDriverPolicy" } : {},
    var.fsx ? { "aws-fsx-csi-driver" = "AmazonFSxFullAccess" } : {},
  )

  role       = aws_iam_role.addon[each.key].name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.value}"
}

resource "aws_efs_file_system" "this" {
  # checkov:skip=CKV_AWS_184: encrypted with the key of EFS, as the buckets are with that of S3
  count = var.efs ? 1 : 0

  encrypted       = true
  throughput_mode = "elastic"

  tags = { Name = local.name }
}

resource "aws_security_group" "efs" {
  count = var.efs ? 1 : 0

  name        = "${local.name}-efs"
  description = "NFS from the nodes of ${local.name}"
  vpc_id      = local.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "efs" {
  count = var.efs ? 1 : 0

  description                  = "NFS from the nodes"
  security_group_id            = aws_security_group.efs[0].id
  referenced_security_group_id = aws_eks_cluster.this.vpc_config[0].cluster_security_group_id
  ip_protocol                  = "tcp"
  from_port                    = 2049
  to_port                      = 2049
}

resource "aws_efs_mount_target" "this" {
  count = var.efs ? length(local.subnet_ids) : 0

  file_system_id  = aws_efs_file_system.this[0].id
  subnet_id       = local.subnet_ids[count.index]
  security_groups = [aws_security_group.efs[0].id]
}
