# Divides the network into ranges. The module needs no provider, so it can be tested anywhere. For the network
# 10.42.0.0/16, the ranges are:
#
#     control   10.42.0.0/20     addresses of the API server
#     public    10.42.16.0/20    NAT gateways only
#     services  10.42.64.0/18    services that jobs with the network `internal` can reach
#     nodes     10.42.128.0/17   nodes and pods

terraform {
  required_version = ">= 1.9"
}

variable "cidr" {
  description = "The CIDR of the network, a /16."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, "/16")
    error_message = "The network must be a /16, such as 10.42.0.0/16."
  }
}

variable "zones" {
  description = "The names of the availability zones."
  type        = list(string)

  validation {
    condition     = contains([2, 3], length(distinct(var.zones))) && length(distinct(var.zones)) == length(var.zones)
    error_message = "There must be two or three different zones."
  }
}

locals {
  places = { for index, zone in var.zones : zone => index }
}

output "control" {
  description = "The subnets of the API server, by zone."
  value       = { for zone, index in local.places : zone => cidrsubnet(var.cidr, 8, index) }
}

output "public" {
  description = "The subnets of the NAT gateways, by zone."
  value       = { for zone, index in local.places : zone => cidrsubnet(var.cidr, 8, 16 + index) }
}

output "services" {
  description = "The subnets of services that jobs use, by zone."
  value       = { for zone, index in local.places : zone => cidrsubnet(var.cidr, 4, 4 + index) }
}

output "nodes" {
  description = "The subnets of nodes and pods, by zone."
  value       = { for zone, index in local.places : zone => cidrsubnet(var.cidr, 3, 4 + index) }
}

output "ranges" {
  description = "The ranges of all subnets of a kind, for policies and NetworkPolicies."
  value = {
    control  = cidrsubnet(var.cidr, 4, 0)
    services = cidrsubnet(var.cidr, 2, 1)
    nodes    = cidrsubnet(var.cidr, 1, 1)
  }
}
