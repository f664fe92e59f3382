//! Exit codes, standard input, closed pipes, colours, hostile input, and prices from the environment.

use crate::program::{runway, runway_command, runway_with};
use runway_testing::paths::TempDir;
use std::io::Read;
use std::process::Stdio;

const HELLO: &str = "fixtures/jobs/hello.yaml";
const GUARDED: &str = "fixtures/policies/guarded.yaml";
const REFUSED: &str = "fixtures/jobs/refused/cpu-above-max.yaml";

#[test]
fn exit_code_is_that_of_the_worst_result() {
    for (arguments, code) in [
        (&["check", HELLO][..], 0),
        (&["check", HELLO, REFUSED], 1),
        (&["check", "fixtures/jobs/refused/syntax.yaml"], 1),
        (&["check", HELLO, "no-such-file.yaml"], 2),
        (&["check", "-", "-"], 2),
        (&["render", HELLO, HELLO], 2),
        (&["policy", "show", "--tenant", "nobody", "--policy", "fixtures/policies/strict.yaml"], 2),
        (&["policy", "show", "--tenant", "NOT A NAME"], 2),
        (&["check", REFUSED, "no-such-file.yaml"], 2),
        (&["check", "fixtures/jobs"], 2),
        (&["check", HELLO, "--policy", "fixtures/policies/refused/syntax.yaml"], 2),
        (&["check", HELLO, "--policy", "no-such-policy.yaml"], 2),
        (&["check"], 2),
        (&["chekc", HELLO], 2),
        (&["check", HELLO, "-o", "xml"], 2),
        (&["quote", HELLO], 0),
        (&["quote", REFUSED], 1),
        (&["render", HELLO], 0),
        (&["render", REFUSED], 1),
        (&["render", HELLO, "--id", "short"], 2),
        (&["explain", "cpu-above-max"], 0),
        (&["explain", "cpu-above-maximum"], 2),
        (&["policy", "check"], 0),
        (&["policy", "check", "fixtures/policies/strict.yaml"], 0),
        (&["policy", "check", "fixtures/policies/refused/syntax.yaml"], 2),
        (&["policy", "show", "--class", "nonsense"], 2),
        (&["policy", "render"], 0),
        (&["policy", "render", "--api-server", "172.18.0.2"], 2),
        (&["policy", "render", "--api-server", "0.0.0.0/0"], 2),
        (&["policy", "render", "--policy", GUARDED], 2),
        (&["policy", "render", "--policy", GUARDED, "--api-server", "172.18.0.2/32"], 0),
        (&["policy", "schema"], 0),
        (&["schema"], 0),
        (&["completions", "bash"], 0),
        (&["diagnose", "fixtures/cluster/written/preempted.json"], 0),
        (&["diagnose", HELLO], 2),
        (&["diagnose", "no-such-file.json"], 2),
        (&["diagnose"], 2),
        (&["--version"], 0),
        // `run` reports its own errors with 125, because other exit codes can be those of the job.
        (&["run"], 125),
        (&["run", HELLO, "--no-such-flag"], 125),
        (&["run", HELLO, "-o", "xml"], 125),
        (&["run", HELLO, HELLO], 125),
        (&["run", "no-such-file.yaml"], 125),
        (&["run", REFUSED], 125),
        (&["run", "--help"], 0),
    ] {
        let ran = runway(arguments);
        assert_eq!(ran.code, code, "{arguments:?}\n{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn guardrails_without_api_server_addresses_are_rejected() {
    let ran = runway(&["policy", "render", "--policy", GUARDED]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    for expected in
        ["`classes.fetch.network`", "fixtures/policies/guarded.yaml:12", "--api-server", "kubectl get"]
    {
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
    }
}

#[test]
fn unreadable_file_does_not_hide_other_files() {
    let ran = runway(&["check", "no-such-file.yaml", HELLO, "-o", "json"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("no-such-file.yaml"), "{}", ran.stderr);
    let records: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(records.as_array().unwrap().len(), 1);
}

#[test]
fn dash_reads_standard_input() {
    let ran =
        runway_with(&["check", "-", "-o", "json"], b"name: a\n---\nname: b\nimage: busybox\ntenant: t\n");
    assert_eq!(ran.code, 1);
    let records: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(records[0]["file"], "-");
    assert_eq!((&records[0]["admitted"], &records[0]["document"]), (&false.into(), &0.into()));
    assert_eq!((&records[1]["admitted"], &records[1]["document"]), (&true.into(), &1.into()));
}

#[test]
fn empty_file_is_refused_as_such() {
    const MESSAGE: &str = "error[wrong-type]: the document is empty; expected a mapping";
    for source in [&b""[..], b"\n \n", b"# only a comment\n", b"---\n---\n", b"null\n"] {
        let ran = runway_with(&["check", "-"], source);
        assert_eq!(ran.code, 1, "{}", ran.stdout);
        assert!(ran.stdout.contains(MESSAGE), "{}", ran.stdout);
        let ran = runway_with(&["policy", "check", "-"], source);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains(MESSAGE), "{}", ran.stderr);
    }
    for extension in ["yaml", "json"] {
        let path = std::env::temp_dir().join(format!("runway-empty-{}.{extension}", std::process::id()));
        std::fs::write(&path, "").unwrap();
        let file = path.to_str().unwrap();
        let [job, policy] = [runway(&["check", file]), runway(&["policy", "check", file])];
        std::fs::remove_file(&path).unwrap();
        assert!(job.code == 1 && job.stdout.contains(MESSAGE), "{}", job.stdout);
        assert!(policy.code == 2 && policy.stderr.contains(MESSAGE), "{}", policy.stderr);
    }
}

#[test]
fn closed_output_pipe_is_not_an_error() {
    let many = vec![HELLO; 5000];
    let arguments: Vec<_> = ["check", "-o", "json"].into_iter().chain(many).collect();
    let mut child = runway_command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!((child.wait().unwrap().code(), errors.as_str()), (Some(0), ""));
}

#[cfg(target_os = "linux")]
#[test]
fn failed_write_names_its_target() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let ran = runway_command(&["check", HELLO]).stdout(full).output().unwrap();
    let stderr = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{stderr}");
    assert!(stderr.starts_with("error: cannot write to standard output: No space left"), "{stderr}");
    let ran = runway(&["man", "/proc/no-such-folder"]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("the manual pages to `/proc/no-such-folder`"), "{}", ran.stderr);
}

#[test]
fn file_above_the_size_limit_is_rejected() {
    let dir = TempDir::new("large");
    let path = dir.path("large.yaml");
    std::fs::File::create(&path).unwrap().set_len(64 * 1024 * 1024 + 1).unwrap();
    let ran = runway(&["check", path.to_str().unwrap()]);
    assert_eq!(ran.code, 2, "{}", ran.stderr);
    assert!(ran.stderr.contains("it is larger than 64 MiB"), "{}", ran.stderr);
}

#[test]
fn output_has_colours_on_terminals_only() {
    let plain = runway(&["check", REFUSED]);
    assert!(!plain.stdout.contains('\u{1b}'));
    let forced = runway_command(&["check", REFUSED]).env("CLICOLOR_FORCE", "1").output().unwrap();
    assert!(String::from_utf8(forced.stdout).unwrap().contains('\u{1b}'));
}

/// The program `script` runs the command in a pseudo-terminal.
#[cfg(target_os = "linux")]
#[test]
fn no_color_disables_colours_on_a_terminal() {
    let on_terminal = |no_color: bool| {
        let runway = format!("{} check {REFUSED}", env!("CARGO_BIN_EXE_runway"));
        let mut script = std::process::Command::new("script");
        script.args(["-qec", &runway, "/dev/null"]).current_dir(crate::program::root()).stdin(Stdio::null());
        script
            .env("TERM", "xterm")
            .env_remove("CLICOLOR_FORCE")
            .env_remove("CLICOLOR")
            .env_remove("NO_COLOR");
        if no_color {
            script.env("NO_COLOR", "1");
        }
        String::from_utf8(script.output().unwrap().stdout).unwrap()
    };
    assert!(on_terminal(false).contains("\u{1b}["));
    let plain = on_terminal(true);
    assert!(plain.contains("error[cpu-above-max]") && !plain.contains('\u{1b}'), "{plain:?}");
}

#[test]
fn control_characters_in_jobs_are_escaped() {
    let source = b"name: \"\\e[31mred\\x07\"\nimage: \"\\u202ebusybox\"\ntenant: \"a\\e]0;title\\a\"\nclass: \"\\e[2J\"\n\"\\e[1m\": 1\n";
    let ran = runway_command(&["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), source)?;
            child.wait_with_output()
        })
        .unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    assert!(text.contains("error[invalid-name]"), "{text}");
    assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
}

#[test]
fn hostile_files_are_refused_in_bounded_time() {
    let bomb = std::fs::read(crate::program::root().join("fixtures/jobs/refused/too-large.yaml")).unwrap();
    let started = std::time::Instant::now();
    for source in [bomb, vec![b'['; 10_000_000], b"- x\n".repeat(2_500_000), b"a\n---\n".repeat(1_000_000)] {
        let ran = runway_with(&["check", "-", "-o", "json"], &source);
        assert_eq!(ran.code, 1);
        assert!(ran.stdout.contains("\"too-large\""));
    }
    assert!(started.elapsed().as_secs() < 60);
}

#[test]
fn thousands_of_violations_are_rendered_in_bounded_time() {
    let document = format!("name: Bad\nretires: 1\n{}", "# padding\n".repeat(100));
    let source = vec![document; 5_000].join("---\n");
    let started = std::time::Instant::now();
    let ran = runway_with(&["check", "-"], source.as_bytes());
    assert_eq!((ran.code, ran.stdout.matches("error[unknown-field]").count()), (1, 5_000));
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

#[test]
fn positions_match_those_of_an_editor() {
    for (source, place) in [
        ("\u{feff}{name: Bad, image: x, tenant: t}", "-:1:8"),
        ("name: ok\r\nimage: x\r\ntenant: Bad\r\n", "-:3:9"),
        ("name: ok\rimage: x\rtenant: Bad\r", "-:3:9"),
        ("{name: ok, args: [\"日本語\"], image: x, tenant: Bad}", "-:1:45"),
    ] {
        let ran = runway_with(&["check", "-"], source.as_bytes());
        assert!(ran.stdout.contains(&format!("--> {place}\n")), "{place}\n{}", ran.stdout);
    }
    let padding = "x".repeat(600);
    let source = format!("{{name: ok, args: [{padding}], image: x, tenant: Bad}}");
    let ran = runway_with(&["check", "-"], source.as_bytes());
    assert!(ran.stdout.contains("--> -:1:640\n"), "{}", ran.stdout);
}

#[test]
fn invalid_policy_prints_violations_as_json() {
    let ran = runway(&["policy", "check", "-o", "json", "fixtures/policies/refused/invalid-rate.yaml"]);
    assert_eq!(ran.code, 2);
    let result: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(result["violations"][0]["code"], "invalid-rate");
}

#[cfg(unix)]
#[test]
fn price_that_is_not_utf8_is_rejected() {
    use std::os::unix::ffi::OsStrExt;
    let mut command = runway_command(&["quote", HELLO]);
    command.env("RUNWAY_USD_PER_CPU_SECOND", std::ffi::OsStr::from_bytes(b"\xff"));
    assert_eq!(command.output().unwrap().status.code(), Some(2));
}

#[test]
fn environment_variables_override_prices() {
    let quoted = |variable: Option<&str>| {
        let mut command = runway_command(&["quote", HELLO, "-o", "json"]);
        if let Some(value) = variable {
            command.env("RUNWAY_USD_PER_CPU_SECOND", value);
        }
        command.output().unwrap()
    };
    let plain: serde_json::Value = serde_json::from_slice(&quoted(None).stdout).unwrap();
    let dearer: serde_json::Value = serde_json::from_slice(&quoted(Some("1")).stdout).unwrap();
    assert_eq!(plain[0]["quote"]["lines"][0]["rate_usd"], "0.0000112444");
    // The job gets 0.5 CPUs for at most 630 seconds. At 1 USD per CPU second, the price is 315 USD.
    assert_eq!(dearer[0]["quote"]["lines"][0]["usd"], "315.000000");
    let wrong = quoted(Some("cheap"));
    assert_eq!(wrong.status.code(), Some(2));
    assert!(String::from_utf8(wrong.stderr).unwrap().contains("RUNWAY_USD_PER_CPU_SECOND"));
}
