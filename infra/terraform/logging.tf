# Logs of the cluster, such as those of the API server, and flow logs of the network.

locals {
  log_groups = {
    # EKS writes to a log group with this name. Terraform creates it, so that the group has a key and a
    # retention time.
    cluster = "/aws/eks/${var.name}/cluster"
    network = "/${var.name}/network"
  }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = local.log_groups

  name              = each.value
  retention_in_days = var.log_retention_days
  kms_key_id        = aws_kms_key.logs.arn
}

resource "aws_iam_role" "network_log" {
  name = "${var.name}-network-log"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "network_log" {
  name = "write"
  role = aws_iam_role.network_log.id

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"]
      Resource = "${aws_cloudwatch_log_group.this["network"].arn}:*"
    }]
  })
}

# Only rejected connections are logged. Logging all connections would cost more than it is worth.
resource "aws_flow_log" "refused" {
  vpc_id          = aws_vpc.this.id
  traffic_type    = "REJECT"
  log_destination = aws_cloudwatch_log_group.this["network"].arn
  iam_role_arn    = aws_iam_role.network_log.arn
}
