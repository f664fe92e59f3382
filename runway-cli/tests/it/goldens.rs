//! Snapshots over all fixtures: the result as text and JSON, the quote, the manifest and the diagnosis.

use crate::run::{Ran, root, runway};
use insta::{assert_snapshot, glob, with_settings};

/// The options for the fixtures of a directory.
fn options(path: &str) -> Vec<&'static str> {
    match path {
        path if path.contains("/strict/") => vec!["--policy", "fixtures/policies/strict.yaml"],
        path if path.contains("/as-search/") => vec!["--tenant", "search"],
        path if path.contains("/in-sequence/") => vec!["--policy", "fixtures/policies/in-sequence.yaml"],
        _ => vec![],
    }
}

fn over(pattern: &str, show: impl Fn(&str, &[&str]) -> Vec<(&'static str, String)>) {
    glob!("../../../fixtures", pattern, |path| {
        let root = root();
        let relative = path.canonicalize().unwrap().strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
        for (kind, shown) in show(&relative, &options(&relative)) {
            with_settings!({omit_expression => true, snapshot_suffix => format!("{kind}@{}", relative.trim_start_matches("fixtures/").replace('/', "__"))}, {
                assert_snapshot!(shown);
            });
        }
    });
}

fn outcome(ran: &Ran) -> String {
    format!("exit {}\n--- stdout\n{}--- stderr\n{}", ran.code, ran.stdout, ran.stderr)
}

fn with(command: &[&str], file: &str, options: &[&str]) -> Ran {
    runway(&[command, &[file], options].concat())
}

#[test]
fn jobs() {
    over("jobs/**/*.*", |file, options| {
        let text = with(&["check"], file, options);
        let json = with(&["check", "-o", "json"], file, options);
        assert_eq!(text.code, json.code);
        let mut shown = vec![("text", outcome(&text)), ("json", outcome(&json))];
        if !file.contains("refused") {
            shown.push(("quote", outcome(&with(&["quote"], file, options))));
            shown.push(("manifest", outcome(&with(&["render", "--id", "4d5c9fa91db4"], file, options))));
        }
        shown
    });
}

#[test]
fn policies() {
    over("policies/**/*.yaml", |file, _| {
        let mut shown = vec![("check", outcome(&runway(&["policy", "check", file])))];
        if !file.contains("refused") {
            shown.push(("canonical", outcome(&runway(&["policy", "show", "--policy", file]))));
            let resolved = ["policy", "show", "--policy", file, "--tenant", "vision", "--class", "gpu"];
            shown.push(("resolved", outcome(&runway(&resolved))));
            let guardrails = ["policy", "render", "--policy", file, "--api-server", "172.18.0.2/32"];
            shown.push(("guardrails", outcome(&runway(&guardrails))));
        }
        shown
    });
}

#[test]
fn clusters() {
    over("cluster/**/*.json", |file, _| {
        let text = with(&["diagnose"], file, &[]);
        let json = with(&["diagnose", "-o", "json"], file, &[]);
        assert_eq!((text.code, json.code), (0, 0), "{}", text.stderr);
        vec![("diagnosis", outcome(&text)), ("diagnosis-json", outcome(&json))]
    });
}
