# Calculates the monthly cost at list price, without usage. It needs no provider: it only uses a list of
# prices.

terraform {
  required_version = ">= 1.9"
}

variable "nodes" {
  description = "The groups of nodes."
  type = map(object({
    instance_type = string
    count         = number
    disk_gb       = number
  }))
}

variable "nat_gateways" {
  description = "How many NAT gateways there are."
  type        = number
}

variable "kms_keys" {
  description = "How many keys there are."
  type        = number
}

variable "prices" {
  description = "USD at list price in us-east-1 (README.md has the sources): of an hour, of a GB in a month, of a key in a month."
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
  description = "USD a month, by what it is for. Null: the price of an instance type is not in the list."
  value       = local.lines
}

output "total" {
  description = "USD a month. Null, where a line is."
  value       = anytrue([for usd in values(local.lines) : usd == null]) ? null : sum(values(local.lines))
}
