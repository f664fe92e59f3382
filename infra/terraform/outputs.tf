output "cluster" {
  description = "The name of the cluster."
  value       = aws_eks_cluster.this.name
}

output "kubeconfig" {
  description = "The command that writes the kubeconfig."
  value       = "aws eks update-kubeconfig --region ${var.region} --name ${aws_eks_cluster.this.name}"
}

output "registry" {
  description = "The registry for the server's image."
  value       = aws_ecr_repository.server.repository_url
}

output "network" {
  description = "The VPC, and the route table of the API server's subnets, which needs the route to a VPN."
  value = {
    vpc         = aws_vpc.this.id
    route_table = aws_vpc.this.main_route_table_id
  }
}

output "ranges" {
  description = "The ranges that the overlay for EKS and its policy must contain."
  value       = module.layout.ranges
}

output "usd_per_month" {
  description = "The list price in us-east-1, without traffic and logs. Null if the list has no price for an instance type."
  value = {
    lines = module.cost.lines
    total = module.cost.total
  }
}
