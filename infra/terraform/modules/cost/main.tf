# Calculates the monthly cost at list price, without usage such as traffic. The module needs no provider,
# because it only uses a list of prices.

terraform {
  required_version = ">= 1.9"
}

variable "nodes" {
  description = "The node groups."
  type = map(object({
    instance_type = string
    count         = number
    disk_gb       = number
  }))
}

variable "nat_gateways" {
  description = "The number of NAT gateways."
  type        = number
}

variable "kms_keys" {
  description = "The number of keys."
  type        = number
}

variable "prices" {
  description = "List prices in us-east-1 in USD, per hour, per GB and month, and per key and month. README.md contains the sources."
  type = object({
    cluster_hour  = optional(number, 0.10)
    nat_hour      = optional(number, 0.045)
    address_hour  = optional(number, 0.005)
    disk_gb_month = optional(number, 0.08)
    key_month     = optional(number, 1)
    instance_hour = optional(map(number), {
      "t3.medium" = 0.0416
      "m5.large"  = 0.096
      "m5.xlarge" = 0.192
      "g5.xlarge" = 1.006
    })
  })
  default = {}
}

locals {
  hours = 730

  instances = {
    for name, group in var.nodes : name => try(group.count * local.hours * var.prices.instance_hour[group.instance_type], null)
  }

  lines = merge(
    {
      cluster      = local.hours * var.prices.cluster_hour
      nat_gateways = var.nat_gateways * local.hours * (var.prices.nat_hour + var.prices.address_hour)
      disks        = sum([for group in var.nodes : group.count * group.disk_gb * var.prices.disk_gb_month])
      kms_keys     = var.kms_keys * var.prices.key_month
    },
    { for name, usd in local.instances : "${name}_nodes" => usd },
  )
}

output "lines" {
  description = "USD per month, by item. Null if the list has no price for an instance type."
  value       = local.lines
}

output "total" {
  description = "The sum in USD per month. Null if an item is null."
  value       = anytrue([for usd in values(local.lines) : usd == null]) ? null : sum(values(local.lines))
}
