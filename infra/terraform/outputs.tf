output "cluster" {
  description = "The cluster's name."
  value       = aws_eks_cluster.this.name
}

output "kubeconfig" {
  description = "The command that writes the kubeconfig."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${aws_eks_cluster.this.name}"
}

output "registry" {
  description = "Where the server's image goes."
  value       = aws_ecr_repository.server.repository_url
}

output "ranges" {
  description = "The ranges that the overlay for EKS and its policy name: they must agree."
  value       = module.layout.ranges
}

output "usd_per_month" {
  description = "At list price in us-east-1, before traffic and logs. Null, where the list has no price for an instance type."
  value = {
    lines = module.cost.lines
    total = module.cost.total
  }
}
