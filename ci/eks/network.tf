# A VPC of its own: nodes in private subnets, one NAT gateway, and S3 reached without it.

resource "aws_vpc" "this" {
  count = var.vpc == null ? 1 : 0

  cidr_block           = var.vpc_cidr
  enable_dns_hostnames = true

  tags = merge(local.expiry, { Name = local.name })
}

resource "aws_default_security_group" "closed" {
  count = var.vpc == null ? 1 : 0

  vpc_id = aws_vpc.this[0].id
}

resource "aws_internet_gateway" "this" {
  count = var.vpc == null ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  tags = { Name = local.name }
}

resource "aws_subnet" "public" {
  for_each = toset(var.vpc == null ? local.zones : [])

  vpc_id            = aws_vpc.this[0].id
  availability_zone = each.value
  cidr_block        = cidrsubnet(var.vpc_cidr, 8, index(local.zones, each.value))

  tags = { Name = "${local.name}-public-${each.value}", "kubernetes.io/role/elb" = "1" }
}

resource "aws_subnet" "private" {
  for_each = toset(var.vpc == null ? local.zones : [])

  vpc_id            = aws_vpc.this[0].id
  availability_zone = each.value
  cidr_block        = cidrsubnet(var.vpc_cidr, 3, index(local.zones, each.value) + 1)

  tags = merge(local.discovery, { Name = "${local.name}-private-${each.value}", "kubernetes.io/role/internal-elb" = "1" })
}

resource "aws_eip" "nat" {
  count = var.vpc == null ? 1 : 0

  domain = "vpc"

  tags = { Name = "${local.name}-nat" }
}

resource "aws_nat_gateway" "this" {
  count = var.vpc == null ? 1 : 0

  allocation_id = aws_eip.nat[0].id
  subnet_id     = aws_subnet.public[local.zones[0]].id

  tags = { Name = local.name }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  count = var.vpc == null ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this[0].id
  }

  tags = { Name = "${local.name}-public" }
}

resource "aws_route_table" "private" {
  count = var.vpc == null ? 1 : 0

  vpc_id = aws_vpc.this[0].id

  route {
    cidr_block     = "0.0.0.0/0"
    nat_gateway_id = aws_nat_gateway.this[0].id
  }

  tags = { Name = "${local.name}-private" }
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_route_table_association" "private" {
  for_each = aws_subnet.private

  subnet_id      = each.value.id
  route_table_id = aws_route_table.private[0].id
}

# What comes from S3, the layers of images in ECR among it, does not pay for the NAT gateway. Docker Hub and Hugging Face do.
resource "aws_vpc_endpoint" "s3" {
  count = var.vpc == null ? 1 : 0

  vpc_id          = aws_vpc.this[0].id
  service_name    = "com.amazonaws.${var.region}.s3"
  route_table_ids = [aws_route_table.private[0].id]

  tags = { Name = "${local.name}-s3" }
}

data "aws_subnet" "existing" {
  for_each = toset(var.vpc == null ? [] : var.vpc.private_subnet_ids)

  id = each.value
}

# Karpenter finds the subnets of an existing VPC by the tag, which has room for one cluster.
resource "aws_ec2_tag" "discovery" {
  for_each = data.aws_subnet.existing

  resource_id = each.value.id
  key         = "karpenter.sh/discovery"
  value       = local.name

  lifecycle {
    precondition {
      condition     = each.value.vpc_id == var.vpc.id
      error_message = "vpc.private_subnet_ids: ${each.key} is of ${each.value.vpc_id}, and vpc.id is ${var.vpc.id}."
    }

    precondition {
      condition     = lookup(each.value.tags, "karpenter.sh/discovery", local.name) == local.name
      error_message = "vpc.private_subnet_ids: Karpenter of another cluster finds ${each.key} by its tag karpenter.sh/discovery. Give subnets of its own."
    }
  }
}
