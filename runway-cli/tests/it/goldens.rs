//! Snapshots of the output for every fixture: jobs, policies, and states of a cluster.

use crate::program::{ProgramOutput, root, runway};
use insta::{assert_snapshot, glob, with_settings};

/// Returns the options for a fixture. The directory of the fixture determines its policy and its tenant.
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

fn render_output(ran: &ProgramOutput) -> String {
    format!("exit {}\n--- stdout\n{}--- stderr\n{}", ran.code, ran.stdout, ran.stderr)
}

fn run_with(command: &[&str], file: &str, options: &[&str]) -> ProgramOutput {
    runway(&[command, &[file], options].concat())
}

#[test]
fn job_outputs_match_their_snapshots() {
    over("jobs/**/*.*", |file, options| {
        let text = run_with(&["check"], file, options);
        let json = run_with(&["check", "-o", "json"], file, options);
        assert_eq!(text.code, json.code);
        let mut outputs = vec![("text", render_output(&text)), ("json", render_output(&json))];
        if !file.contains("refused") {
            outputs.push(("quote", render_output(&run_with(&["quote"], file, options))));
            outputs.push((
                "manifest",
                render_output(&run_with(&["render", "--id", "4d5c9fa91db4"], file, options)),
            ));
        }
        outputs
    });
}

#[test]
fn policy_outputs_match_their_snapshots() {
    over("policies/**/*.yaml", |file, _| {
        let mut outputs = vec![("check", render_output(&runway(&["policy", "check", file])))];
        if !file.contains("refused") {
            outputs.push(("canonical", render_output(&runway(&["policy", "show", "--policy", file]))));
            let resolved = ["policy", "show", "--policy", file, "--tenant", "vision", "--class", "gpu"];
            outputs.push(("resolved", render_output(&runway(&resolved))));
            let guardrails = ["policy", "render", "--policy", file, "--api-server", "172.18.0.2/32"];
            outputs.push(("guardrails", render_output(&runway(&guardrails))));
        }
        outputs
    });
}

#[test]
fn diagnoses_match_their_snapshots() {
    over("cluster/**/*.json", |file, _| {
        let text = run_with(&["diagnose"], file, &[]);
        let json = run_with(&["diagnose", "-o", "json"], file, &[]);
        assert_eq!((text.code, json.code), (0, 0), "{}", text.stderr);
        vec![("diagnosis", render_output(&text)), ("diagnosis-json", render_output(&json))]
    });
}
