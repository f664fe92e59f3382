# Tests the whole configuration with a mock provider: no account, no credentials. Terraform chooses the values
# of resources that do not exist yet, so these tests check only the values in the configuration.

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
    error_message = "the API server can be reached from outside"
  }

  assert {
    condition     = !aws_eks_cluster.this.access_config[0].bootstrap_cluster_creator_admin_permissions
    error_message = "whoever creates the cluster becomes its administrator"
  }

  assert {
    condition     = length(aws_eks_cluster.this.enabled_cluster_log_types) == 5
    error_message = "a log is off"
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.nodes : template.metadata_options[0].http_tokens == "required" && template.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "a pod could ask for the node's credentials"
  }

  assert {
    condition     = toset(keys(aws_subnet.nodes)) == toset(["us-east-1a", "us-east-1b"])
    error_message = "zones are taken in the order of their names"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1
    error_message = "one NAT gateway"
  }
}

run "gpu_nodes_are_for_gpu_jobs" {
  command = plan

  assert {
    condition     = one(aws_eks_node_group.gpu.taint).key == "nvidia.com/gpu" && one(aws_eks_node_group.gpu.taint).effect == "NO_SCHEDULE"
    error_message = "jobs without GPUs could take the place"
  }

  assert {
    condition     = aws_eks_node_group.gpu.scaling_config[0].desired_size == 0
    error_message = "GPU nodes cost from the first hour on"
  }
}

run "open_to_some" {
  command = plan

  variables {
    public_endpoint_cidrs = ["203.0.113.0/24"]
    nat_gateway_per_zone  = true
    zones                 = 3
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].endpoint_public_access && aws_eks_cluster.this.vpc_config[0].public_access_cidrs == toset(["203.0.113.0/24"])
    error_message = "open to those who were named, and to them alone"
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 3
    error_message = "a NAT gateway in each zone"
  }
}

run "not_to_the_world" {
  command = plan

  variables {
    public_endpoint_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.public_endpoint_cidrs]
}

run "somebody_administers_it" {
  command = plan

  variables {
    administrators = []
  }

  expect_failures = [var.administrators]
}

run "users_are_not_roles" {
  command = plan

  variables {
    administrators = ["arn:aws:iam::000000000000:user/somebody"]
  }

  expect_failures = [var.administrators]
}

run "a_version_that_is_too_old" {
  command = plan

  variables {
    kubernetes_version = "1.30"
  }

  expect_failures = [var.kubernetes_version]
}

run "more_desired_than_there_may_be" {
  command = plan

  variables {
    gpu_nodes = { desired = 3, max = 2 }
  }

  expect_failures = [var.gpu_nodes]
}

run "a_gpu_node_without_a_gpu" {
  command = plan

  variables {
    gpu_nodes = { instance_type = "m5.xlarge" }
  }

  expect_failures = [var.gpu_nodes]
}

run "a_gpu_that_is_not_nvidias" {
  command = plan

  variables {
    gpu_nodes = { instance_type = "g4ad.xlarge" }
  }

  expect_failures = [var.gpu_nodes]
}

run "disks_that_are_too_small" {
  command = plan

  variables {
    system_nodes = { disk_gb = 19 }
    cpu_nodes    = { disk_gb = 19 }
    gpu_nodes    = { disk_gb = 19 }
  }

  expect_failures = [var.system_nodes, var.cpu_nodes, var.gpu_nodes]
}

run "disks_of_the_least_and_the_most" {
  command = plan

  variables {
    system_nodes = { disk_gb = 20 }
    cpu_nodes    = { disk_gb = 16384 }
  }
}

run "tags_that_are_aws_own" {
  command = plan

  variables {
    tags = { "aws:team" = "search" }
  }

  expect_failures = [var.tags]
}
