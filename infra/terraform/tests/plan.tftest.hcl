# Tests the whole configuration with a mock provider, without an account and credentials. AWS chooses some
# values only when it creates a resource, so these tests check only the values in the configuration.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1c", "us-east-1a", "us-east-1b"] }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "000000000000" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  kubernetes_version = "1.35"
  administrators     = ["arn:aws:iam::000000000000:role/platform"]
}

run "closed_by_default" {
  command = plan

  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].endpoint_private_access
    error_message = "the API server must not be public"
  }

  assert {
    condition     = !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "the creator of the cluster must not become its administrator"
  }

  assert {
    condition     = length(aws_eks_cluster.this.enabled_cluster_log_types) == 5
    error_message = "all logs must be enabled"
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.nodes : template.metadata_options[0].http_tokens == "required" && template.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "pods must not be able to read the credentials of the node"
  }

  assert {
    condition     = toset(keys(aws_subnet.nodes)) == toset(["us-east-1a", "us-east-1b"])
    error_message = "zones must be used in the order of their names"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1
    error_message = "there must be one NAT gateway"
  }
}

run "gpu_nodes_are_for_gpu_jobs" {
  command = plan

  assert {
    condition     = one(aws_eks_node_group.gpu.taint).key == "nvidia.com/gpu" && one(aws_eks_node_group.gpu.taint).effect == "NO_SCHEDULE"
    error_message = "jobs without GPUs must not run on GPU nodes"
  }

  assert {
    condition     = aws_eks_node_group.gpu.scaling_config[0].desired_size == 0
    error_message = "there must be no GPU nodes at first"
  }
}

run "open_to_listed_ranges" {
  command = plan

  variables {
    public_endpoint_cidrs = ["203.0.113.0/24"]
    nat_gateway_per_zone  = true
    zones                 = 3
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "the API server must be open only to the listed ranges"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3
    error_message = "there must be a NAT gateway in each zone"
  }
}

run "large_ranges_are_rejected" {
  command = plan

  variables {
    public_endpoint_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.public_endpoint_cidrs]
}

run "missing_administrators_are_rejected" {
  command = plan

  variables {
    administrators = []
  }

  expect_failures = [var.administrators]
}

run "users_are_rejected" {
  command = plan

  variables {
    administrators = ["arn:aws:iam::000000000000:user/somebody"]
  }

  expect_failures = [var.administrators]
}

run "old_version_is_rejected" {
  command = plan

  variables {
    kubernetes_version = "1.30"
  }

  expect_failures = [var.kubernetes_version]
}

run "desired_above_max_is_rejected" {
  command = plan

  variables {
    gpu_nodes = { desired = 3, max = 2 }
  }

  expect_failures = [var.gpu_nodes]
}

run "instance_type_without_gpu_is_rejected" {
  command = plan

  variables {
    gpu_nodes = { instance_type = "m5.xlarge" }
  }

  expect_failures = [var.gpu_nodes]
}

run "non_nvidia_gpu_is_rejected" {
  command = plan

  variables {
    gpu_nodes = { instance_type = "g4ad.xlarge" }
  }

  expect_failures = [var.gpu_nodes]
}

run "small_disks_are_rejected" {
  command = plan

  variables {
    system_nodes = { disk_gb = 19 }
    cpu_nodes    = { disk_gb = 19 }
    gpu_nodes    = { disk_gb = 19 }
  }

  expect_failures = [var.system_nodes, var.cpu_nodes, var.gpu_nodes]
}

run "extreme_disk_sizes_are_accepted" {
  command = plan

  variables {
    system_nodes = { disk_gb = 20 }
    cpu_nodes    = { disk_gb = 16384 }
  }
}

run "aws_tags_are_rejected" {
  command = plan

  variables {
    tags = { "aws:team" = "search" }
  }

  expect_failures = [var.tags]
}
