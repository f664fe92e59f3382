//! Help texts, completions, options before the command, usage errors, and the order of violations.

use crate::program::{runway, runway_command, runway_with, to_program_output};

const COMMANDS: &[&[&str]] = &[
    &[],
    &["check"],
    &["submit"],
    &["status"],
    &["ls"],
    &["logs"],
    &["cancel"],
    &["usage"],
    &["diagnose"],
    &["explain"],
    &["policy", "show"],
    &["policy", "render"],
    #[cfg(target_os = "linux")]
    &["run"],
];

#[test]
fn help_wraps_to_the_terminal() {
    for width in [60, 80] {
        for command in COMMANDS {
            let mut help = runway_command(&[command, &["--help"][..]].concat());
            let ran = to_program_output(help.env("COLUMNS", width.to_string()).output().unwrap());
            assert_eq!(ran.code, 0);
            for line in ran.stdout.lines() {
                // The program does not wrap the usage line, or a line without a space, such as a long path.
                let is_breakable = line.trim().contains(' ') && !line.starts_with("Usage:");
                assert!(line.chars().count() <= width || !is_breakable, "{command:?} at {width}: {line}");
            }
        }
    }
}

#[test]
fn options_work_before_and_after_the_command() {
    for arguments in [
        ["check", "-o", "json", "fixtures/jobs/hello.yaml"],
        ["-o", "json", "check", "fixtures/jobs/hello.yaml"],
    ] {
        let ran = runway(&arguments);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
        assert!(ran.stdout.starts_with('['), "{}", ran.stdout);
    }
    let ran = runway(&["--server", "http://127.0.0.1:1", "check", "fixtures/jobs/hello.yaml"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("unexpected argument '--server'"), "{}", ran.stderr);
}

#[test]
fn invalid_variable_is_named() {
    let mut ls = runway_command(&["ls"]);
    let ran = to_program_output(ls.env("RUNWAY_SERVER", "localhost:8080").output().unwrap());
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("environment variable `RUNWAY_SERVER`"), "{}", ran.stderr);
    // An argument takes precedence over the variable, so the variable is not at fault.
    let mut ls = runway_command(&["ls", "--server", "localhost:8080"]);
    let ran = to_program_output(ls.env("RUNWAY_SERVER", "http://127.0.0.1:1").output().unwrap());
    assert_eq!(ran.code, 2);
    assert!(!ran.stderr.contains("RUNWAY_SERVER"), "{}", ran.stderr);
}

#[test]
fn known_values_are_completed() {
    let script = runway(&["completions", "bash"]).stdout;
    for value in ["pending running succeeded failed", "cpu-above-max", "kubernetes local"] {
        assert!(script.contains(value), "{value}");
    }
}

#[test]
fn violations_follow_the_order_of_the_file() {
    let job = b"timeout: 10h\nname: UPPER\nclass: cpu_long\nresources: {memory: 1Ti, cpu: 900}\ntenant: search\nimage: busybox\n";
    let ran = runway_with(&["check", "-"], job);
    assert_eq!(ran.code, 1);
    let lines: Vec<_> = ran.stdout.lines().filter_map(|line| line.trim().strip_prefix("--> -:")).collect();
    assert_eq!(lines, ["1:10", "2:7", "4:21", "4:31"], "{}", ran.stdout);
}
