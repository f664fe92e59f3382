//! The file `guardrails.yaml` of each Kubernetes overlay equals the output of `runway policy render` for the
//! policy of the overlay, after one header line.

use crate::program::{root, runway};
use crate::references::WRITE_VARIABLE;

const OVERLAYS: [&str; 2] = ["dev", "eks"];

const HEADER: &str = "# Guardrails of the cluster. Generated from policy.yaml by `cargo xtask references`.\n";

#[test]
fn overlay_guardrails_match_their_policy() {
    for overlay in OVERLAYS {
        let dir = format!("infra/kubernetes/overlays/{overlay}");
        let rendered = runway(&["policy", "render", "--policy", &format!("{dir}/policy.yaml")]);
        assert_eq!(rendered.code, 0, "{}", rendered.stderr);
        let file = root().join(&dir).join("guardrails.yaml");
        let expected = format!("{HEADER}{}", rendered.stdout);
        if std::env::var_os(WRITE_VARIABLE).is_some() {
            std::fs::write(&file, expected).unwrap();
        } else {
            let committed = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(committed == expected, "{dir}/guardrails.yaml: run `cargo xtask references`");
        }
    }
}
