variables {
  nat_gateways = 1
  kms_keys     = 2
  nodes = {
    system = { instance_type = "t3.medium", count = 2, disk_gb = 30 }
    cpu    = { instance_type = "m5.xlarge", count = 2, disk_gb = 100 }
    gpu    = { instance_type = "g5.xlarge", count = 0, disk_gb = 100 }
  }
}

run "defaults_match_the_readme" {
  command = plan

  assert {
    condition     = format("%.2f", output.total) == "473.36"
    error_message = "the total is ${format("%.2f", output.total)}"
  }

  assert {
    condition     = alltrue([for name, usd in output.lines : strcontains(file("../../README.md"), "| ${format("%.2f", usd)} |")])
    error_message = "a line is missing: ${jsonencode({ for name, usd in output.lines : name => format("%.2f", usd) })}"
  }

  assert {
    condition     = strcontains(file("../../README.md"), "**${format("%.2f", output.total)}**")
    error_message = "the total is missing"
  }
}

run "gpu_node_adds_node_and_disk" {
  command = plan

  variables {
    nodes = {
      system = { instance_type = "t3.medium", count = 2, disk_gb = 30 }
      cpu    = { instance_type = "m5.xlarge", count = 2, disk_gb = 100 }
      gpu    = { instance_type = "g5.xlarge", count = 1, disk_gb = 100 }
    }
  }

  assert {
    condition     = format("%.2f", output.total - 473.36) == "742.38" && strcontains(file("../../README.md"), "742.38")
    error_message = "the total is ${format("%.2f", output.total)}"
  }
}

run "unknown_price_results_in_null" {
  command = plan

  variables {
    nodes = { cpu = { instance_type = "x9.unheard-of", count = 1, disk_gb = 10 } }
  }

  assert {
    condition     = output.total == null && output.lines.cpu_nodes == null && output.lines.cluster == 73
    error_message = "an unknown price must result in null"
  }
}
