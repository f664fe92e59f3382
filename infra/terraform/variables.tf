variable "region" {
  description = "The AWS region."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region must have the form us-east-1."
  }
}

variable "name" {
  description = "The name prefix of all resources."
  type        = string
  default     = "runway"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}[a-z0-9]$", var.name))
    error_message = "The name must have 3 to 22 lower-case letters, digits and hyphens, and must start with a letter."
  }
}

variable "kubernetes_version" {
  description = "The version of Kubernetes. EKS must still give it standard support, because extended support costs six times as much."
  type        = string
  default     = "1.36"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "The version must have the form 1.36."
  }

  validation {
    condition = try(
      tonumber(split(".", var.kubernetes_version)[1]) >= tonumber(split(".", var.supported_kubernetes_versions.min)[1]) &&
      tonumber(split(".", var.kubernetes_version)[1]) <= tonumber(split(".", var.supported_kubernetes_versions.max)[1]),
      false,
    )
    error_message = "The version must be between ${var.supported_kubernetes_versions.min} and ${var.supported_kubernetes_versions.max}. Runway is tested with these versions (`supported_kubernetes_versions`)."
  }
}

variable "supported_kubernetes_versions" {
  description = "The oldest and the newest version that `kubernetes_version` can have. The defaults are the versions that Runway is tested with."
  type = object({
    min = optional(string, "1.34")
    max = optional(string, "1.36")
  })
  default = {}

  validation {
    condition     = alltrue([for version in values(var.supported_kubernetes_versions) : can(regex("^1\\.[0-9]{2}$", version))])
    error_message = "Both versions must have the form 1.36."
  }
}

variable "vpc_cidr" {
  description = "The CIDR of the network. The overlay for EKS and its policy contain ranges of it."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && endswith(var.vpc_cidr, "/16")
    error_message = "The network must be a /16, such as 10.42.0.0/16."
  }
}

variable "zones" {
  description = "The number of availability zones with nodes."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "The number must be two or three, because EKS needs two."
  }
}

variable "nat_gateway_per_zone" {
  description = "Whether each zone has its own NAT gateway, so that the other zones keep internet access if one zone fails."
  type        = bool
  default     = false
}

variable "public_endpoint_cidrs" {
  description = "The public ranges that can reach the API server. If the list is empty, only the network itself can."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.public_endpoint_cidrs : can(cidrhost(cidr, 0))])
    error_message = "Each element must be a range such as 203.0.113.0/24."
  }

  validation {
    condition     = alltrue([for cidr in var.public_endpoint_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, false)])
    error_message = "Ranges larger than a /8 are not allowed, because they are almost the whole internet."
  }
}

variable "private_endpoint_cidrs" {
  description = "The private ranges, such as that of a VPN, that can reach the API server on port 443. Nodes and pods need no entry."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.private_endpoint_cidrs : can(cidrnetmask(cidr))])
    error_message = "Each element must be an IPv4 range such as 10.8.0.0/16."
  }

  validation {
    condition     = alltrue([for cidr in var.private_endpoint_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, false)])
    error_message = "Ranges larger than a /8 are not allowed. List only the ranges of your own networks."
  }
}

variable "private_endpoint_security_groups" {
  description = "The security groups, such as that of a bastion, whose members can reach the API server on port 443."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for group in var.private_endpoint_security_groups : can(regex("^sg-[0-9a-f]{8,17}$", group))])
    error_message = "Each element must be the id of a security group, such as sg-0123456789abcdef0."
  }
}

variable "administrators" {
  description = "The IAM roles of the administrators of the cluster. The creator of the cluster gets no permissions in it."
  type        = set(string)

  validation {
    condition     = length(var.administrators) > 0
    error_message = "At least one administrator is required. Otherwise the cluster could never be accessed."
  }

  validation {
    condition     = alltrue([for arn in var.administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", arn))])
    error_message = "Each element must be the ARN of an IAM role. Users are not allowed, because their keys do not expire."
  }
}

variable "system_nodes" {
  description = "The nodes of the control plane and the cluster's own pods. No job runs on them."
  type = object({
    instance_type = optional(string, "t3.medium")
    count         = optional(number, 2)
    disk_gb       = optional(number, 30)
  })
  default = {}

  validation {
    condition     = var.system_nodes.count >= 1 && var.system_nodes.count <= 5
    error_message = "The number must be between one and five."
  }

  validation {
    condition     = var.system_nodes.disk_gb >= 20 && var.system_nodes.disk_gb <= 16384
    error_message = "The disk must have 20 to 16384 GB, because the system and images need more than ten."
  }
}

variable "cpu_nodes" {
  description = "The nodes of jobs without GPUs. `desired` is only the initial number. Later changes are made outside of Terraform."
  type = object({
    instance_type = optional(string, "m5.xlarge")
    min           = optional(number, 0)
    desired       = optional(number, 2)
    max           = optional(number, 6)
    disk_gb       = optional(number, 100)
  })
  default = {}

  validation {
    condition     = var.cpu_nodes.min >= 0 && var.cpu_nodes.min <= var.cpu_nodes.desired && var.cpu_nodes.desired <= var.cpu_nodes.max && var.cpu_nodes.max >= 1
    error_message = "The numbers must satisfy 0 <= min <= desired <= max, and 1 <= max."
  }

  validation {
    condition     = var.cpu_nodes.disk_gb >= 20 && var.cpu_nodes.disk_gb <= 16384
    error_message = "The disk must have 20 to 16384 GB, because the system and images need more than ten."
  }
}

variable "gpu_nodes" {
  description = "The nodes of jobs with GPUs. The policy's capacity can be at most `max` times the GPUs of one node. `gpu` is the node label in the policy."
  type = object({
    instance_type = optional(string, "g5.xlarge")
    gpu           = optional(string, "a10g")
    min           = optional(number, 0)
    desired       = optional(number, 0)
    max           = optional(number, 2)
    disk_gb       = optional(number, 100)
  })
  default = {}

  validation {
    condition     = var.gpu_nodes.min >= 0 && var.gpu_nodes.min <= var.gpu_nodes.desired && var.gpu_nodes.desired <= var.gpu_nodes.max && var.gpu_nodes.max >= 1
    error_message = "The numbers must satisfy 0 <= min <= desired <= max, and 1 <= max."
  }

  validation {
    condition     = can(regex("^(g4dn|g5|g6|g6e|gr6|p3|p3dn|p4d|p4de|p5|p5e|p5en)\\.", var.gpu_nodes.instance_type))
    error_message = "The instance type must be one of g4dn, g5, g6, g6e, gr6, p3, p3dn, p4d, p4de, p5, p5e or p5en. Others have no NVIDIA GPU, or another CPU architecture."
  }

  validation {
    condition     = var.gpu_nodes.disk_gb >= 20 && var.gpu_nodes.disk_gb <= 16384
    error_message = "The disk must have 20 to 16384 GB, because the system and images need more than ten."
  }
}

variable "log_retention_days" {
  description = "The retention time of the API server logs and the flow logs, in days."
  type        = number
  default     = 90

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "The number must be one that CloudWatch supports: 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "tags" {
  description = "Additional tags for all resources."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.tags : can(regex("^[^:]{1,128}$", key)) && !startswith(lower(key), "aws") && length(value) <= 256])
    error_message = "A key must have 1 to 128 characters, no colon, and must not start with `aws`. A value must have at most 256 characters."
  }
}
