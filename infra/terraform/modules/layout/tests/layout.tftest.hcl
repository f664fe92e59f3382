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

run "ranges_match_the_manifests" {
  command = plan

  assert {
    condition     = strcontains(file("../../../kubernetes/overlays/eks/policy.yaml"), "internal: {cidrs: [${output.ranges.services}]}")
    error_message = "jobs with the network `internal` must reach only the subnets of services in the VPC"
  }

  assert {
    condition     = strcontains(file("../../../kubernetes/overlays/eks/api-server.yaml"), "cidr: ${output.ranges.control}}")
    error_message = "the server must reach the API server in the control subnets"
  }
}

run "added_zone_keeps_existing_subnets" {
  command = plan

  variables {
    zones = ["a", "b"]
  }

  assert {
    condition     = output.nodes == { a = "10.42.128.0/19", b = "10.42.160.0/19" }
    error_message = "nodes"
  }
}

run "one_zone_is_rejected" {
  command = plan

  variables {
    zones = ["a"]
  }

  expect_failures = [var.zones]
}

run "four_zones_are_rejected" {
  command = plan

  variables {
    zones = ["a", "b", "c", "d"]
  }

  expect_failures = [var.zones]
}

run "duplicate_zone_is_rejected" {
  command = plan

  variables {
    zones = ["a", "b", "a"]
  }

  expect_failures = [var.zones]
}

run "small_network_is_rejected" {
  command = plan

  variables {
    cidr = "10.42.0.0/17"
  }

  expect_failures = [var.cidr]
}

run "invalid_network_is_rejected" {
  command = plan

  variables {
    cidr = "10.420.0.0/16"
  }

  expect_failures = [var.cidr]
}
