//! The file `guardrails.yaml` of each Kubernetes overlay equals the output of `runway policy render` for the
//! policy of the overlay, after one header line.

use crate::program::runway;
use runway_testing::generated::assert_generated;

const OVERLAYS: [&str; 2] = ["dev", "eks"];

const HEADER: &str = "# Guardrails of the cluster. Generated from policy.yaml by `cargo xtask references`.\n";

#[test]
fn overlay_guardrails_match_their_policy() {
    for overlay in OVERLAYS {
        let dir = format!("infra/kubernetes/overlays/{overlay}");
        let rendered = runway(&["policy", "render", "--policy", &format!("{dir}/policy.yaml")]);
        assert_eq!(rendered.code, 0, "{}", rendered.stderr);
        assert_generated(&format!("{dir}/guardrails.yaml"), &format!("{HEADER}{}", rendered.stdout));
    }
}
