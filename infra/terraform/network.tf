# One network with four kinds of subnets; see modules/layout. Nodes have no public addresses, and nothing
# listens on a public address.

data "aws_availability_zones" "available" {
  state = "available"

  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }

  lifecycle {
    postcondition {
      condition     = length([for id in self.zone_ids : id if !contains(local.unsupported_zone_ids, id)]) >= var.zones
      error_message = "${var.region} has fewer than ${var.zones} availability zones that EKS supports. Lower `zones`, or choose another region."
    }
  }
}

locals {
  # EKS creates no API server in these zones. The names of zones differ between accounts, so the zones are
  # listed by id: https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html
  unsupported_zone_ids = ["use1-az3", "usw1-az2", "cac1-az3"]

  zone_ids = zipmap(data.aws_availability_zones.available.names, data.aws_availability_zones.available.zone_ids)
  zones    = slice(sort([for name, id in local.zone_ids : name if !contains(local.unsupported_zone_ids, id)]), 0, var.zones)

  nat_zones = var.nat_gateway_per_zone ? local.zones : slice(local.zones, 0, 1)
}

module "layout" {
  source = "./modules/layout"

  cidr  = var.vpc_cidr
  zones = local.zones
}

resource "aws_vpc" "this" {
  cidr_block           = var.vpc_cidr
  enable_dns_hostnames = true
  enable_dns_support   = true

  tags = { Name = var.name }
}

# The default security group applies to everything without a group. It allows nothing.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.this.id
}

resource "aws_subnet" "control" {
  for_each = module.layout.control

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-control-${each.key}" }
}

resource "aws_subnet" "public" {
  for_each = module.layout.public

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-public-${each.key}" }
}

resource "aws_subnet" "services" {
  for_each = module.layout.services

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-services-${each.key}" }
}

resource "aws_subnet" "nodes" {
  for_each = module.layout.nodes

  vpc_id            = aws_vpc.this.id
  availability_zone = each.key
  cidr_block        = each.value

  tags = { Name = "${var.name}-nodes-${each.key}" }
}

resource "aws_internet_gateway" "this" {
  vpc_id = aws_vpc.this.id

  tags = { Name = var.name }
}

resource "aws_eip" "nat" {
  for_each = toset(local.nat_zones)

  domain = "vpc"

  tags = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_nat_gateway" "this" {
  for_each = toset(local.nat_zones)

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.public[each.key].id

  tags = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_internet_gateway.this]
}

resource "aws_route_table" "public" {
  vpc_id = aws_vpc.this.id

  route {
    cidr_block = "0.0.0.0/0"
    gateway_id = aws_internet_gateway.this.id
  }

  tags = { Name = "${var.name}-public" }
}

resource "aws_route_table_association" "public" {
  for_each = aws_subnet.public

  subnet_id      = each.value.id
  route_table_id = aws_route_table.public.id
}

# The subnets of the API server and of the services have no route to the internet. They use the main route
# table of the network, which has none.
resource "aws_route_table" "nodes" {
  for_each = toset(local.zones)

  vpc_id = aws_vpc.this.id

  route {
    cidr_block     = "0.0.0.0/0"
    nat_gateway_id = aws_nat_gateway.this[var.nat_gateway_per_zone ? each.key : local.nat_zones[0]].id
  }

  tags = { Name = "${var.name}-nodes-${each.key}" }
}

resource "aws_route_table_association" "nodes" {
  for_each = aws_subnet.nodes

  subnet_id      = each.value.id
  route_table_id = aws_route_table.nodes[each.key].id
}

# Image layers come from S3. Traffic through this endpoint is free, while a NAT gateway costs money for each
# GB.
resource "aws_vpc_endpoint" "s3" {
  vpc_id            = aws_vpc.this.id
  service_name      = "com.amazonaws.${var.region}.s3"
  vpc_endpoint_type = "Gateway"
  route_table_ids   = [for table in aws_route_table.nodes : table.id]

  tags = { Name = "${var.name}-s3" }
}
