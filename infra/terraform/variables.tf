variable "region" {
  description = "The one region."
  type        = string
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "The region is written like us-east-1."
  }
}

variable "name" {
  description = "What everything is named after."
  type        = string
  default     = "runway"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,20}[a-z0-9]$", var.name))
    error_message = "The name has 3 to 22 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "kubernetes_version" {
  description = "The version of Kubernetes. It has no default: one that has left standard support costs six times as much."
  type        = string

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version)) && try(tonumber(split(".", var.kubernetes_version)[1]) >= 31, false)
    error_message = "At least 1.31, written like 1.35: before, a Job can be failed while its pod still runs."
  }
}

variable "vpc_cidr" {
  description = "The network of everything. The overlay for EKS and its policy name ranges within it."
  type        = string
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrhost(var.vpc_cidr, 0)) && endswith(var.vpc_cidr, "/16")
    error_message = "The network is a /16, such as 10.42.0.0/16."
  }
}

variable "zones" {
  description = "In how many availability zones there are nodes."
  type        = number
  default     = 2

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "Two or three: EKS needs two."
  }
}

variable "nat_gateway_per_zone" {
  description = "A NAT gateway in each zone, so that the loss of one zone leaves the others their way out."
  type        = bool
  default     = false
}

variable "public_endpoint_cidrs" {
  description = "Who may reach the API server from outside of the network. Nobody, if empty: then only what is in the network can."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.public_endpoint_cidrs : can(cidrhost(cidr, 0))])
    error_message = "Each is a range such as 203.0.113.0/24."
  }

  validation {
    condition     = alltrue([for cidr in var.public_endpoint_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, false)])
    error_message = "Ranges larger than a /8 are the whole world, more or less."
  }
}

variable "administrators" {
  description = "The roles of those who administer the cluster. Whoever runs this gets no rights in it by that."
  type        = set(string)

  validation {
    condition     = length(var.administrators) > 0
    error_message = "Without an administrator nobody could ever get into the cluster."
  }

  validation {
    condition     = alltrue([for arn in var.administrators : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$", arn))])
    error_message = "Each is the ARN of an IAM role; not of a user, whose keys live for ever."
  }
}

variable "system_nodes" {
  description = "The nodes of the control plane and the cluster's own pods, on which no job runs."
  type = object({
    instance_type = optional(string, "t3.medium")
    count         = optional(number, 2)
    disk_gb       = optional(number, 30)
  })
  default = {}

  validation {
    condition     = var.system_nodes.count >= 1 && var.system_nodes.count <= 5
    error_message = "One to five."
  }

  validation {
    condition     = var.system_nodes.disk_gb >= 20 && var.system_nodes.disk_gb <= 16384
    error_message = "A disk of 20 to 16384 GB: the system and images take more than ten."
  }
}

variable "cpu_nodes" {
  description = "The nodes of jobs without GPUs. `desired` is for the beginning alone: later the number is whoever scales it to decide."
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
    error_message = "It must hold that 0 <= min <= desired <= max, and 1 <= max."
  }

  validation {
    condition     = var.cpu_nodes.disk_gb >= 20 && var.cpu_nodes.disk_gb <= 16384
    error_message = "A disk of 20 to 16384 GB: the system and images take more than ten."
  }
}

variable "gpu_nodes" {
  description = "The nodes of jobs with GPUs; `max` times the GPUs of one is what the policy's capacity can promise. `gpu` is the label by which the policy finds them."
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
    error_message = "It must hold that 0 <= min <= desired <= max, and 1 <= max."
  }

  validation {
    condition     = can(regex("^(g4dn|g5|g6|g6e|gr6|p3|p3dn|p4d|p4de|p5|p5e|p5en)\\.", var.gpu_nodes.instance_type))
    error_message = "An instance type of g4dn, g5, g6, g6e, gr6, p3, p3dn, p4d, p4de, p5, p5e or p5en: others have no NVIDIA GPU, or another kind of processor."
  }

  validation {
    condition     = var.gpu_nodes.disk_gb >= 20 && var.gpu_nodes.disk_gb <= 16384
    error_message = "A disk of 20 to 16384 GB: the system and images take more than ten."
  }
}

variable "log_retention_days" {
  description = "For how long the logs of the API server and of the network are kept."
  type        = number
  default     = 90

  validation {
    condition     = contains([30, 60, 90, 120, 150, 180, 365, 400, 545, 731], var.log_retention_days)
    error_message = "One of the numbers that CloudWatch knows: 30, 60, 90, 120, 150, 180, 365, 400, 545, 731."
  }
}

variable "tags" {
  description = "Further tags for everything."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key, value in var.tags : can(regex("^[^:]{1,128}$", key)) && !startswith(lower(key), "aws") && length(value) <= 256])
    error_message = "A key has 1 to 128 characters, no colon, and does not begin with `aws`; a value has at most 256."
  }
}
