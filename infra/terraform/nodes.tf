# Three groups of nodes: for the cluster itself and Runway, for jobs, and for jobs with GPUs. Nodes may join the cluster and pull
# images, and nothing else.

resource "aws_iam_role" "nodes" {
  name = "${var.name}-nodes"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "nodes" {
  for_each = toset(["AmazonEKSWorkerNodeMinimalPolicy", "AmazonEC2ContainerRegistryPullOnly"])

  role       = aws_iam_role.nodes.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/${each.key}"
}

locals {
  disks = {
    system = var.system_nodes.disk_gb
    cpu    = var.cpu_nodes.disk_gb
    gpu    = var.gpu_nodes.disk_gb
  }

  node_subnets = [for subnet in aws_subnet.nodes : subnet.id]
}

resource "aws_launch_template" "nodes" {
  for_each = local.disks

  name_prefix            = "${var.name}-${each.key}-"
  update_default_version = true

  # One hop: a pod that asks for the node's credentials gets no answer.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  block_device_mappings {
    device_name = "/dev/xvda"

    ebs {
      volume_type           = "gp3"
      volume_size           = each.value
      encrypted             = true
      delete_on_termination = true
    }
  }

  tag_specifications {
    resource_type = "instance"
    tags          = { Name = "${var.name}-${each.key}" }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = { Name = "${var.name}-${each.key}" }
  }
}

resource "aws_eks_node_group" "system" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "system"
  node_role_arn   = aws_iam_role.nodes.arn
  subnet_ids      = local.node_subnets
  ami_type        = "AL2023_x86_64_STANDARD"
  instance_types  = [var.system_nodes.instance_type]
  labels          = { "runway.dev/nodes" = "system" }

  launch_template {
    id      = aws_launch_template.nodes["system"].id
    version = aws_launch_template.nodes["system"].latest_version
  }

  scaling_config {
    min_size     = var.system_nodes.count
    desired_size = var.system_nodes.count
    max_size     = var.system_nodes.count + 1
  }

  update_config {
    max_unavailable = 1
  }

  # Jobs do not tolerate it; the cluster's own pods do, and Runway's.
  taint {
    key    = "CriticalAddonsOnly"
    value  = "true"
    effect = "NO_SCHEDULE"
  }

  depends_on = [
    aws_eks_addon.network_plugin,
    aws_eks_addon.proxy,
    aws_iam_role_policy_attachment.nodes,
  ]
}

resource "aws_eks_node_group" "cpu" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "cpu"
  node_role_arn   = aws_iam_role.nodes.arn
  subnet_ids      = local.node_subnets
  ami_type        = "AL2023_x86_64_STANDARD"
  instance_types  = [var.cpu_nodes.instance_type]
  labels          = { "runway.dev/nodes" = "cpu" }

  launch_template {
    id      = aws_launch_template.nodes["cpu"].id
    version = aws_launch_template.nodes["cpu"].latest_version
  }

  scaling_config {
    min_size     = var.cpu_nodes.min
    desired_size = var.cpu_nodes.desired
    max_size     = var.cpu_nodes.max
  }

  update_config {
    max_unavailable = 1
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size]
  }

  depends_on = [
    aws_eks_addon.network_plugin,
    aws_eks_addon.proxy,
    aws_iam_role_policy_attachment.nodes,
  ]
}

resource "aws_eks_node_group" "gpu" {
  cluster_name    = aws_eks_cluster.this.name
  node_group_name = "gpu"
  node_role_arn   = aws_iam_role.nodes.arn
  subnet_ids      = local.node_subnets
  # With NVIDIA's driver and container toolkit; the device plugin comes with the overlay for EKS.
  ami_type       = "AL2023_x86_64_NVIDIA"
  instance_types = [var.gpu_nodes.instance_type]
  labels = {
    "runway.dev/nodes" = "gpu"
    "runway.dev/gpu"   = var.gpu_nodes.gpu
  }

  launch_template {
    id      = aws_launch_template.nodes["gpu"].id
    version = aws_launch_template.nodes["gpu"].latest_version
  }

  scaling_config {
    min_size     = var.gpu_nodes.min
    desired_size = var.gpu_nodes.desired
    max_size     = var.gpu_nodes.max
  }

  update_config {
    max_unavailable = 1
  }

  # A job without GPUs must not take the place of one with them. Runway's GPU jobs tolerate it.
  taint {
    key    = "nvidia.com/gpu"
    value  = "present"
    effect = "NO_SCHEDULE"
  }

  lifecycle {
    ignore_changes = [scaling_config[0].desired_size]
  }

  depends_on = [
    aws_eks_addon.network_plugin,
    aws_eks_addon.proxy,
    aws_iam_role_policy_attachment.nodes,
  ]
}
