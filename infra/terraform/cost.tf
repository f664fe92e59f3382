module "cost" {
  source = "./modules/cost"

  nat_gateways = length(local.nat_zones)
  kms_keys     = 2

  nodes = {
    system = { instance_type = var.system_nodes.instance_type, count = var.system_nodes.count, disk_gb = var.system_nodes.disk_gb }
    cpu    = { instance_type = var.cpu_nodes.instance_type, count = var.cpu_nodes.desired, disk_gb = var.cpu_nodes.disk_gb }
    gpu    = { instance_type = var.gpu_nodes.instance_type, count = var.gpu_nodes.desired, disk_gb = var.gpu_nodes.disk_gb }
  }
}
