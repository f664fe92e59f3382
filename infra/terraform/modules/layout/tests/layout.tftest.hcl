variables {
  cidr  = "10.42.0.0/16"
  zones = ["a", "b", "c"]
}

run "subnets" {
  command = plan

  assert {
    condition     = output.control == { a = "10.42.0.0/24", b = "10.42.1.0/24", c = "10.42.2.0/24" }
    error_message = "control"
  }

  assert {
    condition     = output.public == { a = "10.42.16.0/24", b = "10.42.17.0/24", c = "10.42.18.0/24" }
    error_message = "public"
  }

  assert {
    condition     = output.services == { a = "10.42.64.0/20", b = "10.42.80.0/20", c = "10.42.96.0/20" }
    error_message = "services"
  }

  assert {
    condition     = output.nodes == { a = "10.42.128.0/19", b = "10.42.160.0/19", c = "10.42.192.0/19" }
    error_message = "nodes"
  }
}

run "manifests_name_these_ranges" {
  command = plan

  assert {
    condition     = strcontains(file("../../../kubernetes/overlays/eks/policy.yaml"), "internal: {cidrs: [${output.ranges.services}]}")
    error_message = "jobs of the network `internal` reach the subnets of services, and nothing else of the VPC"
  }

  assert {
    condition     = strcontains(file("../../../kubernetes/overlays/eks/api-server.yaml"), "cidr: ${output.ranges.control}}")
    error_message = "the server reaches the API server in the control subnets"
  }
}

run "a_zone_that_is_added_moves_no_other" {
  command = plan

  variables {
    zones = ["a", "b"]
  }

  assert {
    condition     = output.nodes == { a = "10.42.128.0/19", b = "10.42.160.0/19" }
    error_message = "nodes"
  }
}

run "one_zone_is_too_few" {
  command = plan

  variables {
    zones = ["a"]
  }

  expect_failures = [var.zones]
}

run "four_zones_are_too_many" {
  command = plan

  variables {
    zones = ["a", "b", "c", "d"]
  }

  expect_failures = [var.zones]
}

run "a_zone_twice" {
  command = plan

  variables {
    zones = ["a", "b", "a"]
  }

  expect_failures = [var.zones]
}

run "a_network_that_is_too_small" {
  command = plan

  variables {
    cidr = "10.42.0.0/17"
  }

  expect_failures = [var.cidr]
}

run "no_network_at_all" {
  command = plan

  variables {
    cidr = "10.420.0.0/16"
  }

  expect_failures = [var.cidr]
}
