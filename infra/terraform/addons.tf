# Add-ons for the network of the cluster. The network plugin gets its permissions by Pod Identity, so the
# nodes do not need these permissions. The plugin enforces NetworkPolicies, which Runway's networks `none` and
# `internal` need.
#
# Runway itself needs no permission in AWS and gets none.

resource "aws_iam_role" "network_plugin" {
  name = "${var.name}-network-plugin"

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "pods.eks.amazonaws.com" }
      Action    = ["sts:AssumeRole", "sts:TagSession"]
      Condition = {
        StringEquals = { "aws:SourceAccount" = local.account }
        ArnEquals    = { "aws:SourceArn" = aws_eks_cluster.this.arn }
      }
    }]
  })
}

resource "aws_iam_role_policy_attachment" "network_plugin" {
  role       = aws_iam_role.network_plugin.name
  policy_arn = "arn:${local.partition}:iam::aws:policy/AmazonEKS_CNI_Policy"
}

resource "aws_eks_addon" "pod_identity" {
  cluster_name = aws_eks_cluster.this.name
  addon_name   = "eks-pod-identity-agent"
}

resource "aws_eks_addon" "network_plugin" {
  cluster_name = aws_eks_cluster.this.name
  addon_name   = "vpc-cni"

  # In the mode `standard`, NetworkPolicies take effect shortly after the start of a pod. The mode `strict`
  # would block the network of every pod without a policy, including the DNS servers of the cluster.
  configuration_values = jsonencode({
    enableNetworkPolicy = "true"
    env                 = { NETWORK_POLICY_ENFORCING_MODE = "standard" }
  })

  pod_identity_association {
    role_arn        = aws_iam_role.network_plugin.arn
    service_account = "aws-node"
  }

  depends_on = [
    aws_eks_addon.pod_identity,
    aws_iam_role_policy_attachment.network_plugin,
  ]
}

resource "aws_eks_addon" "proxy" {
  cluster_name = aws_eks_cluster.this.name
  addon_name   = "kube-proxy"
}

# The DNS servers run on nodes, so the nodes are created first.
resource "aws_eks_addon" "dns" {
  cluster_name = aws_eks_cluster.this.name
  addon_name   = "coredns"

  depends_on = [aws_eks_node_group.system]
}
