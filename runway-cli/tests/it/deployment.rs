//! The committed guardrails of each deployment match its policy.

use crate::references::WRITE;
use crate::run::{root, runway};

const OVERLAYS: [&str; 2] = ["dev", "eks"];

const HEAD: &str = "# Guardrails of the cluster. Generated from policy.yaml by `cargo xtask references`.\n";

#[test]
fn the_guardrails_of_each_overlay_follow_from_its_policy() {
    for overlay in OVERLAYS {
        let folder = format!("infra/kubernetes/overlays/{overlay}");
        let rendered = runway(&["policy", "render", "--policy", &format!("{folder}/policy.yaml")]);
        assert_eq!(rendered.code, 0, "{}", rendered.stderr);
        let file = root().join(&folder).join("guardrails.yaml");
        let expected = format!("{HEAD}{}", rendered.stdout);
        if std::env::var_os(WRITE).is_some() {
            std::fs::write(&file, expected).unwrap();
        } else {
            let committed = std::fs::read_to_string(&file).unwrap_or_default();
            assert!(committed == expected, "{folder}/guardrails.yaml: run `cargo xtask references`");
        }
    }
}
