# Tests the whole configuration with a mock provider, without an account and credentials. AWS chooses some
# values only when it creates a resource, so these tests check only the values in the configuration.

mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = {
      names    = ["us-east-1c", "us-east-1a", "us-east-1d", "us-east-1b"]
      zone_ids = ["use1-az4", "use1-az2", "use1-az1", "use1-az6"]
    }
  }

  mock_data "aws_eks_cluster_versions" {
    defaults = {
      cluster_versions = [
        {
          cluster_type                 = "eks"
          cluster_version              = "1.34"
          default_platform_version     = "eks.1"
          default_version              = false
          end_of_extended_support_date = "2028-01-01T00:00:00Z"
          end_of_standard_support_date = "2027-01-01T00:00:00Z"
          kubernetes_patch_version     = "1.34.0"
          release_date                 = "2026-01-01T00:00:00Z"
          version_status               = "STANDARD_SUPPORT"
        },
        {
          cluster_type                 = "eks"
          cluster_version              = "1.35"
          default_platform_version     = "eks.1"
          default_version              = false
          end_of_extended_support_date = "2028-01-01T00:00:00Z"
          end_of_standard_support_date = "2027-01-01T00:00:00Z"
          kubernetes_patch_version     = "1.35.0"
          release_date                 = "2026-01-01T00:00:00Z"
          version_status               = "STANDARD_SUPPORT"
        },
        {
          cluster_type                 = "eks"
          cluster_version              = "1.36"
          default_platform_version     = "eks.1"
          default_version              = false
          end_of_extended_support_date = "2028-01-01T00:00:00Z"
          end_of_standard_support_date = "2027-01-01T00:00:00Z"
          kubernetes_patch_version     = "1.36.0"
          release_date                 = "2026-01-01T00:00:00Z"
          version_status               = "STANDARD_SUPPORT"
        },
      ]
    }
  }

  mock_data "aws_caller_identity" {
    defaults = { account_id = "000000000000" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  administrators = ["arn:aws:iam::000000000000:role/platform"]
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

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.api_server_ranges) == 0 && length(aws_vpc_security_group_ingress_rule.api_server_groups) == 0
    error_message = "the API server must admit only the cluster itself"
  }

  assert {
    condition     = aws_eks_cluster.this.version == "1.36"
    error_message = "the default version must be 1.36"
  }
}

run "nodes_can_join_and_nothing_else" {
  command = plan

  assert {
    condition = toset([for attachment in aws_iam_role_policy_attachment.nodes : attachment.policy_arn]) == toset([
      "arn:aws:iam::aws:policy/AmazonEC2ContainerRegistryPullOnly",
      "arn:aws:iam::aws:policy/AmazonEKSWorkerNodePolicy",
    ])
    error_message = "nodes must be able to describe their instance and to pull images"
  }
}

run "image_volumes_are_ignored" {
  command = plan

  assert {
    condition     = alltrue([for template in aws_launch_template.nodes : strcontains(base64decode(template.user_data), "[plugins.\"io.containerd.cri.v1.runtime\"]\n      ignore_image_defined_volumes = true\n")])
    error_message = "a `VOLUME` of an image must not become a writable volume without a limit"
  }

  assert {
    condition     = alltrue([for template in aws_launch_template.nodes : startswith(base64decode(template.user_data), "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"RUNWAY\"\n")])
    error_message = "EKS accepts user data only as a MIME multi-part document"
  }

  assert {
    condition     = yamldecode(split("\n\n--RUNWAY--", split("application/node.eks.aws\n\n---\n", base64decode(aws_launch_template.nodes["cpu"].user_data))[1])[0]).kind == "NodeConfig"
    error_message = "the user data must contain one NodeConfig in YAML"
  }
}

run "zones_without_eks_are_left_out" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = {
      names    = ["us-east-1a", "us-east-1b", "us-east-1c"]
      zone_ids = ["use1-az3", "use1-az6", "use1-az2"]
    }
  }

  assert {
    condition     = toset(keys(aws_subnet.nodes)) == toset(["us-east-1b", "us-east-1c"]) && toset(keys(aws_subnet.control)) == toset(["us-east-1b", "us-east-1c"])
    error_message = "no subnet may be in use1-az3"
  }
}

run "region_with_too_few_zones_is_rejected" {
  command = plan

  override_data {
    target = data.aws_availability_zones.available
    values = {
      names    = ["us-west-1a", "us-west-1b"]
      zone_ids = ["usw1-az2", "usw1-az3"]
    }
  }

  expect_failures = [data.aws_availability_zones.available]
}

run "private_endpoint_admits_listed_sources" {
  command = plan

  variables {
    private_endpoint_cidrs           = ["10.8.0.0/16"]
    private_endpoint_security_groups = ["sg-0123456789abcdef0"]
  }

  override_resource {
    target          = aws_security_group.api_server
    override_during = plan
    values          = { id = "sg-00000000000000001" }
  }

  assert {
    condition     = aws_eks_cluster.this.vpc_config[0].security_group_ids == toset(["sg-00000000000000001"])
    error_message = "the API server must have the security group with the rules"
  }

  assert {
    condition = alltrue([
      for rule in concat(values(aws_vpc_security_group_ingress_rule.api_server_ranges), values(aws_vpc_security_group_ingress_rule.api_server_groups)) :
      rule.security_group_id == "sg-00000000000000001" && rule.ip_protocol == "tcp" && rule.from_port == 443 && rule.to_port == 443
    ])
    error_message = "the rules must open port 443 of the API server only"
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.api_server_ranges : rule.cidr_ipv4] == ["10.8.0.0/16"]
    error_message = "the listed range must be admitted"
  }

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.api_server_groups : rule.referenced_security_group_id] == ["sg-0123456789abcdef0"]
    error_message = "the listed security group must be admitted"
  }

  assert {
    condition     = !aws_eks_cluster.this.vpc_config[0].endpoint_public_access
    error_message = "private sources must not make the API server public"
  }
}

run "large_private_ranges_are_rejected" {
  command = plan

  variables {
    private_endpoint_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.private_endpoint_cidrs]
}

run "names_of_security_groups_are_rejected" {
  command = plan

  variables {
    private_endpoint_security_groups = ["bastion"]
  }

  expect_failures = [var.private_endpoint_security_groups]
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

run "oldest_version_is_accepted" {
  command = plan

  variables {
    kubernetes_version = "1.34"
  }

  assert {
    condition     = aws_eks_cluster.this.version == "1.34"
    error_message = "the version must be the given one"
  }
}

run "old_version_is_rejected" {
  command = plan

  variables {
    kubernetes_version = "1.33"
  }

  expect_failures = [var.kubernetes_version]
}

run "untested_version_is_rejected" {
  command = plan

  variables {
    kubernetes_version = "1.37"
  }

  expect_failures = [var.kubernetes_version]
}

run "minimum_version_is_a_variable" {
  command = plan

  variables {
    kubernetes_version            = "1.34"
    supported_kubernetes_versions = { min = "1.35" }
  }

  expect_failures = [var.kubernetes_version]
}

run "version_without_standard_support_is_rejected" {
  command = plan

  variables {
    kubernetes_version = "1.34"
  }

  override_data {
    target = data.aws_eks_cluster_versions.standard
    values = {
      cluster_versions = [
        {
          cluster_type                 = "eks"
          cluster_version              = "1.35"
          default_platform_version     = "eks.1"
          default_version              = false
          end_of_extended_support_date = "2028-01-01T00:00:00Z"
          end_of_standard_support_date = "2027-01-01T00:00:00Z"
          kubernetes_patch_version     = "1.35.0"
          release_date                 = "2026-01-01T00:00:00Z"
          version_status               = "STANDARD_SUPPORT"
        },
        {
          cluster_type                 = "eks"
          cluster_version              = "1.36"
          default_platform_version     = "eks.1"
          default_version              = false
          end_of_extended_support_date = "2028-01-01T00:00:00Z"
          end_of_standard_support_date = "2027-01-01T00:00:00Z"
          kubernetes_patch_version     = "1.36.0"
          release_date                 = "2026-01-01T00:00:00Z"
          version_status               = "STANDARD_SUPPORT"
        },
      ]
    }
  }

  expect_failures = [aws_eks_cluster.this]
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
