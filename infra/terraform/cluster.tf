# The cluster. The API server is private unless `public_endpoint_cidrs` is set. Secrets are encrypted with
# their own key, and all logs are enabled. The creator of the cluster gets no permissions in it.

resource "aws_iam_role" "cluster" {
  name = "${var.name}-cluster"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "eks.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "cluster" {
  role       = aws_iam_role.cluster.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKSClusterPolicy"
}

resource "aws_iam_role_policy" "cluster_secrets" {
  name = "secrets"
  role = aws_iam_role.cluster.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["kms:Encrypt", "kms:Decrypt", "kms:ListGrants", "kms:DescribeKey"]
      Resource = aws_kms_key.secrets.arn
    }]
  })
}

# The clients of the private endpoint outside of the cluster. EKS creates another group for the API server and
# the nodes. A rule in that group would also open port 443 of the nodes.
resource "aws_security_group" "api_server" {
  name        = "${var.name}-api-server"
  description = "Clients of the API server outside of the cluster"
  vpc_id      = aws_vpc.this.id

  tags = { Name = "${var.name}-api-server" }
}

resource "aws_vpc_security_group_ingress_rule" "api_server_ranges" {
  for_each = var.private_endpoint_cidrs

  security_group_id = aws_security_group.api_server.id
  description       = "The API server, from a private range"
  cidr_ipv4         = each.value
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
}

resource "aws_vpc_security_group_ingress_rule" "api_server_groups" {
  for_each = var.private_endpoint_security_groups

  security_group_id            = aws_security_group.api_server.id
  description                  = "The API server, from a security group"
  referenced_security_group_id = each.value
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
}

data "aws_eks_cluster_versions" "standard" {
  version_status = "STANDARD_SUPPORT"
}

locals {
  standard_versions = [for version in data.aws_eks_cluster_versions.standard.cluster_versions : version.cluster_version]
}

resource "aws_eks_cluster" "this" {
  name     = var.name
  version  = var.kubernetes_version
  role_arn = aws_iam_role.cluster.arn

  enabled_cluster_log_types = ["api", "audit", "authenticator", "controllerManager", "scheduler"]

  # The file addons.tf installs the add-ons, so EKS does not install its own.
  bootstrap_self_managed_addons = false

  access_config {
    authentication_mode                         = "API"
    bootstrap_cluster_creator_admin_permissions = false
  }

  vpc_config {
    subnet_ids              = [for subnet in aws_subnet.control : subnet.id]
    security_group_ids      = [aws_security_group.api_server.id]
    endpoint_private_access = true
    endpoint_public_access  = length(var.public_endpoint_cidrs) > 0
    public_access_cidrs     = length(var.public_endpoint_cidrs) > 0 ? var.public_endpoint_cidrs : null
  }

  kubernetes_network_config {
    service_ipv4_cidr = "172.20.0.0/16"
  }

  encryption_config {
    resources = ["secrets"]

    provider {
      key_arn = aws_kms_key.secrets.arn
    }
  }

  upgrade_policy {
    support_type = "STANDARD"
  }

  lifecycle {
    precondition {
      condition     = contains(local.standard_versions, var.kubernetes_version)
      error_message = "EKS gives Kubernetes ${var.kubernetes_version} no standard support. It gives standard support to: ${join(", ", sort(local.standard_versions))}."
    }
  }

  depends_on = [
    aws_cloudwatch_log_group.this,
    aws_iam_role_policy.cluster_secrets,
    aws_iam_role_policy_attachment.cluster,
  ]
}

resource "aws_eks_access_entry" "administrators" {
  for_each = var.administrators

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = each.value
}

resource "aws_eks_access_policy_association" "administrators" {
  for_each = var.administrators

  cluster_name  = aws_eks_cluster.this.name
  principal_arn = aws_eks_access_entry.administrators[each.key].principal_arn
  policy_arn    = "arn:${local.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"

  access_scope {
    type = "cluster"
  }
}
