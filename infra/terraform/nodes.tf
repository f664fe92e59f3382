# Three node groups: for the cluster's own pods and Runway, for jobs without GPUs, and for jobs with GPUs. The
# permissions of nodes in AWS suffice only to join the cluster and to pull images. A node describes its own
# instance before it starts the kubelet, so AmazonEKSWorkerNodeMinimalPolicy does not suffice.

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
  for_each = toset(["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly"])

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

  # By default, containerd creates a writable volume for each `VOLUME` of an image. Neither the read-only root
  # file system nor the storage limit of a job applies to such a volume. EKS adds this part to its own user
  # data. The section has the name of containerd 2.
  node_user_data = <<-EOT
    MIME-Version: 1.0
    Content-Type: multipart/mixed; boundary="RUNWAY"

    --RUNWAY
    Content-Type: application/node.eks.aws

    ---
    apiVersion: node.eks.aws/v1alpha1
    kind: NodeConfig
    spec:
      containerd:
        config: |
          [plugins."io.containerd.cri.v1.runtime"]
          ignore_image_defined_volumes = true

    --RUNWAY--
  EOT
}

resource "aws_launch_template" "nodes" {
  for_each = local.disks

  name_prefix            = "${var.name}-${each.key}-"
  update_default_version = true
  user_data              = base64encode(local.node_user_data)

  # The hop limit is 1, so a pod cannot read the credentials of its node.
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

  # Jobs do not tolerate this taint. The cluster's own pods and Runway do.
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
  # An image with NVIDIA's driver and container toolkit. The overlay for EKS installs the device plugin.
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

  # The taint keeps jobs without GPUs off these nodes. Runway's GPU jobs tolerate it.
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
