//! The command line of `cargo xtask cluster …`.

use crate::api::ApiClient;
use crate::lifecycle::{
    KUBECTL_LINK, UpOptions, down, external_kubeconfig, import_images, is_node_process, load_state,
    start_apiserver, stop_apiserver, test_environment, up,
};
use crate::process::{APISERVER, ETCD, KUBELET, PROCESSES, ProcessIdentity};
use crate::release::Release;
use crate::session;
use crate::state::ClusterDir;
use runway_steps::ToolError;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask cluster COMMAND

  up [--node] [--kubernetes VERSION]
                   start etcd, the API server and the controller manager;
                   with --node also start a node, which runs pods. VERSION is
                   1.34 or 1.36 (the default). If KUBECONFIG is set, use its
                   cluster and start nothing. If KUBEBUILDER_ASSETS is set,
                   use the programs in that directory
  down             stop the cluster and remove all its leftovers
  status           print each process, the ports, the version and the node
  env              print variables for the shell:
                   eval \"$(cargo xtask cluster env)\"
  import FILE      import the images of an archive, such as that of
                   `cargo xtask image`
  stop-apiserver   start an outage of the API server, for tests
  start-apiserver  end the outage, with the same port and data
";

/// A parsed `cluster` command.
#[derive(Debug, PartialEq, Eq)]
enum Action {
    Up(UpOptions),
    Down,
    Status,
    Env,
    Import(PathBuf),
    StopApiserver,
    StartApiserver,
    /// Runs the guard of a [`session::Session`].
    ///
    /// The guard reads ids of process groups from standard input until the input ends. Then it kills these
    /// groups, and removes the cluster if `remove` is set. Only a session uses this command.
    Guard {
        remove: bool,
    },
}

impl Action {
    /// Parses a command. Only `up` accepts a version.
    fn parse(words: &[&str], kubernetes: Option<Release>) -> Option<Self> {
        Some(match words {
            ["up"] => Self::Up(UpOptions { node: false, kubernetes }),
            ["up", "--node"] => Self::Up(UpOptions { node: true, kubernetes }),
            _ if kubernetes.is_some() => return None,
            ["down"] => Self::Down,
            ["status"] => Self::Status,
            ["env"] => Self::Env,
            ["import", file] => Self::Import(file.into()),
            ["stop-apiserver"] => Self::StopApiserver,
            ["start-apiserver"] => Self::StartApiserver,
            ["guard", "remove"] => Self::Guard { remove: true },
            ["guard", "leave"] => Self::Guard { remove: false },
            _ => return None,
        })
    }

    fn run(self) -> Result<(), ToolError> {
        match self {
            Self::Up(wanted) => up(wanted),
            Self::Down => down(),
            Self::Status => status(),
            Self::Env => {
                let dir = ClusterDir::of_checkout()?;
                let quoted = |value: &str| format!("'{}'", value.replace('\'', r"'\''"));
                let variables = test_environment(&dir)?;
                let mut lines: Vec<String> = variables
                    .iter()
                    .map(|(name, value)| format!("export {name}={}", quoted(value)))
                    .collect();
                if external_kubeconfig(&dir)?.is_none() && dir.join(KUBECTL_LINK).exists() {
                    lines.push(format!("export PATH={}:\"$PATH\"", quoted(&dir.path_string("bin"))));
                }
                print_lines(&lines);
                Ok(())
            }
            Self::Import(file) => import_images(&file),
            Self::StopApiserver => stop_apiserver(),
            Self::StartApiserver => start_apiserver(),
            Self::Guard { remove } => session::run_guard(remove),
        }
    }
}

/// Runs one `cluster` command. Only `up` accepts a version.
pub fn run_command(words: &[&str], kubernetes: Option<Release>) -> ExitCode {
    if let ["wait", guard, code] = words {
        return session::wait_for_guard(guard, code);
    }
    let Some(action) = Action::parse(words, kubernetes) else {
        eprint!("{USAGE}");
        return ExitCode::from(2);
    };
    match action.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn status() -> Result<(), ToolError> {
    let dir = ClusterDir::of_checkout()?;
    if let Some(config) = external_kubeconfig(&dir)? {
        print_lines(&[format!("the cluster of KUBECONFIG: `{}`", config.display())]);
        return Ok(());
    }
    let state = load_state(&dir)?;
    let api = ApiClient::new(&dir, &state);
    let mut lines = Vec::new();
    for process in PROCESSES.iter().filter(|process| state.has_node() || !is_node_process(process)) {
        let port = match *process {
            ETCD => Some(state.ports.etcd),
            APISERVER => Some(state.ports.apiserver),
            KUBELET => Some(state.ports.kubelet),
            _ => None,
        };
        let port = port.map(|port| format!("127.0.0.1:{port}")).unwrap_or_default();
        let (pid, how) = match ProcessIdentity::recorded(&dir, process) {
            Some(identity) if identity.is_alive() => (identity.pid.to_string(), "running"),
            Some(identity) => (identity.pid.to_string(), "exited"),
            None => ("-".to_owned(), "not started"),
        };
        lines.push(format!("{process:<24} {pid:>8}  {how:<10} {port}").trim_end().to_owned());
    }
    lines.push(format!(
        "{:<24} {}",
        "version",
        api.version().unwrap_or_else(|reason| format!("unknown: {reason}"))
    ));
    if state.has_node() {
        let ready = api
            .check_node_ready()
            .map_or_else(|reason| format!("not ready: {reason}"), |()| "ready".to_owned());
        lines.push(format!("{:<24} {ready}", "node"));
    }
    lines.push(format!("{:<24} {}", "state directory", dir.path().display()));
    print_lines(&lines);
    Ok(())
}

/// Prints lines to standard output. Ignores an error, because the reader may have closed the pipe.
fn print_lines(lines: &[String]) {
    let _reader_left = std::io::stdout().write_all((lines.join("\n") + "\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{Action, Release, USAGE, UpOptions};

    #[test]
    fn parse_rejects_unknown_commands() {
        let (up, old) =
            (|node, kubernetes| Some(Action::Up(UpOptions { node, kubernetes })), Some(Release::V1_34));
        assert_eq!(Action::parse(&["up"], None), up(false, None));
        assert_eq!(Action::parse(&["up", "--node"], old), up(true, old));
        assert_eq!(Action::parse(&["stop-apiserver"], None), Some(Action::StopApiserver));
        for wrong in [&[][..], &["up", "--nodes"], &["down", "now"], &["guard"]] {
            assert_eq!(Action::parse(wrong, None), None);
        }
        assert_eq!(Action::parse(&["down"], old), None);
    }

    #[test]
    fn usage_lists_every_version() {
        for release in Release::ALL {
            assert!(USAGE.contains(release.as_str()), "{release}");
        }
    }
}
